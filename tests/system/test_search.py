"""Two workers of one search, one of them killed: every trial once, none lost.

The same with a journal file and with a PostgreSQL. The trials take seconds of computing
each; nothing here depends on how long they take.
"""

from __future__ import annotations

import json
import os
import re
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import cv2
import pytest

from edge_runtime.sources.fake.face import LABELS
from tests.conftest import ROOT
from tests.system.postgresql import MISSING, PROGRAMS, postgresql
from train.data.drawn_faces import drawn_faces

TRIALS, MORE = 20, 2
KILLED_AFTER = 5  # trials that the worker began
NAME = "faces"
SPACE = ("--arch", "fer_wide", "--width", "0.1:0.3", "--size", "16,24", "--depth", "1")
SPACE += ("--recipe", "quick", "--epochs", "2", "--threads", "1")


@pytest.fixture(scope="module")
def faces(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("images") / "faces"
    for split, count, seed in (("train", 140, 1), ("val", 70, 2)):
        images, labels = drawn_faces(count, seed, size_px=24)
        for number, (image, label) in enumerate(zip(images, labels, strict=True)):
            path = folder / split / LABELS[label] / f"{number}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            cv2.imwrite(str(path), image)
    return folder


@pytest.fixture(params=["journal", "postgresql"])
def storage(request: pytest.FixtureRequest) -> Iterator[list[str]]:
    if request.param == "journal":
        yield []
        return
    if PROGRAMS is None:
        pytest.skip(MISSING)
    with postgresql() as url:
        yield ["--storage", url]


class Worker:
    """A worker, with what it says in a file."""

    def __init__(self, folder: Path, faces: Path, name: str, *more: str) -> None:
        words = ["--data", str(faces), "--name", NAME, *SPACE]
        self.log = folder / f"{name}.log"
        command = [sys.executable, "-u", "-m", "train.search", *words, *more]
        environment = {**os.environ, "PYTHONPATH": str(ROOT)}
        with self.log.open("w") as log:
            self.process = subprocess.Popen(
                command, cwd=folder, env=environment, stdout=log, stderr=log
            )

    def said(self) -> str:
        return self.log.read_text()

    def begun(self) -> list[int]:
        """Returns the numbers of the trials that it began to train."""
        found = re.findall(r"^trial (\d+): python", self.said(), flags=re.MULTILINE)
        return [int(number) for number in found]

    def has_ended(self, trial: int) -> bool:
        pattern = rf"^trial {trial}: [\d.]+%"
        return re.search(pattern, self.said(), flags=re.MULTILINE) is not None

    def ends_well(self) -> None:
        assert self.process.wait() == 0, self.said()


@contextmanager
def worker(*arguments: Any) -> Iterator[Worker]:
    one = Worker(*arguments)
    try:
        yield one
    finally:
        one.process.kill()
        one.process.wait()


def kill_within_a_trial(one: Worker, folder: Path) -> int:
    """Kills a worker after the first epoch of a trial; returns the trial."""
    while True:
        assert one.process.poll() is None, one.said()
        begun = one.begun()
        history = folder / f"runs/{NAME}/trial-{(begun or [0])[-1]:04d}/history.csv"
        if len(begun) >= KILLED_AFTER and history.exists():
            one.process.send_signal(signal.SIGSTOP)  # now it does nothing more
            if one.begun() == begun and not one.has_ended(begun[-1]):
                one.process.kill()
                one.process.wait()
                return begun[-1]
            one.process.send_signal(signal.SIGCONT)
        time.sleep(0.1)


@pytest.mark.timeout(7200)
def test_a_search_of_two_workers_loses_no_trial_with_one_of_them(
    tmp_path: Path, faces: Path, storage: list[str]
) -> None:
    trials = ["--trials", str(TRIALS), *storage]
    with (
        worker(tmp_path, faces, "first", *trials) as first,
        worker(tmp_path, faces, "second", *trials, "--json", "all.json") as second,
    ):
        killed = kill_within_a_trial(first, tmp_path)
        second.ends_well()
    document = json.loads((tmp_path / "all.json").read_text())
    check_trials(document, first.begun() + second.begun(), killed)

    # The same command, with more trials: the ones before stay as they are.
    more = ["--trials", str(TRIALS + MORE), *storage, "--json", "more.json"]
    with worker(tmp_path, faces, "third", *more) as third:
        third.ends_well()
    continued = json.loads((tmp_path / "more.json").read_text())
    assert continued["trials"][:TRIALS] == document["trials"]
    assert len(continued["trials"]) == len(third.begun()) + TRIALS == TRIALS + MORE

    check_winner(continued, third.said(), tmp_path)


def check_trials(document: dict[str, Any], begun: list[int], killed: int) -> None:
    """Each trial has a result and was begun once, the killed worker's last twice."""
    found = document["trials"]
    assert len(found) == TRIALS
    assert {trial["state"] for trial in found} <= {"finished", "pruned"}
    assert len({json.dumps(trial["parameters"]) for trial in found}) == TRIALS
    assert sorted(begun) == sorted([*(trial["trial"] for trial in found), killed])
    attempts = {trial["trial"]: trial["attempts"] for trial in found}
    assert [number for number in attempts if attempts[number] != 1] == [killed]
    assert attempts[killed] == 2


def check_winner(document: dict[str, Any], said: str, folder: Path) -> None:
    """The printed command gives the accuracy that the search recorded, to the digit."""
    command = re.search(r"same accuracy:\n +python (-m train .*)", said)
    assert command is not None, said
    words = [sys.executable, *shlex.split(command[1]), "--name", "again"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    subprocess.run(words, cwd=folder, env=environment, check=True, capture_output=True)
    metrics = json.loads((folder / "runs/again/metrics.json").read_text())
    # By its number: those of attempts at trials taken up are left out.
    results = {trial["trial"]: trial["figures"] for trial in document["trials"]}
    winner = results[document["winner"]]
    assert metrics["validation"]["accuracy"] == winner["accuracy"]
    assert metrics["best_epoch"] == winner["best_epoch"]


@pytest.mark.timeout(3600)
def test_a_worker_that_is_stopped_ends_no_other_one(
    tmp_path: Path, faces: Path
) -> None:
    """Its training goes on without it: the one that has the trial now waits."""
    trial = ["--trials", "1", "--epochs", "100"]
    with worker(tmp_path, faces, "first", *trial) as first:
        while not (tmp_path / f"runs/{NAME}/trial-0000/history.csv").exists():
            assert first.process.poll() is None, first.said()
            time.sleep(0.1)
        first.process.send_signal(signal.SIGSTOP)
        assert not first.has_ended(0)
        more = [*trial, "--take-over", "2s", "--json", "all.json"]
        with worker(tmp_path, faces, "second", *more) as second:
            while "waiting for the training of a worker" not in second.said():
                if second.process.poll() is not None or second.has_ended(0):
                    break  # the training was faster
                time.sleep(0.1)
            first.process.send_signal(signal.SIGCONT)
            second.ends_well()
            first.ends_well()
    assert "trial 0 was taken up by another worker" in first.said()
    (trial_0,) = json.loads((tmp_path / "all.json").read_text())["trials"]
    assert (trial_0["state"], trial_0["attempts"]) == ("finished", 2)
    assert trial_0["figures"]["epochs"] == 100


@pytest.mark.skipif(PROGRAMS is None, reason=MISSING)
@pytest.mark.timeout(1800)
def test_a_database_that_goes_away_is_one_line(tmp_path: Path, faces: Path) -> None:
    with postgresql() as url:
        one = Worker(tmp_path, faces, "lonely", "--trials", "2", "--storage", url)
        while not one.begun():
            assert one.process.poll() is None, one.said()
    assert one.process.wait() == 2, one.said()
    assert "Traceback" not in one.said()
    assert re.search(
        r"^error: the storage postgresql://search@.* refuses: ", one.said(), re.M
    )
