"""Compares the predictions of two models on the same images."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from benchmarks.accuracy.statistics import (
    RESAMPLES,
    SEED,
    Floats,
    Labels,
    bootstrap_intervals,
    flips_by_class,
    margins,
    mcnemar_p,
    outer,
    score_intervals,
)
from benchmarks.common.documents import Document

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
    worse, better, count = (int(counts.sum()) for counts in by_class)
    changed = int(np.sum(first.predicted != second.predicted))
    return {
        "agreement": 1 - changed / count,
        **_accuracy_difference(worse, better, count),
        "bootstrap": {"resamples": RESAMPLES, "seed": SEED},
        "mcnemar_p": mcnemar_p(worse, better),
        "flips": {
            "right_to_wrong": worse,
            "wrong_to_right": better,
            "wrong_to_other_wrong": changed - worse - better,
        },
        **_recall_differences(*by_class, labels),
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


def by_label(labels: Sequence[str], values: Floats) -> dict[str, float | None]:
    """Returns values by class name, None for a class without images (JSON: null)."""
    return {
        label: None if math.isnan(value) else float(value)
        for label, value in zip(labels, values, strict=True)
    }


def _accuracy_difference(worse: int, better: int, count: int) -> Document:
    bootstrap = 100 * bootstrap_intervals(worse, better, count)
    score = 100 * score_intervals(worse, better, count)
    key = "accuracy_difference_points"
    return {
        key: 100 * (better - worse) / count,
        f"{key}_95": outer(bootstrap, score)[0].tolist(),
        f"{key}_95_bootstrap": bootstrap[0].tolist(),
        f"{key}_95_score": score[0].tolist(),
    }


def _recall_differences(
    worse: Labels, better: Labels, count: Labels, labels: Sequence[str]
) -> Document:
    """Returns the change of each class's recall, resampled within the class."""
    bootstrap = 100 * bootstrap_intervals(worse, better, count)
    score = 100 * score_intervals(worse, better, count)
    change = np.full(len(labels), np.nan)
    np.divide(100 * (better - worse), count, out=change, where=count > 0)
    key = "recall_difference_points"
    return {
        key: by_label(labels, change),
        f"{key}_95": _intervals(labels, outer(bootstrap, score)),
        f"{key}_95_bootstrap": _intervals(labels, bootstrap),
        f"{key}_95_score": _intervals(labels, score),
    }


def _intervals(labels: Sequence[str], bounds: Floats) -> dict[str, list[float] | None]:
    return {
        label: None if math.isnan(row[0]) else row
        for label, row in zip(labels, bounds.tolist(), strict=True)
    }
