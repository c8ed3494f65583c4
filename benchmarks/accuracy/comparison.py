"""Compares the predictions of two models on the same images, and says how surely."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from benchmarks.common.documents import Document
from edge_runtime.inference.classifier import softmax
from train.metrics import Z_95

Labels = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]

RESAMPLES = 10_000
SEED = 0
BISECTIONS = 60  # to the last bit of a float64
# In the order in which flipped images are listed.
KINDS = ("right_to_wrong", "wrong_to_other_wrong", "wrong_to_right")


@dataclass(frozen=True)
class Predictions:
    """The predictions of one model.

    Attributes:
        predicted: int64 (N,) class indices.
        margin: float64 (N,) in [0, 1], the probability of the predicted class less
            that of the second most probable one.
    """

    predicted: Labels
    margin: Floats

    @classmethod
    def of(cls, logits: npt.NDArray[np.float32], temperature: float) -> Predictions:
        """Returns the predictions of logits, float32 (N, classes)."""
        predicted = np.asarray(logits.argmax(axis=1), np.int64)
        return cls(predicted, margins(logits, temperature))


def compare(
    y_true: Labels,
    first: Predictions,
    second: Predictions,
    *,
    labels: Sequence[str],
    names: Sequence[str],
) -> Document:
    """Returns how the second model's predictions differ from the first's, JSON-ready.

    Args:
        y_true: int64 (N,) class indices.
        first: Predictions of the reference.
        second: Predictions of the other model.
        labels: Class names in order.
        names: N names of the images.
    """
    by_class = flips_by_class(y_true, first.predicted, second.predicted, len(labels))
    totals = [counts.sum(keepdims=True) for counts in by_class]
    accuracy, recall = _differences(*totals), _differences(*by_class)
    worse, better, count = (int(total[0]) for total in totals)
    changed = int(np.sum(first.predicted != second.predicted))
    return {
        "agreement": 1 - changed / count,
        **{
            f"accuracy_difference_points{which}": values[0].tolist()
            for which, values in accuracy.items()
        },
        "bootstrap": {"resamples": RESAMPLES, "seed": SEED},
        "mcnemar_p": mcnemar_p(worse, better),
        "flips": {
            "right_to_wrong": worse,
            "wrong_to_right": better,
            "wrong_to_other_wrong": changed - worse - better,
        },
        **{
            f"recall_difference_points{which}": by_label(labels, values)
            for which, values in recall.items()
        },
        "flipped_images": _flipped_images(y_true, first, second, labels, names),
    }


def _flipped_images(
    y_true: Labels,
    first: Predictions,
    second: Predictions,
    labels: Sequence[str],
    names: Sequence[str],
) -> list[Document]:
    """Returns the images with another prediction, the worst first, JSON-ready.

    First those that were right and are wrong, last those that were wrong and are right;
    within each kind the larger sum of both margins first. (With two small margins
    rounding decided between nearly equal classes.)
    """
    changes = [first.predicted == y_true, second.predicted != y_true]
    kinds = np.select(changes, [0, 1], default=2)  # indices into KINDS
    changed = np.flatnonzero(first.predicted != second.predicted)
    margins_sum = (first.margin + second.margin)[changed]
    return [
        {
            "index": int(i),
            "name": names[i],
            "label": labels[y_true[i]],
            "kind": KINDS[kinds[i]],
            "reference_answer": labels[first.predicted[i]],
            "reference_margin": float(first.margin[i]),
            "answer": labels[second.predicted[i]],
            "margin": float(second.margin[i]),
        }
        for i in changed[np.lexsort((-margins_sum, kinds[changed]))]
    ]


def by_label(labels: Sequence[str], values: Floats) -> dict[str, Any]:
    """Returns values or intervals by class name, JSON-ready; None for those of NaN.

    Args:
        labels: The K class names.
        values: float64 (K,) or (K, 2); NaN for a class without images.
    """
    return {
        label: None if np.isnan(value).any() else value.tolist()
        for label, value in zip(labels, values, strict=True)
    }


def _differences(worse: Labels, better: Labels, count: Labels) -> dict[str, Floats]:
    """Returns the differences in points of K groups of images, and their intervals."""
    bootstrap = 100 * bootstrap_intervals(worse, better, count)
    score = 100 * score_intervals(worse, better, count)
    change = np.full(len(count), np.nan)
    np.divide(100 * (better - worse), count, out=change, where=count > 0)
    return {
        "": change,
        "_95": outer(bootstrap, score),
        "_95_bootstrap": bootstrap,
        "_95_score": score,
    }


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


def bootstrap_intervals(
    worse: npt.ArrayLike, better: npt.ArrayLike, count: npt.ArrayLike
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

    Returns:
        float64 (K, 2), low and high in [-1, 1]; NaN for a group without images.
        [0, 0] for a group in which nothing flipped, however small: see
        ``score_intervals``.
    """
    w, b, n = (np.atleast_1d(np.asarray(v, np.int64)) for v in (worse, better, count))
    shares = np.stack([w, b, n - w - b], axis=-1) / np.maximum(1, n)[:, None]
    rng = np.random.default_rng(SEED)
    drawn = rng.multinomial(n, shares, size=(RESAMPLES, len(n)))
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
    return np.asarray(beyond <= Z_95 * np.sqrt(variance))


def outer(first: Floats, second: Floats) -> Floats:
    """Returns the intervals that hold both: the lower low and the higher high.

    Args:
        first: float64 (K, 2).
        second: float64 (K, 2).
    """
    low = np.minimum(first[:, 0], second[:, 0])
    return np.stack([low, np.maximum(first[:, 1], second[:, 1])], axis=-1)


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
