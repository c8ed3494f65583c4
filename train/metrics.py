"""Metrics of classifiers: confusion matrix, F1, intervals, calibration error.

numpy only, so that training, export and the benchmarks on the board share them.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

import numpy as np
import numpy.typing as npt

from edge_runtime.inference.classifier import softmax

Floats = npt.NDArray[np.floating[Any]]
Labels = npt.NDArray[np.int64]
Z_95 = 1.959963984540054  # two-sided 95 % of the normal distribution
EXPECTED_CALIBRATION_BINS = 15
LEAST_TO_JUDGE = 10  # images a class


def confusion_matrix(y_true: Labels, y_pred: Labels, classes: int) -> Labels:
    """Returns counts by (true class, predicted class): rows true, columns predicted.

    Args:
        y_true: int64 (N,), true class indices in 0..classes-1.
        y_pred: int64 (N,), predicted class indices in 0..classes-1.
        classes: Number of classes.

    Returns:
        int64 (classes, classes); the sum is N.
    """
    flat = np.bincount(y_true * classes + y_pred, minlength=classes * classes)
    return flat.reshape(classes, classes).astype(np.int64)


def accuracy(matrix: Labels) -> float:
    """Returns the accuracy in [0, 1] (NaN for an empty matrix)."""
    total = matrix.sum()
    return float(np.trace(matrix) / total) if total else math.nan


def recall_by_class(matrix: Labels) -> npt.NDArray[np.float64]:
    """Returns the recall of each class, float64 (classes,); NaN without images."""
    return _ratio(np.diag(matrix), matrix.sum(axis=1))


def macro_f1(matrix: Labels) -> float:
    """Returns the mean over classes of F1 = 2 TP / (2 TP + FP + FN), in [0, 1].

    A class that is never predicted counts as 0; a class that neither occurs nor is
    predicted is left out.
    """
    f1 = _ratio(2 * np.diag(matrix), matrix.sum(axis=0) + matrix.sum(axis=1))
    return float(np.nanmean(f1)) if np.isfinite(f1).any() else math.nan


def is_guessing(recalls: Iterable[float | None], count: int) -> bool:
    """Returns whether a classifier is hardly better than one answer for all images.

    Args:
        recalls: Of each class, 0..1; None where it has no image.
        count: Number of images: few say nothing.
    """
    known = [recall for recall in recalls if recall is not None]
    enough = bool(known) and count >= LEAST_TO_JUDGE * len(known)
    return enough and bool(np.mean(known) < 1.2 / len(known))


def summarize(matrix: Labels) -> dict[str, Any]:
    """Returns count, accuracy with its 95 % interval, and macro-F1, JSON-ready."""
    count, right = int(matrix.sum()), int(np.trace(matrix))
    return {
        "count": count,
        "accuracy": round(accuracy(matrix), 5),
        "accuracy_95": [round(bound, 5) for bound in wilson_interval(right, count)],
        "macro_f1": round(macro_f1(matrix), 5),
    }


def wilson_interval(successes: int, count: int) -> tuple[float, float]:
    """Returns the 95 % Wilson score interval of a share, in [0, 1].

    Wilson, "Probable inference, the law of succession, and statistical inference"
    (1927); holds for small counts and shares near 0 or 1, where p ± 2 SE does not.
    """
    if not count:
        return 0.0, 1.0
    share = successes / count
    centre = share + Z_95**2 / (2 * count)
    spread = Z_95 * math.sqrt(share * (1 - share) / count + (Z_95 / (2 * count)) ** 2)
    scale = 1 + Z_95**2 / count
    return max(0.0, (centre - spread) / scale), min(1.0, (centre + spread) / scale)


def negative_log_likelihood(
    logits: Floats, y_true: Labels, temperature: float
) -> float:
    """Returns the mean -log p(true class) in nats, of softmax(logits / temperature).

    Args:
        logits: float (N, classes).
        y_true: int64 (N,) class indices.
        temperature: Positive; above 1 lowers the confidence.
    """
    scaled = logits.astype(np.float64) / temperature
    largest = scaled.max(axis=1)
    log_sum = largest + np.log(np.exp(scaled - largest[:, None]).sum(axis=1))
    return float(np.mean(log_sum - scaled[np.arange(len(y_true)), y_true]))


def fit_temperature(logits: Floats, y_true: Labels) -> float:
    """Returns the temperature in [0.05, 20] that makes the true classes most likely.

    It changes confidences, never the predicted class: Guo et al., "On calibration of
    modern neural networks" (2017). The likelihood is convex in 1/T; golden section
    search on log T finds the minimum to 0.1 %.

    Args:
        logits: float (N, classes), of images that are not training images.
        y_true: int64 (N,) class indices.
    """
    low, high = math.log(0.05), math.log(20.0)
    golden = (math.sqrt(5) - 1) / 2
    while high - low > 1e-3:
        left, right = high - golden * (high - low), low + golden * (high - low)
        left_loss = negative_log_likelihood(logits, y_true, math.exp(left))
        right_loss = negative_log_likelihood(logits, y_true, math.exp(right))
        low, high = (low, right) if left_loss < right_loss else (left, high)
    return math.exp((low + high) / 2)


def expected_calibration_error(
    logits: Floats, y_true: Labels, temperature: float
) -> float:
    """Returns the mean gap between confidence and accuracy, in [0, 1].

    15 bins of equal width over the confidence, weighted by their counts (Guo et al.,
    2017).

    Args:
        logits: float (N, classes).
        y_true: int64 (N,) class indices.
        temperature: Divides the logits before the softmax.
    """
    _, right, confidence = _confidence_bins(logits, y_true, temperature)
    return float(np.abs(right - confidence).sum() / len(y_true))


def reliability_diagram(
    logits: Floats, y_true: Labels, temperature: float
) -> list[dict[str, Any]]:
    """Returns how often predictions of each confidence are right, JSON-ready.

    The bins are those of the expected calibration error (Guo et al., "On calibration of
    modern neural networks", 2017): the sum of |right - count * confidence| over the
    bins, divided by the number of images.

    Args:
        logits: float (N, classes).
        y_true: int64 (N,) class indices.
        temperature: Of the model; divides the logits before the softmax.

    Returns:
        Bins of equal width over [0, 1], each with ``range`` (its confidences),
        ``count``, ``right`` and ``confidence`` (their mean, None for an empty bin).
    """
    counts, rights, sums = _confidence_bins(logits, y_true, temperature)
    return [
        {
            "range": [i / len(counts), (i + 1) / len(counts)],
            "count": int(counts[i]),
            "right": int(rights[i]),
            "confidence": float(sums[i] / counts[i]) if counts[i] else None,
        }
        for i in range(len(counts))
    ]


def _confidence_bins(
    logits: Floats, y_true: Labels, temperature: float
) -> tuple[npt.NDArray[Any], ...]:
    """Returns images, right ones and summed confidence of each bin."""
    probabilities = softmax(logits, temperature)
    confidence, bins = probabilities.max(axis=1), EXPECTED_CALIBRATION_BINS
    which = np.minimum((confidence * bins).astype(int), bins - 1)
    right = which[probabilities.argmax(axis=1) == y_true]
    sums = np.bincount(which, weights=confidence, minlength=bins)  # in float64
    return np.bincount(which, minlength=bins), np.bincount(right, minlength=bins), sums


def _ratio(above: Labels, below: Labels) -> npt.NDArray[np.float64]:
    result = np.full(len(below), np.nan)
    return np.asarray(np.divide(above, below, out=result, where=below > 0))
