"""The clock of a source: real time, or virtual time that passes only in ``sleep``."""

from __future__ import annotations

import math
import threading
import time


class Clock:
    """Real time, until ``stop`` is called.

    Attributes:
        deadline_s: When a call into the device must have returned; infinity if there
            is no such call.
    """

    def __init__(self) -> None:
        self.deadline_s = math.inf
        self._stopped = threading.Event()

    @property
    def running(self) -> bool:
        """Whether the source is to go on; False is final."""
        return not self._stopped.is_set()

    def now(self) -> float:
        """Returns monotonic time in seconds."""
        return time.monotonic()

    def sleep(self, seconds: float) -> None:
        """Waits; returns early if the clock is stopped."""
        if seconds > 0:
            self._stopped.wait(min(seconds, threading.TIMEOUT_MAX))

    def stop(self) -> None:
        """Ends every ``sleep``, from any thread."""
        self._stopped.set()


class VirtualClock(Clock):
    """Time that passes only in ``sleep``, at once: every run is the same."""

    def __init__(self) -> None:
        super().__init__()
        self._now_s = 0.0

    def now(self) -> float:
        """Returns the seconds slept so far."""
        return self._now_s

    def sleep(self, seconds: float) -> None:
        """Advances the time."""
        self._now_s += max(0.0, seconds)
