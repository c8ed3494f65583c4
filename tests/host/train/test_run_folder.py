"""Run folders: named, found again, and read with errors that say what to do."""

import csv
import os

import pytest

from edge_runtime.errors import OutputError, RunError
from train.run.folder import (
    MAX_JSON_BYTES,
    RELEASED,
    RUNS,
    RunFolder,
    create_run,
    find_run,
    require_free_name,
)


@pytest.fixture(autouse=True)
def _in_an_empty_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def begun(name, at=None):
    """A run that has been begun, last written at a time."""
    run = RunFolder(RUNS / name)
    run.write_json(run.config, {"config": {}, "data_fingerprint": ""})
    if at is not None:
        os.utime(run.config, (at, at))
    return run


def test_automatic_names_are_numbered():
    names = [create_run(None, "fer").name for _ in range(3)]
    assert names == ["fer-1", "fer-2", "fer-3"]


@pytest.mark.parametrize("name", [None, "mine", "elsewhere/mine"])
def test_run_folder_is_made_so_that_no_other_run_takes_it(name):
    assert create_run(name, "fer").path.is_dir()


def test_taken_name_is_refused_and_allowed_with_force():
    begun("mine")
    with pytest.raises(OutputError, match=r"--resume mine.*--force"):
        require_free_name("mine", force=False)
    require_free_name("mine", force=True)


@pytest.mark.parametrize("name", [None, "fresh", "elsewhere/fresh"])
def test_free_name_is_allowed_and_nothing_is_made(tmp_path, name):
    require_free_name(name, force=False)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["", " ", ".", ".."], ids=repr)
def test_name_that_is_no_name_is_refused(name):
    with pytest.raises(OutputError, match="--name"):
        require_free_name(name, force=True)


def test_force_does_not_touch_a_folder_that_is_no_run(tmp_path):
    (tmp_path / "photos" / "mine").mkdir(parents=True)
    (tmp_path / "photos" / "mine" / "holiday.jpg").write_bytes(b"x")
    with pytest.raises(OutputError, match="not a run folder"):
        require_free_name("photos/mine", force=True)


@pytest.mark.parametrize("name", ["elsewhere/mine", "./runs/mine"])
def test_name_with_a_folder_is_a_path(name):
    assert str(create_run(name, "fer").path) == os.path.normpath(name)


def test_run_is_found_by_name_and_by_path():
    begun("mine")
    assert find_run("mine").path == find_run("runs/mine").path == RUNS / "mine"


@pytest.mark.parametrize("name", ["fer2013", str(RELEASED / "fer2013"), f"{RELEASED}/"])
def test_released_run_is_found_also_where_version_0_1_had_it(name):
    assert find_run(name).path == RELEASED / "fer2013"


def test_newest_run_is_the_one_written_to_last():
    for name, at in (("old", 1000), ("new", 3000), ("middle", 2000)):
        begun(name, at)
    assert find_run(None).name == "new"


def test_newer_history_makes_a_run_newer():
    old = begun("old", 1000)
    begun("new", 3000)
    old.write_history([{"epoch": 1}])
    os.utime(old.path / "history.csv", (4000, 4000))
    assert find_run(None).name == "old"


@pytest.mark.parametrize(
    ("name", "part"),
    [(None, "python -m train"), ("nothing", "no config.json there")],
    ids=["none-yet", "unknown"],
)
def test_missing_run_says_so(name, part):
    with pytest.raises(RunError, match=part):
        find_run(name)


@pytest.mark.parametrize("text", [None, "", "{", "[1]", "3"], ids=repr)
def test_damaged_json_file_is_a_run_error(text):
    run = begun("mine")
    if text is None:
        run.config.unlink()
    else:
        run.config.write_text(text)
    with pytest.raises(RunError, match=r"config\.json"):
        run.read_json(run.config)


def test_json_file_larger_than_any_run_has_is_refused_unparsed():
    run = begun("mine")
    run.config.write_bytes(b"{" + b" " * MAX_JSON_BYTES + b"}")
    with pytest.raises(RunError, match="at most"):
        run.read_json(run.config)


def test_metrics_of_two_thousand_classes_are_read():
    run = begun("mine")
    run.write_json(run.metrics, {"confusion_matrix": [[123] * 2000] * 2000})
    assert len(run.read_json(run.metrics)["confusion_matrix"]) == 2000


def test_json_survives():
    run = begun("mine")
    run.write_json(run.metrics, {"a": [1, 2.5, None], "b": "ü"})
    assert run.read_json(run.metrics) == {"a": [1, 2.5, None], "b": "ü"}


def test_history_is_a_csv_with_a_row_each():
    run = RunFolder(RUNS / "mine")
    run.write_history([{"epoch": 1, "loss": 0.5}, {"epoch": 2, "loss": 0.25}])
    with (run.path / "history.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert rows == [{"epoch": "1", "loss": "0.5"}, {"epoch": "2", "loss": "0.25"}]


def test_clear_removes_what_a_run_left_and_nothing_else():
    run = begun("mine")
    run.write_json(run.checkpoint / "progress.json", {})
    (run.path / "notes.txt").write_text("mine")
    run.clear()
    files = [path.name for path in run.path.rglob("*") if path.is_file()]
    assert files == ["notes.txt"]


def test_clear_of_a_run_that_is_not_there_is_no_error():
    RunFolder(RUNS / "nothing").clear()
