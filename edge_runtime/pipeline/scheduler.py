"""Chooses the faces that are classified in a frame when there is no time for all.

A camera delivers its next frame whether or not this one is finished. With more faces
than there is time for, every result would be late and frames would be dropped. So a
frame's time goes to the faces that were classified longest ago (round-robin
scheduling), and the others keep their last probabilities.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Sequence
from time import perf_counter

from edge_runtime.sources import Frame

PERIOD_FRAMES = 31  # the camera's period is measured over so many
DURATION_GAIN = 0.1  # weight of a new measurement in the duration of a face


class RoundRobinScheduler:
    """Chooses the faces of a camera's frame that are classified in it.

    As many as can be done before the next frame. If there is no time for even one, as
    when the frame had to wait for the detector, the frame is late in any case and may
    take as long again. New faces are classified at once, and at least one other face
    with them: otherwise a detector with a false face in every frame would block the
    others for ever.

    Two things are not taken into account: the time for outputs (mostly queues), and
    that frames which arrive in bursts leave more time than their mean period.
    """

    def __init__(self, every: int = 1) -> None:
        """Starts with no faces, and with time for all of them.

        Args:
            every: The source yields only each n-th frame of the camera.
        """
        self._every = every
        self._frames: deque[tuple[int, float]] = deque(maxlen=PERIOD_FRAMES)
        self._started_s = 0.0  # the frame's time
        self._part_started_s = 0.0  # that of the region, or of the frame without any
        self._face_s = 0.0  # duration of classifying a face; 0 before it is known
        self._last_frame: dict[int, int] = {}  # by track: when it was classified

    def start_frame(self, frame: Frame) -> None:
        """Starts the next frame and its time; regions of one frame share it."""
        self._part_started_s = perf_counter()
        if self._frames and self._frames[-1][0] == frame.index:
            return
        self._started_s = self._part_started_s
        self._frames.append((frame.index, frame.timestamp_s))

    def reset_period(self) -> None:
        """Measures the camera's period anew from this frame on, as after a pause."""
        latest = self._frames.pop()
        self._frames.clear()
        self._frames.append(latest)

    def choose(self, track_ids: Sequence[int], removed: Sequence[int]) -> list[int]:
        """Returns the indices of the faces that are classified in this frame, sorted.

        Args:
            track_ids: Of the faces in this frame, the most important first.
            removed: Of the faces that are no longer tracked.
        """
        for track_id in removed:
            self._last_frame.pop(track_id, None)
        indices = range(len(track_ids))
        new = [at for at in indices if track_ids[at] not in self._last_frame]
        known = [at for at in indices if track_ids[at] in self._last_frame]
        known.sort(key=lambda at: self._last_frame[track_ids[at]])  # stable
        capacity = self._capacity(len(track_ids)) - len(new)
        chosen = sorted(new + known[: max(1, capacity)])
        frame_index = self._frames[-1][0]
        self._last_frame |= {track_ids[at]: frame_index for at in chosen}
        return chosen

    def record_duration(self, faces: int, seconds: float) -> None:
        """Records how long it took to classify some faces, at least one.

        The fixed cost of a call is counted as part of its faces' time.
        """
        each_s = seconds / faces
        gain = DURATION_GAIN if self._face_s else 1.0
        self._face_s += gain * (each_s - self._face_s)

    def _capacity(self, faces: int) -> int:
        """Returns how many of a frame's faces there is time for."""
        period_s = self._period_s
        if not self._face_s or math.isinf(period_s):
            return faces
        now_s = perf_counter()
        left_s = period_s - (now_s - self._started_s)
        if left_s < self._face_s:  # late: as long again as its own part took so far
            left_s = now_s - self._part_started_s
        return int(left_s / self._face_s)

    @property
    def _period_s(self) -> float:
        """Mean time between two frames of the source; infinity before it is known."""
        (first, first_s), (last, last_s) = self._frames[0], self._frames[-1]
        if last <= first:
            return math.inf
        return self._every * (last_s - first_s) / (last - first)
