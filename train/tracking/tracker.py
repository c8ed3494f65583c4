"""The trackers of a run: what they are told, and that none of them ends it."""

from __future__ import annotations

import re
import shlex
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

from edge_runtime.untrusted import one_line
from edge_runtime.utils.argparser import invocation
from train.run.folder import RunFolder

if TYPE_CHECKING:
    from train.run.checkpoint import Progress  # imports Keras

# A tracker that failed is tried again when this many times as long has passed as the
# failed try took: a server that hangs costs a training at most a twentieth.
PATIENCE = 20

SECRETS = re.compile(r"//[^/@\s]+@")  # of an address: user and password
Row = Mapping[str, float]
Parameters = Mapping[str, str | int | float | bool]


class Outcome(NamedTuple):
    """The final figures of a run.

    Attributes:
        status: ``"FINISHED"``, ``"KILLED"`` (interrupted) or ``"FAILED"``.
        step: Epochs finished.
        figures: Accuracy and macro-F1 by name, as in ``final_test_accuracy``; empty
            where there is no model yet.
    """

    status: str
    step: int
    figures: Mapping[str, float]


class RunTracker(Protocol):
    """One place where a run is recorded; any method may raise what its library does.

    Each point is written once: what is there already is found out, not written again.
    """

    name: str

    def begin(self) -> str:
        """Opens the run's record, or continues it; returns where to look, in words."""

    def write(self, history: Sequence[Row]) -> None:
        """Writes the epochs that are not there yet."""

    def finish(self, outcome: Outcome) -> None:
        """Writes the final figures and pictures, and closes the record."""


class RunTrackers:
    """All trackers of a run: a failing one costs a warning, never the training."""

    def __init__(self, trackers: Sequence[RunTracker]) -> None:
        self._trackers = trackers
        self._begun: set[str] = set()
        self._not_before: dict[str, float] = {}

    def write(self, progress: Progress) -> None:
        """Tells every tracker the epochs so far, but one that has just failed."""
        for tracker in self._trackers:
            if time.monotonic() >= self._not_before.get(tracker.name, 0):
                self._try(tracker, lambda each: each.write(progress.history))

    def finish(self, progress: Progress, outcome: Outcome, run: RunFolder) -> None:
        """Tells every tracker the end."""

        def end(tracker: RunTracker) -> None:
            tracker.write(progress.history)
            tracker.finish(outcome)

        for tracker in self._trackers:
            if not self._try(tracker, end) and outcome.status != "FAILED":
                path = shlex.quote(str(run.path))
                print(f"record the rest:  {invocation('train')} --resume {path}")

    def _try(self, tracker: RunTracker, tell: Callable[[RunTracker], None]) -> bool:
        """Returns whether a tracker accepted a call."""
        started = time.monotonic()
        try:
            if tracker.name not in self._begun:
                print(f"{tracker.name}: {tracker.begin()}", flush=True)
                self._begun.add(tracker.name)
            tell(tracker)
        except Exception as error:  # its library raises whatever it meets
            now = time.monotonic()
            self._not_before[tracker.name] = now + PATIENCE * (now - started)
            print(
                f"warning: {tracker.name}: not recorded: {reason_of(error)}",
                file=sys.stderr,
                flush=True,
            )
            return False
        self._not_before.pop(tracker.name, None)
        return True


def reason_of(error: Exception) -> str:
    """Returns an error of a library in one line, without secrets of an address."""
    first = (str(error).strip().splitlines() or [type(error).__name__])[0]
    return one_line(SECRETS.sub("//", first))[:300]


def flatten(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Returns nested parameters as one level, as in ``augmentation.flip``."""
    flat: dict[str, Any] = {}
    for name, value in values.items():
        if isinstance(value, Mapping):
            flat |= flatten(value, f"{prefix}{name}.")
        elif isinstance(value, list | tuple):
            flat[prefix + name] = ", ".join(map(str, value))
        else:
            flat[prefix + name] = "" if value is None else value
    return flat


def outcome_of(run: RunFolder, progress: Progress, *, finished: bool) -> Outcome:
    """Returns the outcome of a run; without figures before its ``metrics.json``."""
    figures = {}
    document = run.read_json(run.metrics) if run.metrics.is_file() else {}
    for split in ("validation", "test"):
        for name in ("accuracy", "macro_f1"):
            if split in document:
                figures[f"final_{split}_{name}"] = float(document[split][name])
    return Outcome("FINISHED" if finished else "KILLED", progress.epoch, figures)
