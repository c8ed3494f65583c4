"""Labelled crops become a zip to train on: all of them, once, and nothing else."""

from __future__ import annotations

import json
import os
import zipfile
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from edge_runtime.__main__ import main
from edge_runtime.outputs.base import CollectLimits
from edge_runtime.outputs.collection.crop_folder import CropFolder
from tests.console import one_error_line
from tests.device.outputs.test_collection import crop
from train.data.dataset import load


def collected(path: Path, labels: dict[int, Any], **more: Any) -> Path:
    """Writes a folder of crops by number; False: nobody has looked, None: discarded."""
    folder = CropFolder(path, CollectLimits())
    for number, label in labels.items():
        folder.store(crop(number, **more))
        if label is not False:
            name = folder.crops()[-1].name
            document = folder.document(name) | {"review": {"label": label}}
            folder.replace_document(name, document)
    folder.close()
    return path


def exported(zip_path: Path, *sources: Path, flags: tuple[str, ...] = ()) -> Any:
    command = ["collect", "export", *map(str, sources), str(zip_path), *flags]
    assert main(command) == 0
    with zipfile.ZipFile(zip_path) as archive:
        manifest = json.loads(archive.read("manifest.json"))
        files = sorted(set(archive.namelist()) - {"manifest.json"})
    assert files == sorted(entry["file"] for entry in manifest["crops"])
    return manifest


def labels_of(manifest: Any) -> list[str]:
    return sorted(entry["label"] for entry in manifest["crops"])


def test_zip_has_what_people_labelled(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    labels = {1: "cat", 2: "dog", 3: "dog", 4: None, 5: False, 6: False}
    crops = collected(tmp_path / "crops", labels)
    manifest = exported(tmp_path / "dataset.zip", crops)
    assert labels_of(manifest) == ["cat", "dog", "dog"]
    assert {entry["answer"] for entry in manifest["crops"]} == {"cat"}
    out = capsys.readouterr().out
    assert "left out: 2 not reviewed" in out
    assert "left out: 1 discarded" in out
    assert "next:  python -m train --data PHOTOS --data" in out


def test_train_reads_it(tmp_path: Path) -> None:
    crops = collected(tmp_path / "crops", {n: ("cat", "dog")[n % 2] for n in range(12)})
    exported(tmp_path / "dataset.zip", crops)
    data = load(tmp_path / "dataset.zip")
    assert data.labels == ("cat", "dog")
    assert len(data.train) + len(data.validation) == 12
    assert data.other_files == {".json": 1}
    assert not data.ignored
    assert not data.unreadable


def test_boards_are_merged_and_copies_dropped(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    first = collected(tmp_path / "one", {1: "cat", 2: "dog", 9: False})
    exported(tmp_path / "one.zip", first)
    second = collected(tmp_path / "two", {2: "dog", 3: "cat", 9: "cat"})
    manifest = exported(tmp_path / "all.zip", tmp_path / "one.zip", second, first)
    assert labels_of(manifest) == ["cat", "cat", "cat", "dog"]
    assert "left out: 3 copies" in capsys.readouterr().out


def test_crop_with_two_labels_is_left_out(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    first = collected(tmp_path / "one", {1: "cat", 2: "dog"})
    second = collected(tmp_path / "two", {1: "dog"})
    manifest = exported(tmp_path / "all.zip", first, second)
    assert labels_of(manifest) == ["dog"]
    assert "left out: 1 with two answers" in capsys.readouterr().out


@pytest.mark.parametrize("flags", [(), ("--with-unreviewed",)])
def test_crop_that_one_labels_and_another_discards_is_left_out(
    tmp_path: Path, flags: tuple[str, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    first = collected(tmp_path / "one", {1: "cat", 2: "dog"})
    second = collected(tmp_path / "two", {1: None})
    for sources in ((first, second), (second, first)):
        manifest = exported(tmp_path / "d.zip", *sources, flags=(*flags, "--force"))
        assert labels_of(manifest) == ["dog"]
        assert "left out: 1 with two answers" in capsys.readouterr().out


def test_crop_that_a_person_discards_is_not_taken_from_another_board(
    tmp_path: Path,
) -> None:
    first = collected(tmp_path / "one", {1: False, 2: "dog"})
    second = collected(tmp_path / "two", {1: None})
    flags = ("--with-unreviewed",)
    manifest = exported(tmp_path / "d.zip", first, second, flags=flags)
    assert labels_of(manifest) == ["dog"]


def test_label_of_a_person_counts_more_than_the_answer_of_the_model(
    tmp_path: Path,
) -> None:
    first = collected(tmp_path / "one", {1: False})
    second = collected(tmp_path / "two", {1: "dog"})
    for sources in ((first, second), (second, first)):
        flags = ("--with-unreviewed", "--force")
        manifest = exported(tmp_path / "all.zip", *sources, flags=flags)
        assert labels_of(manifest) == ["dog"]


def test_unreviewed_crops_come_with_the_answer_where_asked_for(tmp_path: Path) -> None:
    crops = collected(tmp_path / "crops", {1: "dog", 2: False})
    manifest = exported(tmp_path / "d.zip", crops, flags=("--with-unreviewed",))
    assert [(e["label"], e["reviewed"]) for e in manifest["crops"]].count(
        ("cat", False)
    ) == 1


def test_labels_with_a_slash_have_a_folder_and_stay_as_they_are(tmp_path: Path) -> None:
    crops = collected(tmp_path / "crops", {1: "/a/arena/hockey", 2: "dog", 3: "dog"})
    manifest = exported(tmp_path / "dataset.zip", crops)
    assert sorted(labels_of(manifest)) == ["/a/arena/hockey", "dog", "dog"]
    again = exported(tmp_path / "again.zip", tmp_path / "dataset.zip")
    assert sorted(labels_of(again)) == ["/a/arena/hockey", "dog", "dog"]
    with zipfile.ZipFile(tmp_path / "again.zip") as archive:
        folders = {name.partition("/")[0] for name in archive.namelist()}
    assert folders == {"a-arena-hockey", "dog", "manifest.json"}


def test_labels_that_would_share_a_folder_are_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    crops = collected(tmp_path / "crops", {1: "a/b", 2: "a-b"})
    assert main(["collect", "export", str(crops), str(tmp_path / "dataset.zip")]) == 2
    assert "would share one" in one_error_line(capsys)


def test_same_crops_give_the_same_bytes(tmp_path: Path) -> None:
    crops = collected(tmp_path / "crops", {1: "dog", 2: "cat"})
    exported(tmp_path / "one.zip", crops)
    exported(tmp_path / "two.zip", crops)
    assert (tmp_path / "one.zip").read_bytes() == (tmp_path / "two.zip").read_bytes()


def test_how_often_the_model_is_right_is_told_of_random_crops(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    labels = {1: "dog", 2: "cat", 3: "cat"}
    crops = collected(tmp_path / "crops", labels, reason="random")
    exported(tmp_path / "d.zip", crops)
    line = "of 3 crops taken at random the model had 2 right"
    assert line in capsys.readouterr().out


def test_each_model_is_told_how_often_it_is_right_without_contradictions(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    old = {"reason": "random", "model": {"name": "m.tflite", "sha256": "a" * 64}}
    new = {"reason": "random", "model": {"name": "m\n.tflite", "sha256": "b" * 64}}
    first = collected(tmp_path / "one", {1: "dog", 2: "cat", 3: "dog"}, **old)
    second = collected(tmp_path / "two", {4: "cat", 5: "cat"}, **new)
    third = collected(tmp_path / "three", {3: "cat"}, **old)  # no longer counted
    exported(tmp_path / "d.zip", first, second, third)
    lines = capsys.readouterr().out.splitlines()
    of = "crops taken at random"
    assert f"of 2 {of} m.tflite (aaaaaaaa) had 1 right" in lines
    assert rf"of 2 {of} m\n.tflite (bbbbbbbb) had 2 right" in lines


# --- damage ------------------------------------------------------------------------


def half_jpeg(crops: Path) -> None:
    path = min(crops.glob("*.jpg"))
    path.write_bytes(path.read_bytes()[:-100])


def other_jpeg(crops: Path) -> None:
    cv2.imwrite(str(min(crops.glob("*.jpg"))), np.zeros((9, 9), np.uint8))


def half_json(crops: Path) -> None:
    path = min(crops.glob("*.json"))
    path.write_bytes(path.read_bytes()[:-9])


def no_json(crops: Path) -> None:
    min(crops.glob("*.json")).unlink()


def pipe_instead(crops: Path) -> None:
    path = min(crops.glob("*.jpg"))
    path.unlink()
    os.mkfifo(path)


def label_with_a_path(crops: Path) -> None:
    path = min(crops.glob("*.json"))
    document = json.loads(path.read_text()) | {"review": {"label": "../../etc"}}
    path.write_text(json.dumps(document))


def review_without_label(crops: Path) -> None:
    path = min(crops.glob("*.json"))
    document = json.loads(path.read_text()) | {"review": {}}
    path.write_text(json.dumps(document))


@pytest.mark.parametrize(
    "damage",
    [
        *(half_jpeg, other_jpeg, half_json, no_json, pipe_instead, label_with_a_path),
        review_without_label,
    ],
)
def test_damaged_crop_is_left_out_and_counted(
    tmp_path: Path, damage: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    crops = collected(tmp_path / "crops", {1: "cat", 2: "dog", 3: "dog"})
    damage(crops)
    manifest = exported(tmp_path / "dataset.zip", crops)
    assert labels_of(manifest) == ["dog", "dog"]
    out = capsys.readouterr().out
    assert ("left out: 1 damaged" in out) is (damage is not no_json)


def test_damaged_zip_is_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "a.zip").write_bytes(b"PK no zip")
    assert main(["collect", "export", f"{tmp_path}/a.zip", f"{tmp_path}/b.zip"]) == 2
    assert "expected a zip of collect export" in one_error_line(capsys)


def with_manifest(path: Path, manifest: object, method: int = 0) -> None:
    with zipfile.ZipFile(path, "w", method) as archive:
        archive.writestr("manifest.json", json.dumps(manifest))


def changed(path: Path, *offsets: tuple[bytes, int], value: bytes) -> None:
    """Writes bytes at offsets from the first of some signatures."""
    data = bytearray(path.read_bytes())
    for signature, offset in offsets:
        at = data.index(signature) + offset
        data[at : at + len(value)] = value
    path.write_bytes(data)


ZIP_LOCAL, ZIP_CENTRAL = b"PK\x03\x04", b"PK\x01\x02"
OF_DATASET: dict[str, object] = {"schema": "fer-edge/dataset/1"}


def number_of_crops(path: Path) -> None:
    with_manifest(path, OF_DATASET | {"crops": 5})


def no_crops(path: Path) -> None:
    with_manifest(path, OF_DATASET | {"crops": None})


def damaged_deflate(path: Path) -> None:
    with_manifest(path, OF_DATASET | {"crops": ["x"] * 99}, zipfile.ZIP_DEFLATED)
    changed(path, (ZIP_LOCAL, 30 + len("manifest.json")), value=b"\xff" * 9)


def encrypted(path: Path) -> None:
    with_manifest(path, OF_DATASET | {"crops": []})
    changed(path, (ZIP_LOCAL, 6), (ZIP_CENTRAL, 8), value=b"\x01")


def unknown_compression(path: Path) -> None:
    with_manifest(path, OF_DATASET | {"crops": []})
    changed(path, (ZIP_LOCAL, 8), (ZIP_CENTRAL, 10), value=b"\x63")


@pytest.mark.parametrize(
    "damage",
    [number_of_crops, no_crops, damaged_deflate, encrypted, unknown_compression],
)
def test_hostile_zip_is_one_line(
    tmp_path: Path, damage: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    damage(tmp_path / "a.zip")
    assert main(["collect", "export", f"{tmp_path}/a.zip", f"{tmp_path}/b.zip"]) == 2
    assert "expected a zip of collect export" in one_error_line(capsys)


def test_zip_is_not_replaced_where_all_images_are_damaged(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    crops = collected(tmp_path / "crops", {1: "cat"})
    exported(tmp_path / "d.zip", crops)
    before = (tmp_path / "d.zip").read_bytes()
    half_jpeg(crops)
    capsys.readouterr()
    command = ["collect", "export", str(crops), str(tmp_path / "d.zip"), "--force"]
    assert main(command) == 2
    assert "expected labelled crops, got none: 1 damaged" in capsys.readouterr().err
    assert (tmp_path / "d.zip").read_bytes() == before
    assert sorted(path.name for path in tmp_path.iterdir()) == ["crops", "d.zip"]


def test_foreign_zip_is_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.writestr("cat/1.jpg", b"x")
    assert main(["collect", "export", f"{tmp_path}/a.zip", f"{tmp_path}/b.zip"]) == 2
    assert "it has no manifest.json" in one_error_line(capsys)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["nothing", "d.zip"], "no such path"),
        (["crops", "d.tar"], "expected a .zip to write, last"),
        (["empty", "d.zip"], "no crop is in it"),
        (["unreviewed", "d.zip"], "none of 1 crops is labelled: do it at /review"),
        (["crops", "there.zip"], "there.zip exists: replace it with --force"),
    ],
)
def test_mistakes_are_one_line_with_the_way_out(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    words: list[str],
    message: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    collected(tmp_path / "crops", {1: "cat"})
    collected(tmp_path / "unreviewed", {1: False})
    (tmp_path / "empty").mkdir()
    (tmp_path / "there.zip").touch()
    assert main(["collect", "export", *words]) == 2
    assert message in one_error_line(capsys)
    assert not (tmp_path / "d.zip").exists()


def test_run_names_the_next_command(
    tmp_path: Path, tiny_model_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    crops = str(tmp_path / "crops")
    command = ["run", str(tiny_model_path), "--source", "fake:scene?clock=virtual"]
    command += ["--faces", "none", "--max-frames", "3", "--collect", crops]
    assert main(command) == 0
    assert f"collect export {crops} dataset.zip" in capsys.readouterr().out
