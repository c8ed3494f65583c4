"""How honest a model's confidence is: the figures of a reliability diagram."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from benchmarks.models import Document
from edge_runtime.quantization import softmax
from train.metrics import EXPECTED_CALIBRATION_BINS as BINS


def reliability(
    logits: npt.NDArray[Any], y_true: npt.NDArray[np.int64], temperature: float
) -> list[Document]:
    """Returns how often answers of each confidence are right, JSON-ready.

    The bins of the expected calibration error: Guo et al., "On calibration of modern
    neural networks" (2017). That error is the mean of |right - count * confidence|
    over all images, so that it can be found again from these figures.

    Args:
        logits: float (N, classes).
        y_true: int64 (N,) class indices.
        temperature: The model's own; divides the logits before the softmax.

    Returns:
        Bins of equal width over [0, 1], each with ``range`` (its confidences),
        ``count``, ``right`` and ``confidence`` (their mean, None for an empty bin).
    """
    probabilities = softmax(logits, temperature)
    confidence = probabilities.max(axis=1)
    right = probabilities.argmax(axis=1) == y_true
    which = np.minimum((confidence * BINS).astype(int), BINS - 1)
    counts = np.bincount(which, minlength=BINS)
    rights = np.bincount(which[right], minlength=BINS)
    sums = np.bincount(which, weights=confidence, minlength=BINS)
    return [
        {
            "range": [i / BINS, (i + 1) / BINS],
            "count": int(counts[i]),
            "right": int(rights[i]),
            "confidence": float(sums[i] / counts[i]) if counts[i] else None,
        }
        for i in range(BINS)
    ]


def margins(logits: npt.NDArray[Any], temperature: float) -> npt.NDArray[np.float64]:
    """Returns by how much each answer won: float64 (N,) in [0, 1].

    The difference of the two largest probabilities; a small one flips easily.

    Args:
        logits: float (N, classes), at least two classes.
        temperature: The model's own; divides the logits before the softmax.
    """
    two = np.partition(softmax(logits, temperature).astype(np.float64), -2, axis=1)
    return np.asarray(two[:, -1] - two[:, -2])
