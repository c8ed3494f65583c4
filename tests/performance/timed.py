"""Records when a loop worked on a frame, and when its detector and network ran."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from edge_runtime import Classifier, ModelSpec
from edge_runtime.detection.base import Face, FaceDetector
from edge_runtime.preprocessing import Image
from edge_runtime.results import FrameResult

BLOCK_FRAMES = 20

Interval = tuple[float, float]  # start and end, seconds of time.perf_counter()


class Gate:
    """Lets the threads of a loop work only while it is open."""

    def __init__(self) -> None:
        """Starts closed."""
        self._changed = threading.Condition()
        self._is_open, self._working = False, 0

    def open(self) -> None:
        """Opens it."""
        with self._changed:
            self._is_open = True
            self._changed.notify_all()

    def close(self) -> None:
        """Closes it and waits for the work that has begun."""
        with self._changed:
            self._is_open = False
            self._changed.wait_for(lambda: not self._working)

    @contextmanager
    def work(self) -> Iterator[None]:
        """Waits until it is open; ``close`` waits for the end of the ``with`` block."""
        with self._changed:
            self._changed.wait_for(lambda: self._is_open)
            self._working += 1
        try:
            yield
        finally:
            with self._changed:
                self._working -= 1
                self._changed.notify_all()


@dataclass
class Timed:
    """The times of a loop.

    Attributes:
        name: Its name in tables.
        blocks: When each block of ``BLOCK_FRAMES`` frames was worked on.
        frames: When each frame was; empty where several are worked on at once.
        detector: When the detector ran. Empty for the tutorial, like the next two.
        network: When the network ran, once for all faces of a frame.
        results: The results of its frames.
        gate: Open while the loop is measured.
    """

    name: str
    blocks: list[Interval] = field(default_factory=list)
    frames: list[Interval] = field(default_factory=list)
    detector: list[Interval] = field(default_factory=list)
    network: list[Interval] = field(default_factory=list)
    results: list[FrameResult] = field(default_factory=list)
    gate: Gate = field(default_factory=Gate)

    @property
    def blocks_s(self) -> list[float]:
        """Seconds a frame, one value for each block."""
        return [(end - start) / BLOCK_FRAMES for start, end in self.blocks]

    @property
    def frame_s(self) -> float:
        """Seconds a frame: the median of the blocks."""
        return float(np.median(self.blocks_s))

    @property
    def idle_share(self) -> float:
        """Share of the blocks' time in which neither detector nor network ran, 0..1.

        Where one frame follows the other this is the share of everything else: reading,
        cropping, tracking, smoothing, output. (Reading is the wait for a frame that
        another thread reads.) Where frames overlap, it is the time without a call of
        either for any frame; a call that waits for a core or for Python's lock counts
        as running.
        """
        return share_without(self.blocks, [*self.detector, *self.network])

    @property
    def idle_share_complete(self) -> float | None:
        """The same of the frames on which detector and network ran; None for none."""
        complete = [
            interval
            for interval, result in zip(self.frames, self.results, strict=True)
            if result.detected and result.faces
        ]
        if not complete:
            return None
        return share_without(complete, [*self.detector, *self.network])


def share_without(windows: Sequence[Interval], busy: Sequence[Interval]) -> float:
    """Returns the share of some windows of time in which nothing was busy, 0..1.

    Args:
        windows: Intervals that do not overlap.
        busy: Intervals, which may overlap.
    """
    total_s = sum(end - start for start, end in windows)
    return 1 - sum(_overlaps_s(sorted(windows), _merged(busy))) / total_s


def _merged(intervals: Sequence[Interval]) -> list[Interval]:
    """Returns the same time as intervals in order that do not overlap."""
    merged: list[Interval] = []
    for start, end in sorted(intervals):
        if merged and start <= merged[-1][1]:
            merged[-1] = (merged[-1][0], max(merged[-1][1], end))
        else:
            merged.append((start, end))
    return merged


def _overlaps_s(
    first: Sequence[Interval], second: Sequence[Interval]
) -> Iterator[float]:
    """Yields the seconds that two lists of intervals in order have in common."""
    i = j = 0
    while i < len(first) and j < len(second):
        (start, end), (other_start, other_end) = first[i], second[j]
        yield max(0.0, min(end, other_end) - max(start, other_start))
        if end < other_end:
            i += 1
        else:
            j += 1


class TimedClassifier:
    """A classifier that records when its network ran."""

    def __init__(self, classifier: Classifier, timed: Timed) -> None:
        """Records the classifier's calls in ``timed.network``."""
        self._classifier, self._timed = classifier, timed

    @property
    def spec(self) -> ModelSpec:
        """The model's metadata."""
        return self._classifier.spec

    def prepare(self, image: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
        """Returns an image as the model takes it."""
        return self._classifier.prepare(image)

    def probabilities(self, batch: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
        """Returns float32 (N, classes)."""
        start = time.perf_counter()
        probabilities = self._classifier.probabilities(batch)
        self._timed.network.append((start, time.perf_counter()))
        return probabilities


class TimedDetector:
    """A detector that records when it ran.

    Attributes:
        name: The detector's name.
    """

    def __init__(self, detector: FaceDetector, timed: Timed) -> None:
        """Records the detector's calls in ``timed.detector``."""
        self.name = detector.name
        self._detector, self._timed = detector, timed

    def detect(self, frame: Image) -> list[Face]:
        """Returns the faces."""
        start = time.perf_counter()
        faces = self._detector.detect(frame)
        self._timed.detector.append((start, time.perf_counter()))
        return faces
