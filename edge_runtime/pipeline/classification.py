"""Crops the faces of a frame and classifies them in one call."""

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
from edge_runtime.preprocessing import Image, square_crop, upright
from edge_runtime.results import Decision, FaceResult
from edge_runtime.sources import Frame

logger = logging.getLogger(__name__)

Probabilities = npt.NDArray[np.float32]


class FaceClassifier(Protocol):
    """The part of a ``Classifier`` that classifies faces."""

    @property
    def spec(self) -> ModelSpec:
        """Labels, crop margin and input shape."""

    def prepare(self, image: Image) -> npt.NDArray[np.uint8]:
        """Returns the image as a model input, uint8 (S, S, C)."""

    def probabilities(self, batch: npt.NDArray[np.uint8]) -> Probabilities:
        """Returns float32 (N, classes) for uint8 (N, S, S, C)."""


def prepare_batch(
    image: Image, faces: Sequence[Face], classifier: FaceClassifier
) -> npt.NDArray[np.uint8]:
    """Returns the faces as model inputs, uint8 (faces, S, S, C); S = 0 without faces.

    Args:
        image: uint8 (H, W, 3) BGR or (H, W) grey, 0..255.
        faces: In this image.
        classifier: Has the crop margin, and resizes.
    """
    if not faces:
        return np.empty((0, 0, 0, 0), np.uint8)
    margin = classifier.spec.crop_margin_frac
    crops = [classifier.prepare(upright(crop(image, face, margin))) for face in faces]
    # One is the usual number, and a view of it is free.
    return crops[0][np.newaxis] if len(crops) == 1 else np.stack(crops)


def classify_batch(
    batch: npt.NDArray[np.uint8], classifier: FaceClassifier
) -> Probabilities:
    """Returns float32 (faces, classes): the probabilities of each face, in order.

    Where the network returns NaN or infinity every class is equally probable: one such
    output in a month must neither end the run nor make a face's average NaN.

    Args:
        batch: uint8 (faces, S, S, C), from ``prepare_batch``.
        classifier: Called once for all of them, not at all without faces.
    """
    if not len(batch):
        return np.zeros((0, len(classifier.spec.labels)), np.float32)
    rows = classifier.probabilities(batch)
    finite = np.isfinite(rows)
    if finite.all():
        return rows
    _warn_not_finite()
    usable = finite.all(axis=1, keepdims=True)
    return np.where(usable, rows, 1 / rows.shape[1]).astype(np.float32)


@cache
def _warn_not_finite() -> None:
    """Logs it once: it may happen in every frame."""
    logger.warning(
        "the network returned NaN or infinity: every label then counts as equally"
        " probable (reported once)"
    )


def crop(image: Image, face: Face, margin_frac: float) -> Image:
    """Returns the square around a face that the model was trained on (a view).

    Args:
        image: uint8 (H, W, 3) BGR or (H, W) grey.
        face: In this image; a whole-image face is not cropped, as in training.
        margin_frac: The model's margin around a canonical box.
    """
    if face.whole:
        return image
    return square_crop(image, face.box_xywh, margin_frac=margin_frac)


def age_ms(frame: Frame) -> float | None:
    """Returns the age of a frame in ms; None for a file's."""
    if not frame.captured_s:
        return None
    return 1000 * (time.monotonic() - frame.captured_s)


def face_result(
    face: Face,
    row: Probabilities,
    labels: tuple[str, ...],
    track_id: int | None = None,
    decision: Decision | None = None,
    classified_s: float | None = None,
) -> FaceResult:
    """Returns the result for one face.

    Args:
        face: In the frame.
        row: float32 (classes,), its probabilities.
        labels: The model's, in order.
        track_id: Its track's number, where it is tracked.
        decision: From all of its frames so far, where it is tracked.
        classified_s: Time in the source of the frame that the row is of, where it is
            tracked.
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
