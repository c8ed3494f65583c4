"""How often and how soon a lost camera is opened again, and when it is given up."""

from __future__ import annotations

import logging
from collections import deque

from edge_runtime.errors import SourceError

logger = logging.getLogger(__name__)

FIRST_WAIT_S = 0.25
MOST_WAIT_S = 2.0
# Delivering for so long, a camera counts as well again.
STEADY_S = 10.0
WINDOW_S = 600.0


class Recovery:
    """Counts losses: waits longer after each, gives up after too many (a breaker).

    It says two things only, however often it tries: that the camera is lost, and that
    it is back.
    """

    def __init__(self, name: str, limit: int) -> None:
        """Takes the camera's name, for the log, and the limit; 0 for none.

        Args:
            name: What the log calls it.
            limit: Failures within ``WINDOW_S`` after which it is given up.
        """
        self._name, self._limit = name, limit
        self._failures: deque[float] = deque(maxlen=max(1, limit))
        self._tries = 0
        self._lost_at: float | None = None
        self._back_at: float | None = None
        self.reopened = 0

    @property
    def proved(self) -> bool:
        """Whether it has ever delivered."""
        return self._back_at is not None

    def delivered(self, now_s: float) -> None:
        """Notes a picture."""
        if self._back_at is None:
            self._back_at = now_s
        if self._lost_at is None:
            return
        logger.warning(
            "%s: pictures again after %.1f s", self._name, now_s - self._lost_at
        )
        self._back_at, self._lost_at = now_s, None
        self.reopened += 1

    def lost(self, reason: str, now_s: float) -> float:
        """Notes a loss or a failed opening and returns how many seconds to wait.

        Raises:
            SourceError: There were too many.
        """
        if self._lost_at is None:
            logger.warning("%s: %s: opening it again", self._name, reason)
            self._lost_at = now_s
            if self._back_at is not None and now_s - self._back_at >= STEADY_S:
                self._tries = 0
        else:
            logger.debug("%s: %s", self._name, reason)
        self._failures.append(now_s)
        self._check_limit(reason, now_s)
        self._tries += 1
        return min(MOST_WAIT_S, FIRST_WAIT_S * 2.0 ** min(self._tries - 1, 10))

    def _check_limit(self, reason: str, now_s: float) -> None:
        full = self._limit > 0 and len(self._failures) == self._limit
        if full and now_s - self._failures[0] <= WINDOW_S:
            raise SourceError(
                f"{self._name!r} was lost {self._limit} times within"
                f" {now_s - self._failures[0]:.0f} s, at last: {reason}: check its"
                " cable, power and network, or raise --reopen-limit"
            )
