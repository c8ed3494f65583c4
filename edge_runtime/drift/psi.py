"""The population stability index, and how a state follows from it."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

# Of credit scoring, where the index comes from: up to 0.1 nothing has changed, up to
# 0.25 a little (Siddiqi, "Credit Risk Scorecards", 2006, chapter 8).
BOUND = 0.25
BLOCKS = 3  # so many in a row must agree before a state changes
HALF = 0.5  # added to each count: an empty bin is not an impossible one


def psi(expected: npt.ArrayLike, counts: npt.ArrayLike) -> float:
    """Returns the population stability index of counts, 0 where nothing has changed.

    The sum over the bins of (share - expected) * ln(share / expected). For equal
    populations it is about chi squared over the number of values (Yurdakul,
    "Statistical Properties of Population Stability Index", 2018).

    Args:
        expected: (bins,) shares of the reference, above 0.
        counts: (bins,) numbers of values.
    """
    reference, found = np.asarray(expected, np.float64), smoothed(counts)
    return float(np.sum((found - reference) * np.log(found / reference)))


def smoothed(counts: npt.ArrayLike) -> npt.NDArray[np.float64]:
    """Returns the shares of counts, all above 0: half a value is added to each bin."""
    added: npt.NDArray[np.float64] = np.asarray(counts, np.float64) + HALF
    return np.asarray(added / added.sum())


class Steadiness:
    """A state that changes when ``BLOCKS`` blocks in a row say so.

    One block may be somebody who passes close by.

    Attributes:
        drifting: The state; at first not.
    """

    def __init__(self) -> None:
        """Has seen no block."""
        self.drifting = False
        self._beyond: deque[bool] = deque(maxlen=BLOCKS)

    def add(self, beyond: bool) -> None:
        """Adds the next block: whether it is beyond the bound."""
        self._beyond.append(beyond)
        if self._beyond.count(not self.drifting) == BLOCKS:
            self.drifting = not self.drifting


def mostly(counts: Sequence[int]) -> str:
    """Returns ``"lower"`` or ``"higher"``: on which side of a range more values are.

    Args:
        counts: Values below the range, in it, above it.
    """
    return "lower" if counts[0] >= counts[2] else "higher"
