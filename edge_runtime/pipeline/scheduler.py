"""Whose turn it is where there is no time to classify every face of a frame.

A camera gives its next frame whether or not this one is answered. With more faces than
there is time for, every answer would be old and frames would be passed over. So a
frame's time goes to the faces whose last answer is oldest, as in round-robin
scheduling, and the others keep theirs.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Sequence
from time import perf_counter

from edge_runtime.sources import Frame

FRAMES = 31  # over so many the camera's period is measured
GAIN = 0.1  # of a new measurement in the time of a face


class RoundRobinScheduler:
    """Chooses the faces of a camera's frame that are classified in it.

    As many as should be done before the next frame comes. Where not even one would be,
    as where the frame had to wait for the detector, it is late anyhow and takes as long
    again. A face that was never classified is so at once, whatever it takes; and at
    least one of the others is, or a detector that sees a new face in every frame would
    have them wait for ever.

    What comes after the answer (outputs, mostly queues) is not reckoned with, nor that
    frames which come in bursts leave more time than their mean period.
    """

    def __init__(self, every: int = 1) -> None:
        """Starts with no faces, and with time for all of them.

        Args:
            every: The camera gives each n-th of its frames only.
        """
        self._every = every
        self._frames: deque[tuple[int, float]] = deque(maxlen=FRAMES)
        self._started_s = 0.0
        self._face_s = 0.0  # that classifying one takes; 0 as long as nobody knows
        self._last: dict[int, int] = {}  # frame in which each was, by its number

    def begin(self, frame: Frame) -> None:
        """Takes the next frame; its time runs from here on."""
        self._started_s = perf_counter()
        self._frames.append((frame.index, frame.timestamp_s))

    def forget_period(self) -> None:
        """Measures the camera's period anew from this frame on, as after an outage."""
        latest = self._frames.pop()
        self._frames.clear()
        self._frames.append(latest)

    def choose(self, numbers: Sequence[int], gone: Sequence[int]) -> list[int]:
        """Returns the places of those that are classified in this frame, in order.

        Args:
            numbers: Of the faces in this frame, the most important first.
            gone: Of the faces that will not come back.
        """
        for number in gone:
            self._last.pop(number, None)
        new = [at for at, one in enumerate(numbers) if one not in self._last]
        known = [at for at, one in enumerate(numbers) if one in self._last]
        known.sort(key=lambda at: self._last[numbers[at]])  # stable
        room = self._room(len(numbers)) - len(new)
        chosen = sorted(new + known[: max(1, room)])
        index = self._frames[-1][0]
        self._last |= {numbers[at]: index for at in chosen}
        return chosen

    def record_duration(self, faces: int, seconds: float) -> None:
        """Takes how long it took to classify some faces, one at least.

        What a call costs whatever their number counts with them.
        """
        each_s = seconds / faces
        self._face_s += (GAIN if self._face_s else 1.0) * (each_s - self._face_s)

    def _room(self, faces: int) -> int:
        """Returns how many of some faces there is time for."""
        period_s = self._period_s
        if not self._face_s or math.isinf(period_s):
            return faces
        spent_s = perf_counter() - self._started_s
        left_s = period_s - spent_s
        return int((left_s if left_s >= self._face_s else spent_s) / self._face_s)

    @property
    def _period_s(self) -> float:
        """Mean time from a frame that the camera gives to the next; else infinity."""
        (first, since_s), (last, until_s) = self._frames[0], self._frames[-1]
        if last <= first:
            return math.inf
        return self._every * (until_s - since_s) / (last - first)
