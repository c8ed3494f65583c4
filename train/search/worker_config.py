"""The configuration of a search's worker, and the names of its run folders."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from train.search.training import Training


@dataclass(frozen=True)
class WorkerConfig:
    """The configuration of a worker.

    Attributes:
        data: Path of the images.
        folder: Of the search.
        threads: CPU threads of a training.
        environment: Of the trainings.
        take_over_s: Seconds after which a silent worker's trial is taken up.
        max_time_s: Seconds after which no trial is begun; 0 without limit.
        exports: Whether it may train and export the winner.
    """

    data: str
    folder: Path
    threads: int
    environment: dict[str, str]
    take_over_s: float
    max_time_s: float = 0.0
    exports: bool = False

    def training(self, name: str, flags: Sequence[str], threads: int) -> Training:
        """Returns the training of a run folder of the search."""
        return Training(self.data, self.folder / name, flags, threads, self.environment)


def run_name(number: int) -> str:
    """Returns the name of a trial's run folder."""
    return f"trial-{number:04d}"
