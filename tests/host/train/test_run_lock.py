"""One training writes into a run folder; nothing of it stays behind."""

import os
import signal
import subprocess
import sys
from multiprocessing.pool import ThreadPool
from pathlib import Path

import cv2
import numpy as np
import pytest

from edge_runtime.errors import OutputError, RunError
from train.run.folder import RunFolder, create_run, require_free_name
from train.run.lock import locked

ROOT = Path(__file__).resolve().parents[3]
HOLD = (
    "import sys, time; from pathlib import Path; from train.run.lock import locked\n"
    "with locked(Path(sys.argv[1])): print('held', flush=True); time.sleep(60)"
)
FLAGS = ["--arch", "fer_small", "--epochs", "2", "--batch-size", "8"]


@pytest.fixture
def holder(tmp_path):
    """Another process that holds ``tmp_path``."""
    command = [sys.executable, "-c", HOLD, str(tmp_path)]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE) as process:
        assert process.stdout.readline() == b"held\n"
        yield process
        process.kill()


def test_second_process_is_refused(tmp_path, holder):
    with (
        pytest.raises(RunError, match="written by another training"),
        locked(tmp_path),
    ):
        pass


def test_lock_ends_with_its_process(tmp_path, holder):
    os.kill(holder.pid, signal.SIGKILL)
    holder.wait()
    with locked(tmp_path):
        pass


def test_lock_can_be_taken_again_in_one_process(tmp_path):
    for _ in range(2):
        with locked(tmp_path):
            pass


@pytest.mark.parametrize("plant", ["link", "folder"])
def test_lock_that_others_planted_is_refused_and_nothing_is_changed(tmp_path, plant):
    target = tmp_path / "precious"
    target.write_text("mine")
    if plant == "link":
        (tmp_path / ".lock").symlink_to(target)
    else:
        (tmp_path / ".lock").mkdir()
    with pytest.raises(OutputError, match="cannot write in"), locked(tmp_path):
        pass
    assert target.read_text() == "mine"


def test_named_pipe_as_lock_does_not_hang(tmp_path):
    os.mkfifo(tmp_path / ".lock")
    with locked(tmp_path):
        pass


def test_file_system_without_locks_is_no_error(tmp_path, monkeypatch):
    def refuse(*_):
        raise OSError(95, "Operation not supported")

    monkeypatch.setattr("fcntl.flock", refuse)
    with locked(tmp_path):
        pass


def test_name_of_a_run_that_wrote_nothing_is_free(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    run = create_run("one", "x")
    (run.path / ".lock").touch()  # as after a kill
    require_free_name("one", force=False)
    RunFolder(run.path).remove_if_empty()
    assert not run.path.exists()


def test_lock_leaves_nothing_in_the_folder(tmp_path):
    with locked(tmp_path):
        assert (tmp_path / ".lock").is_file()
    assert list(tmp_path.iterdir()) == []


def test_folder_with_other_files_is_kept(tmp_path):
    (tmp_path / "notes.txt").write_text("mine")
    with locked(tmp_path):
        RunFolder(tmp_path).remove_if_empty()
    assert (tmp_path / "notes.txt").exists()


def write_set(root):
    rng = np.random.default_rng(0)
    for label, level in (("dark", 0), ("light", 120)):
        (root / label).mkdir(parents=True)
        for number in range(12):
            image = rng.integers(level, level + 100, (16, 16), dtype=np.uint8)
            cv2.imwrite(str(root / label / f"{number}.png"), image)
    return root


def train(arguments):
    command = [sys.executable, "-m", "train", *arguments]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True)


def test_of_two_trainings_with_one_name_one_is_refused(tmp_path):
    data = write_set(tmp_path / "set")
    name = ["--data", str(data), *FLAGS, "--name", str(tmp_path / "one")]
    with ThreadPool(2) as pool:
        done = pool.map(train, ([*name, "--seed", seed] for seed in "12"))
    assert sorted(each.returncode for each in done) == [0, 2]
    (refused,) = (each.stderr for each in done if each.returncode)
    assert "another training" in refused or "exists: continue it" in refused
    assert refused.count("\n") == 1
    rows = (tmp_path / "one" / "history.csv").read_text().splitlines()
    assert len(rows) == 3
    assert train(["--resume", str(tmp_path / "one")]).returncode in (0, 2)
