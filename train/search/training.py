"""One trial's training: a run folder, followed epoch by epoch."""

from __future__ import annotations

import csv
import signal
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from threading import Event
from typing import Any

from edge_runtime.errors import RunError
from edge_runtime.utils.files import write_text
from train.run.folder import RunFolder
from train.run.lock import BUSY, is_locked
from train.search.command import Command, running

POLL_S, LOCK_POLL_S = 0.25, 1.0
FAILURES = ("training diverged", "not enough memory")  # of a proposal, not of a machine
FLAGS_SUFFIX = ".flags"
LOG_SUFFIX = ".log"
PROGRESS = "progress.json"  # as in train.run.checkpoint, which takes Keras to import


class Ending(Enum):
    """How a training ended."""

    FINISHED = "finished"
    PRUNED = "pruned"
    TAKEN = "taken"  # another worker has the trial now
    BUSY = "busy"  # the training of a worker that was stopped still runs


class TrainingFailedError(Exception):
    """A proposal cannot be trained: another one may."""


@dataclass(frozen=True)
class Training:
    """How a run folder is trained.

    Attributes:
        data: Path of the images.
        folder: The run folder.
        flags: All flags of ``python -m train`` but ``--data`` and ``--name``.
        threads: CPU threads; another number gives another accuracy.
        environment: Of the process.
    """

    data: str
    folder: Path
    flags: Sequence[str]
    threads: int
    environment: Mapping[str, str]

    @property
    def log(self) -> Path:
        """What the training prints."""
        return self.folder.with_name(self.folder.name + LOG_SUFFIX)

    def run(self, prune: Callable[[int, float], bool], taken: Event) -> Ending:
        """Trains, or continues what a lost worker began; returns how it ended.

        The training of a worker that was stopped may still run: its end is waited for.

        Args:
            prune: Called with each epoch from 1 and its validation accuracy; whether
                that is enough of it.
            taken: Set when another worker has taken the trial.

        Raises:
            TrainingFailedError: The proposal cannot be trained.
            RunError: Trainings do not work here; the message is the training's own.
        """
        told: list[int] = []
        ending = Ending.BUSY
        while ending is Ending.BUSY:
            while is_locked(self.folder):
                if taken.wait(LOCK_POLL_S):
                    return Ending.TAKEN
            words = self._words_to_go_on()
            with running(
                "train", words, log=self.log, environment=self.environment
            ) as command:
                ending = self._follow(command, prune, taken, told)
        return ending

    def _words_to_go_on(self) -> list[str]:
        """Returns the words that begin, continue or replace the run in the folder."""
        run = RunFolder(self.folder)
        stamp = self.folder.with_name(self.folder.name + FLAGS_SUFFIX)
        flags = "\n".join(self.flags)
        common = ["--data", self.data, "--threads", str(self.threads)]
        common += ["--processes", "1"]  # also where srun has started several workers
        same = stamp.is_file() and stamp.read_text(encoding="utf-8") == flags
        if same and (run.checkpoint / PROGRESS).is_file():
            return ["--resume", str(self.folder), *common]
        write_text(stamp, flags)
        force = ["--force"] if run.config.exists() else []
        return [*self.flags, *common, "--name", str(self.folder), *force]

    def _follow(
        self,
        command: Command,
        prune: Callable[[int, float], bool],
        taken: Event,
        told: list[int],
    ) -> Ending:
        ended = False
        while not ended:
            ended = command.ends_within(POLL_S)
            if taken.is_set():
                return Ending.TAKEN
            for epoch, accuracy in read_history(self.folder)[len(told) :]:
                told.append(epoch)
                if prune(epoch, accuracy) and not ended:
                    command.interrupt()
                    return Ending.PRUNED
        return self._check(command)

    def _check(self, command: Command) -> Ending:
        """Returns how a training ended; raises an error unless it went well."""
        code = command.process.returncode
        if not code:
            return Ending.FINISHED
        reason = command.reason()
        if BUSY in reason:
            return Ending.BUSY
        if code == -signal.SIGKILL or any(words in reason for words in FAILURES):
            raise TrainingFailedError(reason)
        raise RunError(f"{self.folder}: {reason}")

    def progress(self) -> dict[str, Any]:
        """Returns the epochs so far, and epoch and accuracy of the model that is kept.

        Raises:
            RunError: The run has no checkpoint.
        """
        run = RunFolder(self.folder)
        document = run.read_json(run.checkpoint / PROGRESS)
        return {
            "accuracy": document["best_accuracy"],
            "epochs": document["epoch"],
            "best_epoch": document["best_epoch"],
        }

    def figures(self) -> dict[str, Any]:
        """Returns accuracy, cost and epochs of the run, from its ``metrics.json``.

        Raises:
            RunError: It has none.
        """
        run = RunFolder(self.folder)
        document = run.read_json(run.metrics)
        return {
            "accuracy": document["validation"]["accuracy"],
            "macs": document["macs"],
            "parameters": document["parameters"],
            "epochs": document["epochs"],
            "best_epoch": document["best_epoch"],
        }


def read_history(folder: Path) -> list[tuple[int, float]]:
    """Returns epoch and validation accuracy of every epoch so far."""
    try:
        with (folder / "history.csv").open(encoding="utf-8", newline="") as file:
            return [
                (int(row["epoch"]), float(row["val_accuracy"]))
                for row in csv.DictReader(file)
            ]
    except FileNotFoundError:
        return []
