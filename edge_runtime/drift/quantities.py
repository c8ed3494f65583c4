"""What is watched: a quantity with its reference, and its last block against it."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any, Literal, NamedTuple

import numpy as np
import numpy.typing as npt

from edge_runtime.drift.psi import BOUND, Steadiness, mostly, psi, smoothed

Against = Literal["model file", "first frames", "first answers"]

RANGE_BLOCK = 15  # values; two of them outside are beyond the bound
RANGE_LEARNT = 375  # values after which the device knows its own range
WIDER = 2.0  # a range of its own is from half of the usual values to twice of them
TAIL = 0.01  # share of the reference below its range, and above it
EXPECTED = (TAIL, 1 - 2 * TAIL, TAIL)

ANSWERS_BLOCK = 600
ANSWERS_LEARNT = 6  # blocks
USUAL_TIMES = 2.0  # a block may differ so many times as much as the first ones did


class Reading(NamedTuple):
    """What is known about a quantity.

    Attributes:
        name: Such as ``"frame_brightness"``.
        against: What it is compared with; None before that is known.
        psi: Of the last block; None before the first one.
        bound: What the index must exceed.
        drifting: It did, three times in a row.
        direction: ``"lower"`` or ``"higher"``; None where there is no such thing.
    """

    name: str
    against: Against | None
    psi: float | None
    bound: float
    drifting: bool
    direction: str | None

    def document(self) -> dict[str, Any]:
        """Returns it JSON-ready."""
        values = self._asdict()
        values["psi"] = None if self.psi is None else round(self.psi, 3)
        return {**values, "bound": round(self.bound, 3)}


class UsualRange:
    """A number that should stay where the reference's are: of brightness and the like.

    A camera shows one place, validation images are of a thousand. Bins as fine as those
    of the histograms would always differ, so there are three: below the range of the
    reference, in it, and above it.
    """

    def __init__(
        self,
        name: str,
        *,
        ends: tuple[float, float] | None = None,
        lower_only: bool = False,
    ) -> None:
        """Starts without values.

        Args:
            name: The quantity's.
            ends: The reference's range; None to learn one from the first values.
            lower_only: More than the range is never drift.
        """
        self.name, self._lower_only = name, lower_only
        self._steadiness = Steadiness()
        self._learnt: list[float] = []
        self._counts, self._psi, self._direction = [0, 0, 0], math.nan, ""
        self._ends = ends
        self._against: Against | None = "model file" if ends else None

    def add(self, value: float) -> None:
        """Adds the next value."""
        if self._ends is None:
            self._learn(value)
            return
        low, high = self._ends
        above = value > high and not self._lower_only
        self._counts[0 if value < low else 2 if above else 1] += 1
        if sum(self._counts) == RANGE_BLOCK:
            self._psi = psi(EXPECTED, self._counts)
            beyond = self._psi > BOUND
            if beyond:  # a block inside has no side, and drift may outlast it
                self._direction = mostly(self._counts)
            self._steadiness.add(beyond)
            self._counts = [0, 0, 0]

    def _learn(self, value: float) -> None:
        self._learnt.append(value)
        if len(self._learnt) == RANGE_LEARNT:
            low, high = np.quantile(self._learnt, (TAIL, 1 - TAIL))
            self._ends = (float(low) / WIDER, float(high) * WIDER)
            self._against = "first frames"
            self._learnt.clear()

    @property
    def reading(self) -> Reading:
        """What is known about it."""
        drifting = self._steadiness.drifting
        return Reading(
            self.name,
            self._against,
            None if math.isnan(self._psi) else self._psi,
            BOUND,
            drifting,
            self._direction if drifting else None,
        )


class Answers:
    """Answers in bins, whose shares should stay as they were in the first hour.

    How much they change by themselves is seen there, too: by how much each of the first
    blocks differs from the others.
    """

    def __init__(self, name: str, bins: int) -> None:
        """Starts without answers; ``bins`` is their number."""
        self.name = name
        self._steadiness = Steadiness()
        self._counts = np.zeros(bins, np.int64)
        self._learnt: list[npt.NDArray[np.int64]] = []
        self._expected: npt.NDArray[np.float64] | None = None
        self._psi, self._bound = math.nan, BOUND

    def add(self, at: int) -> None:
        """Adds an answer by the number of its bin."""
        self._counts[at] += 1
        if self._counts.sum() < ANSWERS_BLOCK:
            return
        counts, self._counts = self._counts, np.zeros_like(self._counts)
        if self._expected is not None:
            self._psi = psi(self._expected, counts)
            self._steadiness.add(self._psi > self._bound)
            return
        self._learnt.append(counts)
        if len(self._learnt) == ANSWERS_LEARNT:
            self._expected = smoothed(sum(self._learnt))
            self._bound = max(BOUND, USUAL_TIMES * max(_differences(self._learnt)))

    @property
    def reading(self) -> Reading:
        """What is known about them."""
        return Reading(
            self.name,
            None if self._expected is None else "first answers",
            None if math.isnan(self._psi) else self._psi,
            self._bound,
            self._steadiness.drifting,
            None,
        )


def _differences(blocks: list[npt.NDArray[np.int64]]) -> Iterable[float]:
    """Yields the index of each block against the others."""
    total = np.sum(blocks, axis=0)
    for block in blocks:
        yield psi(smoothed(total - block), block)
