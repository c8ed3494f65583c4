"""The loops that are compared: that of the tutorials, and ours."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from pathlib import Path

import cv2
import numpy as np

from edge_runtime import Classifier
from edge_runtime.detection.base import FaceDetector
from edge_runtime.detection.haar import load_cascade
from edge_runtime.outputs.documents import frame_document
from edge_runtime.pipeline.classification import FaceClassifier
from edge_runtime.pipeline.pipeline import Pipeline, TrackedFrame
from edge_runtime.pipeline.prefetch import prefetch, prefetch_tracked
from edge_runtime.pipeline.stats import Status
from edge_runtime.results import FrameResult
from edge_runtime.sources import Frame, open_source
from tests.performance.timed import (
    BLOCK_FRAMES,
    Timed,
    TimedClassifier,
    TimedDetector,
)

# What OpenCV's own examples call: its defaults, over the whole frame.
TUTORIAL_SCALE, TUTORIAL_NEIGHBOURS = 1.1, 3

Step = Callable[[], bool]  # works on one frame; False at the end of the clip


class GatedPipeline(Pipeline):
    """A pipeline that finds faces only while the loop's gate is open."""

    def __init__(
        self, detector: FaceDetector, classifier: FaceClassifier, timed: Timed
    ) -> None:
        """As a ``Pipeline``, with the gate of ``timed``."""
        super().__init__(detector, classifier)
        self._timed = timed

    def detect_and_track(self, frame: Frame) -> TrackedFrame:
        """Returns the next frame with its faces."""
        with self._timed.gate.work():
            return super().detect_and_track(frame)


def gated(frames: Iterable[Frame], timed: Timed) -> Iterator[Frame]:
    """Yields frames, each of them read while the loop's gate is open."""
    unread = iter(frames)
    while True:
        with timed.gate.work():
            frame = next(unread, None)
        if frame is None:
            return
        yield frame


@contextmanager
def tutorial(clip: Path, model: Classifier, timed: Timed) -> Iterator[Step]:
    """Yields the steps of the tutorial loop: read, Haar on the whole frame, classify.

    Args:
        clip: A video.
        model: The float file, one thread.
        timed: Unused: this loop is not looked into.
    """
    cascade = load_cascade()
    capture = cv2.VideoCapture(str(clip))

    def step() -> bool:
        ok, frame = capture.read()
        if not ok:
            return False
        grey = cv2.cvtColor(frame, cv2.COLOR_BGR2GRAY)
        faces = cascade.detectMultiScale(grey, TUTORIAL_SCALE, TUTORIAL_NEIGHBOURS)
        for x, y, width, height in faces:
            face = np.asarray(grey[y : y + height, x : x + width], dtype=np.uint8)
            model.predict(face)
        return True

    try:
        yield step
    finally:
        capture.release()


@contextmanager
def ours(
    clip: Path, model: Classifier, timed: Timed, *, detector: FaceDetector
) -> Iterator[Step]:
    """Yields the steps of our loop, from reading to a line of JSON, as ``run`` does.

    Faces of the next frames are found while this one is classified.

    Args:
        clip: A video.
        model: The deployed file, one thread.
        timed: Records the results, and when detector and network ran.
        detector: With its defaults.
    """
    classifier = TimedClassifier(model, timed)
    pipeline = GatedPipeline(TimedDetector(detector, timed), classifier, timed)
    with open_source(str(clip)) as source:
        frames = gated(source, timed)
        status = Status(source=source, classifier=model, detector=detector.name)
        with prefetch_tracked(frames, pipeline) as tracked, open_gate_at_exit(timed):

            def step() -> bool:
                one = next(tracked, None)
                if one is None:
                    return False
                _emit(pipeline.classify(one), status, timed)
                return True

            yield step


@contextmanager
def one_by_one(
    clip: Path, model: Classifier, timed: Timed, *, detector: FaceDetector
) -> Iterator[Step]:
    """Yields the steps of our loop where one frame follows the other.

    Only the next frames are read meanwhile.

    Args:
        clip: A video.
        model: The deployed file, one thread.
        timed: Records the results, when each frame was worked on, and when detector and
            network ran.
        detector: With its defaults.
    """
    classifier = TimedClassifier(model, timed)
    pipeline = Pipeline(TimedDetector(detector, timed), classifier)
    with open_source(str(clip)) as source:
        status = Status(source=source, classifier=model, detector=detector.name)
        with prefetch(gated(source, timed)) as frames, open_gate_at_exit(timed):

            def step() -> bool:
                started = time.perf_counter()
                frame = next(frames, None)
                if frame is None:
                    return False
                _emit(pipeline.process(frame), status, timed)
                timed.frames.append((started, time.perf_counter()))
                return True

            yield step


@contextmanager
def open_gate_at_exit(timed: Timed) -> Iterator[None]:
    """Opens the gate at the end of the ``with`` block, so that its threads can end.

    The innermost one: the blocks around it wait for these threads.
    """
    try:
        yield
    finally:
        timed.gate.open()


def _emit(result: FrameResult, status: Status, timed: Timed) -> None:
    status.update(result)
    json.dumps(frame_document(result))
    timed.results.append(result)


def run_interleaved(
    loops: Sequence[tuple[Timed, AbstractContextManager[Step]]],
    after_round: Callable[[], None],
) -> None:
    """Runs all loops over the clip, block by block in rotation.

    What slows the machine down slows all of them. An incomplete last block is left out
    of the times. The work of a loop's threads for later frames falls into its own
    blocks, which end when that work is done.

    Args:
        loops: The loops and where their times go.
        after_round: Called after one block of each.
    """
    with ExitStack() as stack:
        steps = [(timed, stack.enter_context(loop)) for timed, loop in loops]
        going = True
        while going:
            for timed, step in steps:
                started = time.perf_counter()
                timed.gate.open()
                going = all(step() for _ in range(BLOCK_FRAMES))
                timed.gate.close()
                if going:
                    timed.blocks.append((started, time.perf_counter()))
            after_round()


def speed_up(timed: Timed, reference: Timed) -> dict[str, float]:
    """Returns how many times as many frames a second as a reference, block by block.

    Returns:
        median, p5 and p95 of the ratios of neighbouring blocks.
    """
    pairs = zip(reference.blocks_s, timed.blocks_s, strict=True)
    low, middle, high = np.percentile([a / b for a, b in pairs], [5, 50, 95])
    return {"median": float(middle), "p5": float(low), "p95": float(high)}
