"""A run folder that somebody else has filled: one line, soon, whatever is in it."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from edge_runtime.errors import FerEdgeError, RunError
from edge_runtime.utils.argparser import exit_code_of
from export.calibration.record import CalibrationRecord
from export.trained_model import find_trained_model
from train.run.checkpoint import Progress, load_progress, publish_best, restore
from train.run.folder import RELEASED, RunFolder, find_run

pytestmark = pytest.mark.timeout(120)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    source = next(path for path in sorted(RELEASED.iterdir()) if path.is_dir())
    shutil.copytree(source, tmp_path / "run")
    (tmp_path / "run" / "checkpoint").mkdir()
    return tmp_path / "run"


def pipe(path: Path) -> None:
    os.mkfifo(path)


def loop(path: Path) -> None:
    path.symlink_to(path.name)


def device(path: Path) -> None:
    path.symlink_to("/dev/zero")


def writes(text: str) -> Callable[[Path], None]:
    def write(path: Path) -> None:
        path.write_text(text)

    return write


PLANTED: dict[str, Callable[[Path], None]] = {
    "pipe": pipe,
    "loop of links": loop,
    "device": device,
    "folder": Path.mkdir,
    "60 kB of [": writes("[" * 60_000),
    "list": writes("[]"),
    "empty object": writes("{}"),
    "null in it": writes('{"config": null, "labels": null, "input": null}'),
    "wrong types": writes('{"config": [1], "labels": 1, "input": [], "history": 1}'),
    "wrong values": writes('{"config": {"epochs": "x"}, "epoch": "x", "history": []}'),
    "text": writes("hello"),
    "nothing": writes(""),
}


@pytest.mark.parametrize("name", ["config.json", "metrics.json", "model.keras"])
@pytest.mark.parametrize("kind", PLANTED)
def test_export_of_it_is_one_line(
    folder: Path, name: str, kind: str, capsys: pytest.CaptureFixture[str]
) -> None:
    (folder / name).unlink()
    PLANTED[kind](folder / name)

    def export() -> int:
        find_trained_model(str(folder), None)
        return 0

    assert exit_code_of(export) == 2
    assert len(capsys.readouterr().err.strip().splitlines()) == 1


DAMAGES: dict[str, tuple[str, Any]] = {
    "labels of another number": ("labels", ["a", "b"]),
    "labels that are no text": ("labels", [[1]] * 7),
    "labels with an escape": ("labels", ["\x1b[2J", *"abcdef"]),
    "input of another size": ("input", {"size_px": 10**9, "colour": "grey"}),
    "input of another colour": ("input", {"size_px": 48, "colour": "pink"}),
    "temperature of text": ("temperature", "warm"),
    "temperature of infinity": ("temperature", float("inf")),
    "no temperature": ("temperature", None),
}


@pytest.mark.parametrize("kind", DAMAGES)
def test_metadata_that_are_not_its_models_are_refused(folder: Path, kind: str) -> None:
    key, value = DAMAGES[kind]
    document = json.loads((folder / "metrics.json").read_text())
    (folder / "metrics.json").write_text(json.dumps({**document, key: value}))
    with pytest.raises(FerEdgeError):
        find_trained_model(str(folder), None)


@pytest.mark.parametrize("kind", PLANTED)
def test_planted_progress_is_one_line(folder: Path, kind: str) -> None:
    PLANTED[kind](folder / "checkpoint" / "progress.json")
    try:
        load_progress(folder / "checkpoint")
    except RunError as error:
        assert "damaged" in str(error)
    else:
        assert kind == "loop of links"  # nothing is there


@pytest.mark.parametrize("key", ["weights_file", "best_file"])
@pytest.mark.parametrize("name", ["/etc/passwd", "../config.json", "..", "a/b"])
def test_progress_names_no_file_elsewhere(folder: Path, key: str, name: str) -> None:
    """Otherwise a resumed run would copy it to where its model belongs."""
    path = folder / "checkpoint" / "progress.json"
    path.write_text(json.dumps({"history": [], key: name}))
    with pytest.raises(RunError, match="damaged"):
        load_progress(path.parent)


def test_row_of_the_history_holds_numbers(folder: Path) -> None:
    path = folder / "checkpoint" / "progress.json"
    path.write_text(json.dumps({"epoch": 1, "history": [{"loss": "=1+1"}]}))
    with pytest.raises(RunError, match="a row of its history"):
        load_progress(path.parent)


@pytest.mark.parametrize("kind", ["pipe", "device", "folder", "loop of links"])
def test_planted_weights_and_models_are_one_line(folder: Path, kind: str) -> None:
    checkpoint = folder / "checkpoint"
    PLANTED[kind](checkpoint / "a")
    progress = Progress(epoch=1, weights_file="a", best_file="a")
    with pytest.raises(RunError):
        publish_best(checkpoint, folder / "model.keras", progress)
    model: Any = None  # the file is looked at first
    with pytest.raises(RunError):
        restore(checkpoint, model, progress)


@pytest.mark.parametrize("kind", PLANTED)
def test_planted_record_of_a_calibration_is_one_line(folder: Path, kind: str) -> None:
    path = folder / "ranges.json"
    PLANTED[kind](path)
    try:
        CalibrationRecord.load(path, folder / "model.keras")
    except RunError as error:
        assert "damaged" in str(error)
    else:
        assert kind == "loop of links"  # nothing is there


def test_newest_run_is_found_beside_a_planted_link(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(folder.parent)
    planted = folder.parent / "runs" / "planted"
    planted.mkdir(parents=True)
    (planted / "config.json").symlink_to("nowhere")
    shutil.copytree(folder, folder.parent / "runs" / "mine")
    assert find_run(None).name == "mine"


def test_configuration_of_the_released_run_is_read(folder: Path) -> None:
    assert RunFolder(folder).read_config().epochs > 0
