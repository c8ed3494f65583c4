"""``python -m train audit``: planted faults are found, the page needs nothing else."""

import csv
import html
import json
import re
import shlex

import cv2
import numpy as np
import pytest

from tests.performance.faults import plant_copies
from train.__main__ import main
from train.audit.audit import audit
from train.data.drawn_faces import drawn_faces
from train.data.listing.image_files import open_listing
from train.networks import pretrained

CLASSES = ("happy", "surprise", "=neutral")  # the last would be a formula
PER_CLASS = 24
WRONG = ("happy/3.png", "surprise/7.png")


def write_faces(folder):
    """Faces of three classes, two of them in the wrong folder, and other faults."""
    faces, labels = drawn_faces(700, seed=3, size_px=48)
    names = sorted(("angry", "disgust", "fear", "happy", "neutral", "sad", "surprise"))
    for label in CLASSES:
        chosen = faces[labels == names.index(label.strip("="))][:PER_CLASS]
        (folder / label).mkdir(parents=True)
        for number, face in enumerate(chosen):
            cv2.imwrite(str(folder / label / f"{number}.png"), face)
    first, second = (folder / name for name in WRONG)
    kept = first.read_bytes()
    first.write_bytes(second.read_bytes())
    second.write_bytes(kept)
    face = cv2.imread(str(folder / "happy" / "0.png"), cv2.IMREAD_GRAYSCALE)
    other = cv2.imread(str(folder / "happy" / "1.png"), cv2.IMREAD_GRAYSCALE)
    cv2.imwrite(str(folder / "=neutral" / "copy.png"), cv2.resize(face, (70, 70)))
    cv2.imwrite(str(folder / "happy" / "dark.png"), (other * 0.15).astype(np.uint8))
    cv2.imwrite(str(folder / "happy" / "flat.png"), np.full((48, 48), 90, np.uint8))
    cv2.imwrite(str(folder / "happy" / "long.png"), cv2.resize(other, (160, 48)))
    cv2.imwrite(str(folder / "happy" / "tiny.png"), cv2.resize(other, (12, 12)))
    (folder / "happy" / "broken.png").write_bytes(b"no image")


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    """The image set, and the folder with the results."""
    folder = tmp_path_factory.mktemp("audit")
    write_faces(folder / "faces")
    output = folder / "results"
    assert (
        main(["audit", "--data", str(folder / "faces"), "--output", str(output)]) == 0
    )
    return folder / "faces", output


@pytest.fixture(scope="module")
def document(results):
    return json.loads((results[1] / "audit.json").read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def rows(results):
    with (results[1] / "audit.csv").open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


@pytest.mark.parametrize(
    ("kind", "name"),
    [
        ("unreadable", "happy/broken.png"),
        ("flat", "happy/flat.png"),
        ("dark", "happy/dark.png"),
        ("aspect", "happy/long.png"),
        ("size", "happy/tiny.png"),
        *(("label", name) for name in WRONG),
    ],
)
def test_planted_fault_is_found(document, kind, name):
    assert name in {
        each["file"] for each in document["findings"] if each["problem"] == kind
    }


def test_copy_with_another_label_is_the_worst_of_the_copies(document):
    copies = [each for each in document["findings"] if each["problem"] == "copy"]
    pair = {copies[0]["file"], copies[0]["copy_of"]}
    assert pair == {"=neutral/copy.png", "happy/0.png"}
    assert "not" in copies[0]["why"]


def test_wrong_labels_are_told_with_the_likely_class(document):
    likely = {
        each["file"]: each["likely"]
        for each in document["findings"]
        if each["problem"] == "label"
    }
    assert likely[WRONG[0]] == "surprise"
    assert likely[WRONG[1]] != "surprise"


def test_findings_of_a_kind_begin_with_the_worst(document):
    for kind in document["counts"]:
        severity = [
            each["severity"] for each in document["findings"] if each["problem"] == kind
        ]
        assert severity == sorted(severity, reverse=True)


def test_row_of_the_csv_is_no_formula(rows):
    files = [row["file"] for row in rows]
    assert "'=neutral/copy.png" in files
    assert all(cell[:1] not in tuple("=+-@") for row in rows for cell in row.values())


def test_each_image_has_one_row(rows):
    files = [row["file"] for row in rows]
    assert len(files) == len(set(files))


def test_page_loads_nothing_from_outside(results):
    page = (results[1] / "audit.html").read_text(encoding="utf-8")
    addresses = re.findall(r"""(?:src|href|url)\s*[=(]\s*["']?([^"'\s>)]+)""", page)
    outside = [a for a in addresses if not a.startswith(("data:image/jpeg", "#"))]
    assert outside == ["URL.createObjectURL(new"]  # of the saved CSV
    assert "default-src 'none'" in page
    assert page.count("data:image/jpeg;base64,") > len(WRONG)


def test_earlier_results_are_not_replaced(results, capsys):
    data, output = results
    before = (output / "audit.csv").read_bytes()
    assert main(["audit", "--data", str(data), "--output", str(output)]) == 2
    assert "may have been edited" in capsys.readouterr().err
    assert (output / "audit.csv").read_bytes() == before


def test_csv_is_what_training_leaves_out(results, rows):
    from train.data.dataset import load

    data, output = results
    marked = load(data, leave_out=str(output / "audit.csv")).marked
    assert set(marked) == {
        row["file"].removeprefix("'") for row in rows if row["action"] == "leave out"
    }
    assert "happy/broken.png" in marked


def test_names_on_the_page_are_text(tmp_path):
    folder = tmp_path / "set"
    faces, _ = drawn_faces(6, seed=1, size_px=48)
    for number, face in enumerate(faces):
        path = folder / ("cat" if number % 2 else "<img src=x onerror=1>")
        path.mkdir(parents=True, exist_ok=True)
        cv2.imwrite(str(path / f"{number}.png"), face)
    (folder / "cat" / "</script>.png").parent.mkdir(exist_ok=True)
    (folder / "cat" / "broken.png").write_bytes(b"")
    (folder / "<img src=x onerror=1>" / "broken.png").write_bytes(b"")
    output = tmp_path / "out"
    assert main(["audit", "--data", str(folder), "--output", str(output)]) == 0
    page = (output / "audit.html").read_text(encoding="utf-8")
    assert "<img src=x" not in page
    assert page.count("</script>") == 1


def test_command_on_the_page_is_one_for_a_shell(tmp_path):
    folder = tmp_path / "my photos; ls"
    faces, _ = drawn_faces(4, seed=1, size_px=48)
    for number, face in enumerate(faces):
        path = folder / ("cat" if number % 2 else "dog") / f"{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        cv2.imwrite(str(path), face)
    (folder / "cat" / "broken.png").write_bytes(b"")
    output = tmp_path / "out"
    assert main(["audit", "--data", str(folder), "--output", str(output)]) == 0
    page = (output / "audit.html").read_text(encoding="utf-8")
    command = html.unescape(re.search(r"<code>(.*)</code>", page)[1])
    assert shlex.split(command)[3:6] == ["--data", str(folder), "--leave-out"]


def write_photos(folder):
    """Large pictures in colour of two classes."""
    rng = np.random.default_rng(5)
    for label in ("cat", "dog"):
        (folder / label).mkdir(parents=True)
        for number in range(6):
            coarse = rng.integers(0, 256, (9, 12, 3), np.uint8)
            image = cv2.resize(coarse, (320, 240), interpolation=cv2.INTER_CUBIC)
            cv2.imwrite(str(folder / label / f"{number}.jpg"), image)


def test_without_weights_the_rest_is_audited(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(pretrained, "is_installed", lambda arch: False)
    write_photos(tmp_path / "set")
    with open_listing(tmp_path / "set") as listing:
        copy = plant_copies(listing.entries, 0.1, seed=1)[0]
        (tmp_path / "set" / "cat" / "copy.jpg").write_bytes(copy.entry.read())
    arguments = ["--data", str(tmp_path / "set"), "--output", str(tmp_path / "out")]
    assert main(["audit", *arguments]) == 0
    assert "labels and classes were not looked at" in capsys.readouterr().out
    found = json.loads((tmp_path / "out" / "audit.json").read_text())
    assert found["counts"]["copy"] == 1
    assert found["network"] == ""
    assert "make setup" in found["notes"][0]


def test_damaged_jpeg_is_named(tmp_path, monkeypatch):
    monkeypatch.setattr(pretrained, "is_installed", lambda arch: False)
    write_photos(tmp_path / "set")
    path = tmp_path / "set" / "cat" / "2.jpg"
    data = path.read_bytes()
    path.write_bytes(data[: len(data) // 2] + b"\xff\xd9")
    with open_listing(tmp_path / "set") as listing:
        result = audit(listing)
    kinds = {(f.kind, f.entry.name) for f in result.findings}
    assert ("damaged", "cat/2.jpg") in kinds


BAD = {
    "missing": (["--data", "nothing"], "no such path"),
    "drawn": (["--data", "drawn"], "name your images"),
    "no-data": ([], "--data"),
    "apply": (["--data", "x", "--apply", "y"], "flag of training"),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_use_is_one_line(tmp_path, monkeypatch, capsys, name):
    monkeypatch.chdir(tmp_path)
    words, part = BAD[name]
    try:
        code = main(["audit", *words])
    except SystemExit as error:
        code = error.code
    assert code == 2
    lines = capsys.readouterr().err.strip().splitlines()
    assert len(lines) == 1
    assert part in lines[0]
    assert list(tmp_path.iterdir()) == []
