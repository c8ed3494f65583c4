"""Two processes train one network: what one would, and none is left waiting.

Real processes on this machine, with JAX's collectives over loopback; one is
interrupted, one is killed, and the run goes on with another number of processes.
"""

from __future__ import annotations

import contextlib
import csv
import importlib.util
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import cv2
import h5py
import numpy as np
import pytest

from edge_runtime.errors import INTERRUPTED_EXIT_CODE
from edge_runtime.sources.fake.face import LABELS
from tests.conftest import ROOT
from train.data.drawn_faces import drawn_faces

pytestmark = pytest.mark.skipif(
    importlib.util.find_spec("jax") is None, reason="jax is not installed"
)

EPOCHS = 8
# With a small rate float32's rounding stays small: see docs/how-to/several-devices.md.
FLAGS = ("--arch", "fer_small", "--epochs", f"{EPOCHS}", "--batch-size", "28")
FLAGS += ("--learning-rate", "0.001", "--threads", "1")
LOSS_RTOL, WEIGHTS_RTOL = 1e-4, 1e-3  # of all weights together
OWN_NETWORK = """\
import os
from keras import layers

def features(x):  # as if each process had a file of its own
    x = layers.Conv2D(8, 3, activation=os.environ["ACTIVATION"])(x)
    return layers.GlobalAveragePooling2D()(x)
"""
FOLDERS = ("one", "two")
ENDS_WITHIN_S = 30


def write_faces(folder: Path, *, seed: int = 1) -> Path:
    for split, count, drawn in (("train", 140, seed), ("val", 70, 100)):
        images, labels = drawn_faces(count, drawn, size_px=24)
        for number, (image, label) in enumerate(zip(images, labels, strict=True)):
            path = folder / split / LABELS[label] / f"{number}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            cv2.imwrite(str(path), image)
    return folder


@pytest.fixture(scope="module")
def faces(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_faces(tmp_path_factory.mktemp("images") / "faces")


def start(folder: Path, *words: str, **variables: str) -> subprocess.Popen[str]:
    environment = {**os.environ, "PYTHONPATH": str(ROOT), **variables}
    return subprocess.Popen(
        [sys.executable, "-m", "train", *words],
        cwd=folder,
        env=environment,
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        start_new_session=True,
    )


@contextlib.contextmanager
def group(
    folder: Path,
    *words: str,
    each: Sequence[Sequence[str]] = ((), ()),
    variables: Sequence[Mapping[str, str]] = ({}, {}),
) -> Iterator[list[subprocess.Popen[str]]]:
    """Yields two processes that train together; none outlives the body."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    place = ("--coordinator", f"127.0.0.1:{port}", "--processes", "2")
    started = [
        start(
            folder, *place, "--process", f"{number}", *words, *own, **variables[number]
        )
        for number, own in enumerate(each)
    ]
    try:
        yield started
    finally:
        for process in started:
            process.kill()
            process.communicate()


def end(process: subprocess.Popen[str], timeout_s: float = 600) -> tuple[int, str, str]:
    out, err = process.communicate(timeout=timeout_s)
    return process.returncode, out, err


def ends(processes: Sequence[subprocess.Popen[str]]) -> list[tuple[int, str, str]]:
    return [end(each) for each in processes]


def await_epoch(run: Path, process: subprocess.Popen[str], epoch: int) -> None:
    """Returns when the run has this epoch, or some more."""
    saved = run / "checkpoint" / "progress.json"
    while not (saved.exists() and f'"epoch": {epoch}' in saved.read_text()[:15]):
        assert process.poll() is None, process.communicate()
        time.sleep(0.02)


def child_of(process: subprocess.Popen[str]) -> int:
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text()
    return int(children.split()[0])


def history(run: Path) -> list[dict[str, str]]:
    with (run / "history.csv").open() as file:
        return list(csv.DictReader(file))


def weights(run: Path, part: str) -> np.ndarray:
    """Returns a part of the last checkpoint, as one vector: the average, too."""
    (path,) = (run / "checkpoint").glob("epoch-*.weights.h5")
    found: list[np.ndarray] = []

    def keep(_: str, item: object) -> None:
        if isinstance(item, h5py.Dataset):
            found.append(np.array(item, np.float64).ravel())

    with h5py.File(path) as file:
        file[part].visititems(keep)
    return np.concatenate(found)


@pytest.mark.timeout(1200)
def test_two_processes_train_as_one_also_stopped_killed_and_resumed(faces, tmp_path):
    data = ("--data", str(faces))
    teacher = start(tmp_path, *data, "--arch", "fer_small", "--recipe", "demo",
                    "--epochs", "1", "--name", "teacher")  # fmt: skip
    assert end(teacher)[0] == 0
    learn = (*data, *FLAGS, "--teacher", "teacher", "--teacher-views", "2")
    code, _, err = end(start(tmp_path, *learn, "--name", "one", KERAS_BACKEND="jax"))
    assert code == 0, err

    run = tmp_path / "runs" / "two"
    with group(tmp_path, *learn, "--name", "two") as processes:
        await_epoch(run, processes[0], 1)
        for process in processes:  # gloo's thread takes no core of one it waits for
            kinds = []
            for thread in Path(f"/proc/{child_of(process)}/task").iterdir():
                with contextlib.suppress(ProcessLookupError):  # it has just ended
                    kinds.append(os.sched_getscheduler(int(thread.name)))
            assert kinds.count(os.SCHED_BATCH) > len(kinds) / 2
        processes[1].send_signal(signal.SIGINT)
        stopped = ends(processes)
    assert [code for code, *_ in stopped] == [INTERRUPTED_EXIT_CODE] * 2, stopped
    assert "interrupted after" in stopped[0][1]
    assert (run / "metrics.json").is_file()
    assert stopped[1][1:] == ("", "")

    # A folder of its own without runs: the first process has all that is needed.
    with group(tmp_path, *data, "--resume", "two") as processes:
        await_epoch(run, processes[0], int(history(run)[-1]["epoch"]) + 1)
        os.kill(child_of(processes[1]), signal.SIGKILL)
        killed_s = time.monotonic()
        code, _, err = end(processes[0])
        took_s = time.monotonic() - killed_s
        other = end(processes[1])
    assert code == other[0] == 2
    (line,) = err.splitlines()
    assert line.startswith("error: process 1 (") and "SIGKILL" in line
    assert other[2].splitlines() == [line]
    assert took_s < ENDS_WITHIN_S

    code, _, err = end(
        start(tmp_path, *data, "--resume", "two", "--devices", "all", "--threads", "1")
    )
    assert code == 0, err
    for one, two in zip(history(tmp_path / "runs" / "one"), history(run), strict=True):
        for name in ("loss", "val_loss"):
            assert float(two[name]) == pytest.approx(float(one[name]), rel=LOSS_RTOL)
    for part in ("layers", "optimizer"):
        expected, got = (weights(tmp_path / "runs" / name, part) for name in FOLDERS)
        difference = np.linalg.norm(expected - got)
        assert difference <= WEIGHTS_RTOL * np.linalg.norm(expected), part


@pytest.mark.timeout(600)
def test_training_of_the_first_process_that_is_killed_is_named_by_all(faces, tmp_path):
    # The libraries of the other one may abort before its supervisor has heard of it.
    with group(tmp_path, "--data", str(faces), *FLAGS, "--name", "two") as processes:
        await_epoch(tmp_path / "runs" / "two", processes[0], 1)
        os.kill(child_of(processes[0]), signal.SIGKILL)
        results = ends(processes)
    for code, _, err in results:
        assert code == 2
        (line,) = err.splitlines()
        assert line.startswith("error: process 0 (") and "SIGKILL" in line


@pytest.mark.timeout(600)
@pytest.mark.parametrize(
    ("victim", "how", "said"),
    [
        (0, signal.SIGKILL, "has ended without a word"),
        (1, signal.SIGKILL, "has ended without a word"),
        (1, signal.SIGSTOP, "has been silent for"),  # as of a machine that is gone
    ],
)
def test_supervisor_that_is_gone_ends_the_other_within_thirty_seconds(
    faces, tmp_path, victim, how, said
):
    with group(tmp_path, "--data", str(faces), *FLAGS, "--name", "two") as processes:
        await_epoch(tmp_path / "runs" / "two", processes[0], 1)
        child = Path(f"/proc/{child_of(processes[victim])}")
        processes[victim].send_signal(how)
        since_s = time.monotonic()
        code, _, err = end(processes[1 - victim])
        took_s = time.monotonic() - since_s
        while how == signal.SIGKILL and child.exists():
            assert time.monotonic() - since_s < ENDS_WITHIN_S
            time.sleep(0.1)
    assert code == 2
    (line,) = err.splitlines()
    assert f"process {victim} (" in line and said in line
    assert took_s < ENDS_WITHIN_S


def test_unlike_flags_are_one_line_in_each(faces, tmp_path):
    data = ("--data", str(faces), *FLAGS, "--name", "x")
    with group(tmp_path, *data, each=((), ("--seed", "7"))) as processes:
        results = ends(processes)
    for code, _, err in results:
        assert code == 2
        (line,) = err.splitlines()
        assert "process 1 has another seed than process 0: 7, not None" in line
    assert not (tmp_path / "runs" / "x" / "config.json").exists()


def test_unlike_images_are_one_line_in_each(faces, tmp_path):
    others = write_faces(tmp_path / "others", seed=5)
    each = (("--data", str(faces)), ("--data", str(others)))
    with group(tmp_path, *FLAGS, each=each) as processes:
        results = ends(processes)
    for code, _, err in results:
        assert code == 2
        (line,) = err.splitlines()
        assert "another fingerprint of its images than process 0" in line


def test_unlike_networks_of_their_own_are_one_line_in_each(faces, tmp_path):
    (tmp_path / "network.py").write_text(OWN_NETWORK)
    words = ("--data", str(faces), *FLAGS, "--arch", "network.py:features")
    variables = [{"ACTIVATION": each} for each in ("relu", "gelu")]
    with group(tmp_path, *words, "--name", "x", variables=variables) as processes:
        results = ends(processes)
    for code, _, err in results:
        assert code == 2
        (line,) = err.splitlines()
        assert "process 1 has another fingerprint of its network" in line
    assert not (tmp_path / "runs" / "x").exists()


def test_unlike_numbers_of_devices_are_one_line_in_each(faces, tmp_path):
    words = ("--data", str(faces), *FLAGS, "--devices", "1", "--name", "x")
    flag = "--xla_force_host_platform_device_count"
    variables = [{"XLA_FLAGS": f"{flag}={count}"} for count in (1, 2)]
    with group(tmp_path, *words, variables=variables) as processes:
        results = ends(processes)
    for code, _, err in results:
        assert code == 2
        (line,) = err.splitlines()
        assert "process 1 has another number of devices" in line
        assert "CUDA_VISIBLE_DEVICES" in line and "2, not 1" in line
    assert not (tmp_path / "runs" / "x").exists()


def test_error_of_one_process_is_named_in_the_other(faces, tmp_path):
    each = (("--data", str(faces)), ("--data", "nowhere"))
    with group(tmp_path, *FLAGS, each=each) as processes:
        (code, _, err), other = ends(processes)
    assert code == other[0] == 2
    assert other[2].count("\n") == err.count("\n") == 1
    assert "process 1 (" in err and "nowhere" in err and "nowhere" in other[2]


@pytest.mark.parametrize(
    ("number", "part"), [(0, "start also --process 1"), (1, "process 0 is not at")]
)
def test_nobody_waits_longer_than_the_timeout(tmp_path, number, part):
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    place = ("--coordinator", f"127.0.0.1:{port}", "--processes", "2")
    words = (*place, "--process", f"{number}", "--join-timeout", "2s")
    code, _, err = end(start(tmp_path, *words))
    assert code == 2
    (line,) = err.splitlines()
    assert part in line and "2 s" in line
