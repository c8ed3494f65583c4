"""Which crops are too old, by a clock that may be wrong for a while."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from datetime import UTC, datetime, timedelta

STAMP = "%Y%m%dT%H%M%S.%fZ"  # of a crop's name
JUMP_S = 60.0  # a clock that is set moves by more than one that is slow
HOLD_S = 600.0  # a clock that jumped is put right by then, if ever


class CropAge:
    """Tells which crops are beyond an age.

    A board without a battery for its clock starts in another year, and what people
    labelled must not go for it: after a jump of the clock, and where all crops there
    are seem too old at the start, nothing is too old for ten minutes.
    """

    def __init__(
        self,
        max_days: float,
        *,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Starts with a clock that is trusted.

        Args:
            max_days: Older crops are too old.
            now: The time of day.
            clock: Seconds, which nobody sets.
        """
        self._max_age, self._now, self._clock = timedelta(days=max_days), now, clock
        self._offset_s = self._offset()
        self._hold_until_s = clock()

    def stamp(self) -> str:
        """Returns the time of day as it is in a crop's name."""
        return self._now().strftime(STAMP)

    def start_with(self, names: Iterable[str]) -> None:
        """Doubts the clock where all crops there are seem too old."""
        names = list(names)
        if names and len(self._beyond(names)) == len(names):
            self._hold_until_s = self._clock() + HOLD_S

    def too_old(self, names: Iterable[str]) -> list[str]:
        """Returns those of some crops that are to be removed."""
        offset_s = self._offset()
        if abs(offset_s - self._offset_s) > JUMP_S:
            self._hold_until_s = self._clock() + HOLD_S
        self._offset_s = offset_s
        if self._clock() < self._hold_until_s:
            return []
        return self._beyond(names)

    def _beyond(self, names: Iterable[str]) -> list[str]:
        oldest = (self._now() - self._max_age).strftime(STAMP)
        return [name for name in names if name.split("-")[1] < oldest]

    def _offset(self) -> float:
        return self._now().timestamp() - self._clock()
