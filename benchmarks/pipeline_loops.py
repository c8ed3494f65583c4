"""The loops that are compared: the one in every tutorial, and ours."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt

from edge_runtime import Classifier, ModelSpec
from edge_runtime.faces import FaceDetector
from edge_runtime.haar import load_cascade
from edge_runtime.outputs.documents import frame_document
from edge_runtime.pipeline import Pipeline
from edge_runtime.results import FrameResult
from edge_runtime.sources import open_source
from edge_runtime.status import Status

BLOCK_FRAMES = 20
# What OpenCV's own examples call: its defaults, over the whole frame.
TUTORIAL_SCALE, TUTORIAL_NEIGHBOURS = 1.1, 3

Step = Callable[[], bool]  # works on one frame; False at the end of the clip


@dataclass
class Timed:
    """What a loop took.

    Attributes:
        name: What tables call it.
        blocks_s: Seconds a frame, one value for each block of frames.
        detect_s: Of all frames, in the detector.
        network_s: Of all frames, in the network.
        results: Its answers; none for the tutorial.
    """

    name: str
    blocks_s: list[float] = field(default_factory=list)
    detect_s: float = 0.0
    network_s: float = 0.0
    results: list[FrameResult] = field(default_factory=list)

    @property
    def frame_s(self) -> float:
        """Seconds a frame: the median of the blocks."""
        return float(np.median(self.blocks_s))

    @property
    def around_share(self) -> float:
        """Share of the time that neither detector nor network took, 0..1."""
        whole_s = sum(self.blocks_s) * BLOCK_FRAMES
        return 1 - (self.detect_s + self.network_s) / whole_s


class TimedClassifier:
    """A classifier that knows how long its network took."""

    def __init__(self, classifier: Classifier) -> None:
        """Starts its clock at zero."""
        self.network_s = 0.0
        self._classifier = classifier

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
        self.network_s += time.perf_counter() - started
        return answer


@contextmanager
def tutorial(clip: Path, model: Classifier, timed: Timed) -> Iterator[Step]:
    """Yields the steps of the tutorial loop: read, Haar on the whole frame, classify.

    Args:
        clip: A video.
        model: The float file, one thread.
        timed: Unused: the loop knows nothing of itself.
    """
    cascade = load_cascade()
    capture = cv2.VideoCapture(str(clip))

    def step() -> bool:
        there, frame = capture.read()
        if not there:
            return False
        grey = cv2.cvtColor(frame, cv2.COLOR_BGR2GRAY)
        found = cascade.detectMultiScale(grey, TUTORIAL_SCALE, TUTORIAL_NEIGHBOURS)
        for x, y, width, height in found:
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
    """Yields the steps of our loop, from reading to a line of JSON.

    Args:
        clip: A video.
        model: The file as it is deployed, one thread.
        timed: Takes the answers, and the time in detector and network.
        detector: With its defaults.
    """
    classifier = TimedClassifier(model)
    pipeline = Pipeline(detector, classifier)
    with open_source(str(clip)) as source:
        status = Status(source=source, classifier=model, detector=detector.name)
        frames = iter(source)

        def step() -> bool:
            frame = next(frames, None)
            if frame is None:
                return False
            result = pipeline.process(frame)
            status.update(result)
            json.dumps(frame_document(result))
            timed.results.append(result)
            timed.detect_s += result.detect_ms / 1000
            timed.network_s = classifier.network_s
            return True

        yield step


def take_turns(
    loops: Sequence[tuple[Timed, AbstractContextManager[Step]]],
    after_round: Callable[[], None],
) -> None:
    """Runs all loops over the clip, a block of frames each in turn.

    What slows the machine down slows all of them. An incomplete last block is left out
    of the times.

    Args:
        loops: What is timed.
        after_round: Called when each has had a block.
    """
    with ExitStack() as stack:
        steps = [(timed, stack.enter_context(loop)) for timed, loop in loops]
        going = True
        while going:
            for timed, step in steps:
                started = time.perf_counter()
                going = all(step() for _ in range(BLOCK_FRAMES))
                if going:
                    taken_s = time.perf_counter() - started
                    timed.blocks_s.append(taken_s / BLOCK_FRAMES)
            after_round()


def speed_up(timed: Timed, reference: Timed) -> dict[str, float]:
    """Returns how many times as many frames a second as a reference, over the blocks.

    Returns:
        median, p5 and p95 of the ratios of blocks that stand side by side.
    """
    pairs = zip(reference.blocks_s, timed.blocks_s, strict=True)
    low, middle, high = np.percentile([a / b for a, b in pairs], [5, 50, 95])
    return {"median": float(middle), "p5": float(low), "p95": float(high)}
