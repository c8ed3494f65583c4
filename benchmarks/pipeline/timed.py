"""When a loop worked on a frame, and when its detector and its network did."""

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


class TurnGate:
    """Lets a loop's threads work only while it is the loop's turn."""

    def __init__(self) -> None:
        """Starts with somebody else's."""
        self._changed = threading.Condition()
        self._here, self._working = False, 0

    def begin(self) -> None:
        """Begins it."""
        with self._changed:
            self._here = True
            self._changed.notify_all()

    def end(self) -> None:
        """Ends it when what is under way is done; nothing more begins."""
        with self._changed:
            self._here = False
            self._changed.wait_for(lambda: not self._working)

    @contextmanager
    def work(self) -> Iterator[None]:
        """Waits for the turn, which does not end within a ``with`` block."""
        with self._changed:
            self._changed.wait_for(lambda: self._here)
            self._working += 1
        try:
            yield
        finally:
            with self._changed:
                self._working -= 1
                self._changed.notify_all()


@dataclass
class Timed:
    """What a loop took.

    Attributes:
        name: What tables call it.
        blocks: When each block of ``BLOCK_FRAMES`` frames was worked on.
        frames: When each frame was; not where several are at once.
        detector: When the detector ran; this and the next two not for the tutorial.
        network: When the network ran, once for all faces of a frame.
        results: Its answers.
        turn: Its threads work only while it is its turn.
    """

    name: str
    blocks: list[Interval] = field(default_factory=list)
    frames: list[Interval] = field(default_factory=list)
    detector: list[Interval] = field(default_factory=list)
    network: list[Interval] = field(default_factory=list)
    results: list[FrameResult] = field(default_factory=list)
    turn: TurnGate = field(default_factory=TurnGate)

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

        Where one frame follows the other this is what "everything around detector and
        network (grab, crop, track, smooth, emit)" takes of all frames' time. ``grab``
        is then the time for which the loop waits for a frame: another thread reads it.
        Where frames overlap, it is the time in which no call of either was under way
        for any frame; a call that waits for a core or for Python's lock is under way.
        """
        return share_without(self.blocks, [*self.detector, *self.network])

    @property
    def idle_share_complete(self) -> float | None:
        """The same of the frames on which detector and network ran; None for none."""
        ran = [
            when
            for when, result in zip(self.frames, self.results, strict=True)
            if result.detected and result.faces
        ]
        return share_without(ran, [*self.detector, *self.network]) if ran else None


def share_without(windows: Sequence[Interval], busy: Sequence[Interval]) -> float:
    """Returns the share of some windows of time in which nothing was busy, 0..1.

    Args:
        windows: They do not overlap.
        busy: Intervals, which may overlap.
    """
    whole_s = sum(end - start for start, end in windows)
    return 1 - sum(_overlaps_s(sorted(windows), _merged(busy))) / whole_s


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
    ones: Sequence[Interval], others: Sequence[Interval]
) -> Iterator[float]:
    """Yields the seconds that two rows of intervals in order have in common."""
    one = other = 0
    while one < len(ones) and other < len(others):
        (start, end), (since, until) = ones[one], others[other]
        yield max(0.0, min(end, until) - max(start, since))
        if end < until:
            one += 1
        else:
            other += 1


class TimedClassifier:
    """A classifier that notes when its network ran."""

    def __init__(self, classifier: Classifier, timed: Timed) -> None:
        """Takes the classifier and whose ``network`` to note it in."""
        self._classifier, self._timed = classifier, timed

    @property
    def spec(self) -> ModelSpec:
        """What the file says about itself."""
        return self._classifier.spec

    def prepare(self, image: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
        """Returns an image as the model takes it."""
        return self._classifier.prepare(image)

    def probabilities(self, batch: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
        """Returns float32 (N, classes)."""
        started = time.perf_counter()
        answer = self._classifier.probabilities(batch)
        self._timed.network.append((started, time.perf_counter()))
        return answer


class TimedDetector:
    """A detector that notes when it ran.

    Attributes:
        name: The detector's.
    """

    def __init__(self, detector: FaceDetector, timed: Timed) -> None:
        """Takes the detector and whose ``detector`` to note it in."""
        self.name = detector.name
        self._detector, self._timed = detector, timed

    def detect(self, frame: Image) -> list[Face]:
        """Returns the faces."""
        started = time.perf_counter()
        faces = self._detector.detect(frame)
        self._timed.detector.append((started, time.perf_counter()))
        return faces
