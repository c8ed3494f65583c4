"""The time by which a source lives: the real one, or one that only counts."""

from __future__ import annotations

import math
import threading
import time
from typing import Protocol


class Clock(Protocol):
    """Time for one pass through a source.

    Attributes:
        going: Whether to go on; once False it stays so.
        deadline_s: When a call into the device must have returned; infinity while
            there is none.
    """

    deadline_s: float

    @property
    def going(self) -> bool:
        """Whether to go on."""

    def now(self) -> float:
        """Returns the time in seconds."""

    def sleep(self, seconds: float) -> None:
        """Lets time pass; returns early when it is over."""


class RealClock:
    """Time as it passes, until somebody stops it."""

    def __init__(self) -> None:
        """Starts."""
        self.deadline_s = math.inf
        self._over = threading.Event()

    @property
    def going(self) -> bool:
        """Whether nobody has stopped it."""
        return not self._over.is_set()

    def now(self) -> float:
        """Returns ``time.monotonic()``."""
        return time.monotonic()

    def sleep(self, seconds: float) -> None:
        """Waits, or returns at once when it is stopped."""
        if seconds > 0:
            self._over.wait(min(seconds, threading.TIMEOUT_MAX))

    def stop(self) -> None:
        """Ends every sleep, from any thread."""
        self._over.set()


class VirtualClock:
    """Time that passes only while somebody sleeps: every run is the same."""

    going = True

    def __init__(self) -> None:
        """Starts at 0."""
        self.deadline_s = math.inf
        self._now_s = 0.0

    def now(self) -> float:
        """Returns the seconds slept so far."""
        return self._now_s

    def sleep(self, seconds: float) -> None:
        """Lets so much time pass, at once."""
        self._now_s += max(0.0, seconds)
