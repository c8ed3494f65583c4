"""The clock of a source: real time, or virtual time that passes only in ``sleep``."""

from __future__ import annotations

import math
import threading
import time
from typing import Protocol


class Clock(Protocol):
    """Time for one pass through a source.

    Attributes:
        deadline_s: When a call into the device must have returned; infinity if there
            is no such call.
    """

    deadline_s: float

    @property
    def running(self) -> bool:
        """Whether the source is to go on; False is final."""

    def now(self) -> float:
        """Returns the time in seconds."""

    def sleep(self, seconds: float) -> None:
        """Waits; returns early if the clock is stopped."""


class RealClock:
    """Real time, until ``stop`` is called."""

    def __init__(self) -> None:
        """Starts."""
        self.deadline_s = math.inf
        self._stopped = threading.Event()

    @property
    def running(self) -> bool:
        """Whether ``stop`` was not called."""
        return not self._stopped.is_set()

    def now(self) -> float:
        """Returns ``time.monotonic()``."""
        return time.monotonic()

    def sleep(self, seconds: float) -> None:
        """Waits; returns early if the clock is stopped."""
        if seconds > 0:
            self._stopped.wait(min(seconds, threading.TIMEOUT_MAX))

    def stop(self) -> None:
        """Ends every ``sleep``, from any thread."""
        self._stopped.set()


class VirtualClock:
    """Time that passes only in ``sleep``, at once: every run is the same."""

    running = True

    def __init__(self) -> None:
        """Starts at 0."""
        self.deadline_s = math.inf
        self._now_s = 0.0

    def now(self) -> float:
        """Returns the seconds slept so far."""
        return self._now_s

    def sleep(self, seconds: float) -> None:
        """Advances the time."""
        self._now_s += max(0.0, seconds)
