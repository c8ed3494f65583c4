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
from edge_runtime.ahead import reading_ahead
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
        frames_s: Seconds of each frame; these and the next two not for the tutorial.
        network_s: Seconds of each frame in the network.
        results: Its answers.
    """

    name: str
    blocks_s: list[float] = field(default_factory=list)
    frames_s: list[float] = field(default_factory=list)
    network_s: list[float] = field(default_factory=list)
    results: list[FrameResult] = field(default_factory=list)

    @property
    def frame_s(self) -> float:
        """Seconds a frame: the median of the blocks."""
        return float(np.median(self.blocks_s))

    @property
    def detect_s(self) -> list[float]:
        """Seconds of each frame in the detector; 0 where it did not run."""
        return [result.detect_ms / 1000 for result in self.results]

    @property
    def around_share(self) -> float:
        """Share of the frames' time that neither detector nor network took, 0..1.

        Of all frames, as "everything around detector and network (grab, crop, track,
        smooth, emit)" is there on each of them, and what a frame costs is what all
        cost on average. That is the strict reading: on most frames the detector does
        not run, and the less often it does the larger this share. ``grab`` is the time
        for which the loop waits for a frame: another thread reads it.
        """
        return self._around_share(range(len(self.results)))

    @property
    def around_share_complete(self) -> float | None:
        """The same of the frames on which detector and network ran; None for none."""
        ran = [
            at
            for at, result in enumerate(self.results)
            if result.detected and result.faces
        ]
        return self._around_share(ran) if ran else None

    def _around_share(self, indices: Sequence[int]) -> float:
        detect_s, whole_s = self.detect_s, sum(self.frames_s[at] for at in indices)
        inside_s = sum(detect_s[at] + self.network_s[at] for at in indices)
        return 1 - inside_s / whole_s


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
        timed: Takes the answers, and the time of each frame.
        detector: With its defaults.
    """
    classifier = TimedClassifier(model)
    pipeline = Pipeline(detector, classifier)
    with open_source(str(clip)) as source, reading_ahead(source) as frames:
        status = Status(source=source, classifier=model, detector=detector.name)

        def step() -> bool:
            started, network_s = time.perf_counter(), classifier.network_s
            frame = next(frames, None)
            if frame is None:
                return False
            result = pipeline.process(frame)
            status.update(result)
            json.dumps(frame_document(result))
            timed.frames_s.append(time.perf_counter() - started)
            timed.network_s.append(classifier.network_s - network_s)
            timed.results.append(result)
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
