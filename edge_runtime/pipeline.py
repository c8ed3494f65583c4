"""The loop: a frame, its faces, one answer for each, and how long that took."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from time import perf_counter
from typing import Protocol

import numpy as np
import numpy.typing as npt

from edge_runtime.faces import Box, Face, FaceDetector
from edge_runtime.preprocess import Image, square_crop
from edge_runtime.sources import Frame
from edge_runtime.spec import ModelSpec


class FaceClassifier(Protocol):
    """What the loop needs of a ``Classifier``."""

    @property
    def spec(self) -> ModelSpec:
        """Labels and crop margin."""

    def prepare(self, image: Image) -> npt.NDArray[np.uint8]:
        """Returns an image as the model takes it, uint8 (S, S, C)."""

    def probabilities(self, batch: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
        """Returns float32 (N, classes) for uint8 (N, S, S, C)."""


@dataclass(frozen=True)
class FaceResult:
    """The answer for one face.

    Attributes:
        box_xywh: Left, top, width, height in the frame's pixels.
        score: The detector's, 0..1.
        label: Name of the most probable class.
        confidence: Its probability, 0..1.
        probabilities: Probability of each label, in the model's order; sums to 1.
    """

    box_xywh: Box
    score: float
    label: str
    confidence: float
    probabilities: dict[str, float]


@dataclass(frozen=True)
class FrameResult:
    """The answer for one frame.

    Attributes:
        index: The frame's number in its source.
        timestamp_s: The frame's time in its source, in seconds.
        name: The frame's file name, or the camera's.
        faces: Largest first; may be empty.
        detect_ms: Time for finding the faces.
        classify_ms: Time for cropping and classifying all of them.
    """

    index: int
    timestamp_s: float
    name: str
    faces: tuple[FaceResult, ...]
    detect_ms: float
    classify_ms: float


def run(
    frames: Iterable[Frame], detector: FaceDetector, classifier: FaceClassifier
) -> Iterator[tuple[Frame, FrameResult]]:
    """Yields each frame with its answer.

    Args:
        frames: A source.
        detector: Finds the faces.
        classifier: Answers for them, all faces of a frame in one call.
    """
    for frame in frames:
        yield frame, process(frame, detector, classifier)


def process(
    frame: Frame, detector: FaceDetector, classifier: FaceClassifier
) -> FrameResult:
    """Returns the answer for one frame.

    Args:
        frame: uint8 BGR or grey image with its time and name.
        detector: Finds the faces.
        classifier: Answers for them.
    """
    started = perf_counter()
    faces = detector.detect(frame.image)
    detected = perf_counter()
    results = classify(frame.image, faces, classifier)
    finished = perf_counter()
    return FrameResult(
        index=frame.index,
        timestamp_s=frame.timestamp_s,
        name=frame.name,
        faces=results,
        detect_ms=1000 * (detected - started),
        classify_ms=1000 * (finished - detected),
    )


def classify(
    image: Image, faces: Sequence[Face], classifier: FaceClassifier
) -> tuple[FaceResult, ...]:
    """Returns an answer for each face, in the same order.

    Args:
        image: uint8 (H, W, 3) BGR or (H, W) grey, 0..255.
        faces: In this image.
        classifier: Called once for all of them, not at all when there are none.
    """
    if not faces:
        return ()
    margin = classifier.spec.crop_margin_frac
    crops = [classifier.prepare(crop(image, face, margin)) for face in faces]
    probabilities = classifier.probabilities(np.stack(crops))
    labels = classifier.spec.labels
    return tuple(
        _result(face, row, labels)
        for face, row in zip(faces, probabilities, strict=True)
    )


def crop(image: Image, face: Face, margin_frac: float) -> Image:
    """Returns the square around a face as the model was trained on (a view).

    Args:
        image: uint8 (H, W, 3) BGR or (H, W) grey.
        face: In this image; a whole-image face is returned uncut, as in training.
        margin_frac: The model's margin around a canonical box.
    """
    if face.whole:
        return image
    return square_crop(image, face.box_xywh, margin_frac=margin_frac)


def _result(
    face: Face, row: npt.NDArray[np.float32], labels: tuple[str, ...]
) -> FaceResult:
    best = int(row.argmax())
    return FaceResult(
        box_xywh=face.box_xywh,
        score=face.score,
        label=labels[best],
        confidence=float(row[best]),
        probabilities={label: float(p) for label, p in zip(labels, row, strict=True)},
    )
