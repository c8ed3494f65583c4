"""The faces of a frame, cropped and classified in one call."""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence
from functools import cache
from typing import Protocol

import numpy as np
import numpy.typing as npt

from edge_runtime.detection.base import Face
from edge_runtime.model_file.metadata import ModelSpec
from edge_runtime.preprocessing import Image, square_crop
from edge_runtime.results import Decision, FaceResult
from edge_runtime.sources import Frame

logger = logging.getLogger(__name__)

Rows = npt.NDArray[np.float32]


class FaceClassifier(Protocol):
    """What the loop needs of a ``Classifier``."""

    @property
    def spec(self) -> ModelSpec:
        """Labels, crop margin and input shape."""

    def prepare(self, image: Image) -> npt.NDArray[np.uint8]:
        """Returns an image as the model takes it, uint8 (S, S, C)."""

    def probabilities(self, batch: npt.NDArray[np.uint8]) -> Rows:
        """Returns float32 (N, classes) for uint8 (N, S, S, C)."""


def classify(image: Image, faces: Sequence[Face], classifier: FaceClassifier) -> Rows:
    """Returns float32 (faces, classes): probabilities for each, in the same order.

    Args:
        image: uint8 (H, W, 3) BGR or (H, W) grey, 0..255.
        faces: In this image.
        classifier: Called once for all of them, not at all when there are none.
    """
    return probabilities(prepare_batch(image, faces, classifier), classifier)


def prepare_batch(
    image: Image, faces: Sequence[Face], classifier: FaceClassifier
) -> npt.NDArray[np.uint8]:
    """Returns the faces as the model takes them: uint8 (faces, S, S, C).

    Args:
        image: uint8 (H, W, 3) BGR or (H, W) grey, 0..255.
        faces: In this image.
        classifier: Says how.
    """
    if not faces:
        return np.zeros((0, *classifier.spec.input_shape), np.uint8)
    margin = classifier.spec.crop_margin_frac
    crops = [classifier.prepare(crop(image, face, margin)) for face in faces]
    # One is the usual number, and a view of it is free.
    return crops[0][np.newaxis] if len(crops) == 1 else np.stack(crops)


def probabilities(batch: npt.NDArray[np.uint8], classifier: FaceClassifier) -> Rows:
    """Returns float32 (faces, classes): probabilities for each, in the same order.

    Where the network gives something that is no number, every class is as probable as
    any other: one such answer in a month must not end the run, nor what is known of the
    face.

    Args:
        batch: uint8 (faces, S, S, C), as ``prepare_batch`` returned it.
        classifier: Called once for all of them, not at all when there are none.
    """
    if not len(batch):
        return np.zeros((0, len(classifier.spec.labels)), np.float32)
    rows = classifier.probabilities(batch)
    known = np.isfinite(rows)
    if known.all():
        return rows
    _tell_of_no_number()
    return np.where(known.all(axis=1, keepdims=True), rows, 1 / rows.shape[1]).astype(
        np.float32
    )


@cache
def _tell_of_no_number() -> None:
    """Logs it once: it may come back with every frame."""
    logger.warning(
        "the network answered with something that is no number: every label then counts"
        " as equally probable (said once)"
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


def age_ms(frame: Frame) -> float | None:
    """Returns how old a frame is by now, in ms; None for a file's."""
    if not frame.captured_s:
        return None
    return 1000 * (time.monotonic() - frame.captured_s)


def face_result(
    face: Face,
    row: npt.NDArray[np.float32],
    labels: tuple[str, ...],
    track_id: int | None = None,
    decision: Decision | None = None,
    classified_s: float | None = None,
) -> FaceResult:
    """Returns the answer for one face.

    Args:
        face: In the frame.
        row: float32 (classes,), the network's probabilities.
        labels: The model's, in order.
        track_id: The face's number, where it is followed.
        decision: What its frames so far say, where it is followed.
        classified_s: Time in the source of the frame that the row is of, the same.
    """
    best = int(row.argmax())
    return FaceResult(
        box_xywh=face.box_xywh,
        score=face.score,
        label=labels[best],
        confidence=float(row[best]),
        probabilities=dict(zip(labels, row.tolist(), strict=True)),
        track_id=track_id,
        decision=decision,
        classified_s=classified_s,
    )
