"""The measurement of photos, on a small set of drawn faces."""

import json

import cv2

from tests.performance.photos import main, split
from train.data.drawn_faces import drawn_faces


def write_faces(folder):
    faces, labels = drawn_faces(120, seed=4, size_px=24)
    for number, (face, label) in enumerate(zip(faces, labels % 3, strict=True)):
        path = folder / f"class-{label}"
        path.mkdir(parents=True, exist_ok=True)
        cv2.imwrite(str(path / f"{number}.png"), face)
    return folder


def test_no_test_photo_is_trained_on_and_each_class_has_its_share(tmp_path):
    photos = write_faces(tmp_path / "faces")
    parts, again, other = split(photos, 1), split(photos, 1, few=5), split(photos, 2)
    assert not set(parts["train"]) & set(parts["test"])
    assert len(parts["train"]) + len(parts["test"]) == 120
    assert again["test"] == parts["test"] != other["test"]
    assert set(again["train"]) < set(parts["train"])
    assert len(again["train"]) == 15
    for label in range(3):
        folder = photos / f"class-{label}"
        of_class = [path for path in parts["test"] if path.parent == folder]
        assert len(of_class) == round(0.15 * len(list(folder.iterdir())))


def test_what_is_recorded_is_what_the_commands_measured(tmp_path):
    photos, result = write_faces(tmp_path / "faces"), tmp_path / "result.json"
    words = [str(photos), "--work", str(tmp_path), "--seeds", "3", "--json"]
    flags = ["--", "--recipe", "demo", "--epochs", "1", "--arch", "notebook_cnn"]
    assert main([*words, str(result), *flags]) == 0
    document = json.loads(result.read_text(encoding="utf-8"))
    assert document["flags"] == flags[1:]
    (seed,) = document["seeds"]
    measured = json.loads((tmp_path / "seed-3" / "accuracy.json").read_text())
    assert seed["photos"] == {"train": 102, "test": 18}
    assert seed["int8"]["count"] == measured["data"]["count"] == 18
    assert seed["int8"]["right"] == measured["models"][1]["right"]
    # Continued: nothing is trained again.
    log = (tmp_path / "seed-3" / "log.txt").read_text()
    assert main([*words, str(result), "--force", *flags]) == 0
    assert (tmp_path / "seed-3" / "log.txt").read_text() == log
