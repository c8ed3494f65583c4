"""Statistics of one classifier, and of two on the same images."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt

from benchmarks.common.documents import Document
from edge_runtime.inference.classifier import softmax
from train import metrics

Labels = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]

RESAMPLES = 10_000
SEED = 0
BISECTIONS = 60  # to the last bit of a float64


def mcnemar_p(right_to_wrong: int, wrong_to_right: int) -> float:
    """Returns the exact two-sided p-value that both classifiers are equally accurate.

    Under that hypothesis an image that only one of them got right is a fair coin:
    McNemar, "Note on the sampling error of the difference between correlated
    proportions" (1947), with the binomial distribution instead of its approximation.
    Computed in integers, so that no count is too large to be exact.
    """
    flips = right_to_wrong + wrong_to_right
    term = tail = 1  # C(flips, 0)
    for k in range(min(right_to_wrong, wrong_to_right)):
        term = term * (flips - k) // (k + 1)
        tail += term
    # Not doubled where both tails meet: then the whole distribution is inside.
    return min(1.0, 2 * tail / (1 << flips))


def flips_by_class(
    y_true: Labels, first: Labels, second: Labels, classes: int
) -> tuple[Labels, Labels, Labels]:
    """Returns how many images of each class worsened, how many improved, and all.

    Args:
        y_true: int64 (N,) class indices in 0..classes-1.
        first: int64 (N,), predictions of the reference.
        second: int64 (N,), predictions of the other.
        classes: Number of classes.

    Returns:
        Three int64 (classes,): right to wrong, wrong to right, images.
    """
    was_right, is_right = first == y_true, second == y_true
    worse, better = y_true[was_right & ~is_right], y_true[~was_right & is_right]
    groups = (worse, better, y_true)
    counts = [np.bincount(group, minlength=classes) for group in groups]
    return counts[0], counts[1], counts[2]


def bootstrap_intervals(
    worse: npt.ArrayLike,
    better: npt.ArrayLike,
    count: npt.ArrayLike,
    *,
    resamples: int = RESAMPLES,
    seed: int = SEED,
) -> Floats:
    """Returns bootstrap 95 % intervals of the difference of accuracy, second - first.

    Paired percentile bootstrap (Efron and Tibshirani, "An introduction to the
    bootstrap", 1993, chapter 13): images are resampled with both their predictions.
    A resample's difference depends only on how many improve, worsen or stay, so N
    images are one draw from a multinomial distribution over these three.

    Args:
        worse: Images that went from right to wrong; an integer, or (K,) for K groups.
        better: Images that went from wrong to right, likewise.
        count: All images, likewise.
        resamples: Number of resamples.
        seed: Of the random numbers.

    Returns:
        float64 (K, 2), low and high in [-1, 1]; NaN for a group without images.
        [0, 0] for a group in which nothing flipped, however small: see
        ``score_intervals``.
    """
    w, b, n = (np.atleast_1d(np.asarray(v, np.int64)) for v in (worse, better, count))
    shares = np.stack([w, b, n - w - b], axis=-1) / np.maximum(1, n)[:, None]
    rng = np.random.default_rng(seed)
    drawn = rng.multinomial(n, shares, size=(resamples, len(n)))
    differences = (drawn[..., 1] - drawn[..., 0]) / np.maximum(1, n)
    bounds = np.percentile(differences, [2.5, 97.5], axis=0).T
    return np.where(n[:, None] > 0, bounds, np.nan)


def score_intervals(
    worse: npt.ArrayLike, better: npt.ArrayLike, count: npt.ArrayLike
) -> Floats:
    """Returns 95 % score intervals of the difference of accuracy, second - first.

    Tango, "Equivalence test and confidence interval for the difference in proportions
    for the paired-sample design" (Statistics in Medicine, 1998): all differences that
    the score test does not reject. It is valid for few flips, and for none, where it is
    +-z^2 / (N + z^2): wide for a small image set.

    Args:
        worse: Images that went from right to wrong; an integer, or (K,) for K groups.
        better: Images that went from wrong to right, likewise.
        count: All images, likewise.

    Returns:
        float64 (K, 2), low and high in [-1, 1]; NaN for a group without images.
    """
    w, b, n = (np.atleast_1d(np.asarray(v, np.float64)) for v in (worse, better, count))
    bounds = np.stack([-_score_bound(b, w, n), _score_bound(w, b, n)], axis=-1)
    return np.where(n[:, None] > 0, bounds, np.nan)


def outer(first: Floats, second: Floats) -> Floats:
    """Returns the intervals that hold both: the lower low and the higher high.

    Args:
        first: float64 (K, 2).
        second: float64 (K, 2).
    """
    low = np.minimum(first[:, 0], second[:, 0])
    return np.stack([low, np.maximum(first[:, 1], second[:, 1])], axis=-1)


def images_needed(points: float) -> int:
    """Returns the fewest images that can show a loss below some points.

    With fewer the score interval is too wide even when no prediction changed.

    Args:
        points: Percentage points, above 0.
    """
    share = points / 100
    return math.ceil(metrics.Z_95**2 * (1 - share) / share)


def _score_bound(worse: Floats, better: Floats, count: Floats) -> Floats:
    """Returns the upper bound, by bisection from the estimate to 1."""
    low = (better - worse) / np.maximum(1, count)
    high = np.ones_like(low)
    for _ in range(BISECTIONS):
        middle = (low + high) / 2
        inside = _not_rejected(middle, worse, better, count)
        low, high = np.where(inside, middle, low), np.where(inside, high, middle)
    return low


def _not_rejected(
    difference: Floats, worse: Floats, better: Floats, count: Floats
) -> npt.NDArray[np.bool_]:
    """Returns whether the score test allows differences above the estimate.

    ``q`` is the maximum-likelihood share of worsened images under that difference.
    """
    rest = difference * (1 - difference)
    b = (2 * count - better + worse) * difference - better - worse
    root = np.sqrt(np.maximum(0, b * b + 8 * count * worse * rest))
    q = (root - b) / (4 * np.maximum(1, count))
    variance = count * np.maximum(0, 2 * q + rest)
    # Not divided: at a difference of 1 both sides are 0.
    beyond = count * difference - (better - worse)
    return np.asarray(beyond <= metrics.Z_95 * np.sqrt(variance))


def reliability_diagram(
    logits: npt.NDArray[Any], y_true: npt.NDArray[np.int64], temperature: float
) -> list[Document]:
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
    counts, rights, sums = metrics.confidence_bins(logits, y_true, temperature)
    return [
        {
            "range": [i / len(counts), (i + 1) / len(counts)],
            "count": int(counts[i]),
            "right": int(rights[i]),
            "confidence": float(sums[i] / counts[i]) if counts[i] else None,
        }
        for i in range(len(counts))
    ]


def margins(logits: npt.NDArray[Any], temperature: float) -> npt.NDArray[np.float64]:
    """Returns the difference of the two largest probabilities, float64 (N,) in [0, 1].

    Where it is small the prediction changes easily.

    Args:
        logits: float (N, classes), at least two classes.
        temperature: Of the model; divides the logits before the softmax.
    """
    probabilities = softmax(logits, temperature).astype(np.float64)
    largest = np.partition(probabilities, -2, axis=1)[:, -2:]
    return np.asarray(largest[:, 1] - largest[:, 0])
