"""Whether the worker of a trial is alive: it counts, and the others watch.

No clock is compared with another machine's: a trial is silent when its count has not
changed for some time of the one who watches.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Protocol

from optuna.trial import FrozenTrial, TrialState

BEAT = "beat"
BEATS_PER_TAKE_OVER = 6  # a few may fail


class Counted(Protocol):
    """The part of ``optuna.Trial`` that counts."""

    def set_user_attr(self, key: str, value: object) -> None:
        """Records a value with the trial."""


@contextmanager
def beating(trial: Counted, take_over_s: float) -> Iterator[threading.Event]:
    """Counts while the body runs; yields an event that is set if the trial was ended.

    Another worker ends the trial of one that was silent: one that was stopped, or lost
    its network. A storage that fails for a while is asked again at the next beat.

    Args:
        trial: The running trial.
        take_over_s: Seconds of silence after which others take it up.
    """
    done, taken = threading.Event(), threading.Event()

    def count() -> None:
        beat = 0
        while not done.wait(take_over_s / BEATS_PER_TAKE_OVER):
            beat += 1
            try:
                trial.set_user_attr(BEAT, beat)
            except Exception as error:  # of whatever the storage is
                if type(error).__name__ == "UpdateFinishedTrialError":
                    taken.set()
                    return

    thread = threading.Thread(target=count, daemon=True)
    thread.start()
    try:
        yield taken
    finally:
        done.set()
        thread.join(take_over_s)


class Watch:
    """Remembers when the count of each running trial last changed."""

    def __init__(
        self, take_over_s: float, clock: Callable[[], float] = time.monotonic
    ) -> None:
        """Takes the seconds of silence after which a trial is lost, and a clock."""
        self._take_over_s, self._clock = take_over_s, clock
        self._seen: dict[int, tuple[object, float]] = {}

    def silent(self, trials: Sequence[FrozenTrial]) -> list[FrozenTrial]:
        """Returns the running trials whose workers are silent for too long.

        Args:
            trials: All trials of the study as they are now.
        """
        now, found = self._clock(), []
        for trial in trials:
            if trial.state != TrialState.RUNNING:
                self._seen.pop(trial.number, None)
                continue
            beat = trial.user_attrs.get(BEAT)
            before, since = self._seen.get(trial.number, (object(), now))
            if beat != before:
                self._seen[trial.number] = (beat, now)
            elif now - since > self._take_over_s:
                found.append(trial)
        return found
