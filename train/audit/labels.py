"""Likely wrong labels, and classes that cannot be told apart.

A linear layer on the features of a network is fitted to four fifths of the images and
asked about the others, five times. cleanlab ranks the labels by the probability that
such a layer gives them, and estimates how many are wrong: Northcutt, Jiang and Chuang,
"Confident learning: estimating uncertainty in dataset labels" (2021).
"""

from __future__ import annotations

import heapq
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from scipy.special import softmax

from edge_runtime.utils.stderr import progress_bar
from train.audit.copies import CopyPair

FOLDS = 5
FEWEST = 10  # images of a class: fewer say nothing about their labels
SURE_WRONG = 0.02  # most probability of a label that is surely wrong
SURE_OTHER = 0.9  # and least of another
TOLD_APART = (
    0.75  # least share of two classes' images that are told apart; chance is .5
)
MOST_PAIRS = 20

Labels = npt.NDArray[np.int64]
Probabilities = npt.NDArray[np.float64]


class ClassPair(NamedTuple):
    """Two classes, compared.

    Attributes:
        first: Position of one class.
        second: Of the other.
        told_apart: Mean share of each one's images that are told from the other; 0.5
            is chance.
    """

    first: int
    second: int
    told_apart: float


@dataclass(frozen=True)
class LabelReport:
    """What a linear layer thinks of the labels of N images.

    Attributes:
        probabilities: float64 (N, classes), out of fold.
        quality: float64 (N,), 0 to 1: the probability of the label.
        suspected: bool (N,): cleanlab finds the label likely wrong.
        sure: bool (N,): of these, those of which hardly anything speaks for the label.
        accuracy: Share of images whose label is the most probable one.
        pairs: Pairs of classes, the least told apart first, at most 20.
    """

    probabilities: Probabilities
    quality: npt.NDArray[np.float64]
    suspected: npt.NDArray[np.bool_]
    sure: npt.NDArray[np.bool_]
    accuracy: float
    pairs: list[ClassPair]


def check_labels(
    features: npt.NDArray[np.floating],
    labels: Labels,
    classes: int,
    copies: Sequence[CopyPair],
    seed: int,
) -> LabelReport:
    """Returns which labels are likely wrong.

    Args:
        features: float (N, F).
        labels: int64 (N,), class positions.
        classes: Number of classes.
        copies: Near copies are in one fold: else each would vouch for the other.
        seed: Decides the folds.
    """
    from cleanlab.filter import find_label_issues
    from cleanlab.rank import get_label_quality_scores

    folds = make_folds(labels, copies, seed)
    probabilities = predict_out_of_fold(features, labels, classes, folds)
    quality = get_label_quality_scores(
        labels, probabilities, method="self_confidence", adjust_pred_probs=False
    )
    counts = np.bincount(labels, minlength=classes)
    enough = counts[labels] >= FEWEST
    suspected = np.zeros(len(labels), bool)
    if len(set(labels.tolist())) == classes:
        suspected = find_label_issues(labels, probabilities, n_jobs=1) & enough
    others = probabilities.max(axis=1)
    sure = suspected & (quality < SURE_WRONG) & (others > SURE_OTHER)
    accuracy = float((probabilities.argmax(axis=1) == labels).mean())
    pairs = compare_classes(probabilities, labels, counts)
    return LabelReport(probabilities, quality, suspected, sure, accuracy, pairs)


def make_folds(labels: Labels, copies: Sequence[CopyPair], seed: int) -> Labels:
    """Returns the fold of each image, int64 (N,): stratified, copies together."""
    folds = np.empty(len(labels), np.int64)
    rng = np.random.default_rng(seed)
    for label in np.unique(labels):
        members = rng.permutation(np.flatnonzero(labels == label))
        folds[members] = (np.arange(len(members)) + rng.integers(FOLDS)) % FOLDS
    groups = _group(len(labels), copies)
    return folds[groups]


def _group(count: int, copies: Sequence[CopyPair]) -> Labels:
    """Returns for each image the first of the images that it hangs together with."""
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    ends = np.array([(pair.first, pair.second) for pair in copies], np.int64)
    ends = ends.reshape(-1, 2)
    graph = coo_array((np.ones(len(ends)), (ends[:, 0], ends[:, 1])), (count, count))
    _, groups = connected_components(graph, directed=False)
    _, first = np.unique(groups, return_index=True)
    return np.asarray(first[groups], np.int64)


def predict_out_of_fold(
    features: npt.NDArray[np.floating], labels: Labels, classes: int, folds: Labels
) -> Probabilities:
    """Returns float64 (N, classes): of layers that were not fitted to the image."""
    # Imports Keras, which is slow.
    from train.optimization.head import fit_softmax

    wide = features.astype(np.float32)
    targets = np.eye(classes, dtype=np.float32)[labels]
    probabilities = np.full((len(labels), classes), 1 / classes)
    for fold in progress_bar(range(FOLDS), "checking labels", unit="fold"):
        held_out = folds == fold
        if held_out.any() and not held_out.all():
            weights = fit_softmax(wide[~held_out], targets[~held_out])
            logits = wide[held_out] @ weights[:-1] + weights[-1]
            probabilities[held_out] = softmax(logits, axis=1)
    return probabilities


def compare_classes(
    probabilities: Probabilities, labels: Labels, counts: Labels
) -> list[ClassPair]:
    """Returns the 20 most similar pairs of classes with enough images."""
    usable = np.flatnonzero(counts >= FEWEST)
    # Row: of this class's images the share that is likelier this class than another.
    told = np.ones((len(counts), len(counts)))
    for label in usable:
        own = probabilities[labels == label]
        told[label] = (own[:, label, None] > own).mean(axis=0)
    both = (told + told.T) / 2
    firsts, seconds = np.triu_indices(len(usable), 1)
    pairs = [
        ClassPair(first, second, float(both[first, second]))
        for first, second in zip(
            usable[firsts].tolist(), usable[seconds].tolist(), strict=True
        )
    ]
    return heapq.nsmallest(MOST_PAIRS, pairs, key=lambda pair: pair.told_apart)
