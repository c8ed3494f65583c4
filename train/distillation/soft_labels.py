"""Soft labels: raters' votes turned into a distribution over the classes.

The raters' categories need not be the classes (FERPlus also has "contempt" and "not a
face"), and equal names need not have equal meanings: FERPlus's majority is FER2013's
label in only 62.7 % of the images. So votes are not targets themselves. A softmax
regression from votes to labels, fitted on the training images, gives the probability of
each label *given these votes*, with less noise than the single label.
"""

from __future__ import annotations

import csv
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
from scipy.optimize import minimize
from scipy.special import log_softmax, softmax

from edge_runtime.errors import DatasetError

NAME_COLUMN = "file"
MIN_SHARE_FOUND = 0.5
PENALTY = 1e-4  # on the squared weights: against certainty for rare votes
SMOOTHING_VOTES = 0.3  # log(0 votes) is infinite


@dataclass(frozen=True)
class Votes:
    """The raters' votes for each image.

    Attributes:
        categories: Names of the categories, the columns of the CSV.
        counts: float64 (N, categories), not negative; a row of NaN for an image
            without votes.
    """

    categories: tuple[str, ...]
    counts: npt.NDArray[np.float64]

    @property
    def known(self) -> npt.NDArray[np.bool_]:
        """Which images have votes, bool (N,)."""
        return np.asarray(~np.isnan(self.counts).any(axis=1), dtype=bool)


def read_votes(path: Path | str, names: Sequence[str]) -> Votes:
    """Returns the votes for the named images.

    Args:
        path: A CSV whose first column, ``file``, holds names as in ``Split.names`` and
            whose other columns hold numbers of votes, one column per category.
        names: The images.

    Returns:
        One row per image; NaN where the file has no votes for it.

    Raises:
        DatasetError: No such file, no such column, a value that is no vote, a file
            named twice, or votes for fewer than half of the images.
    """
    try:
        with Path(path).open(encoding="utf-8-sig", newline="") as file:
            rows = csv.reader(file)
            categories = _categories(next(rows, []), path)
            votes_by_name = _counts(rows, len(categories), path)
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise DatasetError(f"cannot read votes from {path}: {error}") from error
    unknown = [np.nan] * len(categories)
    counts = np.array([votes_by_name.get(name, unknown) for name in names])
    votes = Votes(categories, counts)
    share = votes.known.mean()
    if share < MIN_SHARE_FOUND:
        raise DatasetError(
            f"{path}: expected votes for images with names such as {names[0]!r}, got"
            f" votes for {share:.0%} of the training images: of another image set?"
        )
    return votes


def _categories(header: Sequence[str], path: Path | str) -> tuple[str, ...]:
    categories = tuple(header[1:])
    enough = len(set(categories)) == len(categories) >= 2
    if list(header[:1]) != [NAME_COLUMN] or not enough:
        raise DatasetError(
            f"{path}: expected the column {NAME_COLUMN} and then one for each of at"
            f" least two categories of votes, got {list(header)}"
        )
    return categories


def _counts(
    rows: Iterable[Sequence[str]], categories: int, path: Path | str
) -> dict[str, list[float]]:
    """Returns the votes by image name, without images that have no votes."""
    found: dict[str, list[float]] = {}
    for line, row in enumerate(rows, start=2):
        if not row:
            continue
        name, *texts = row
        where = f"{path}, row {line}"
        if len(texts) != categories:
            raise DatasetError(
                f"{where}: expected {categories} numbers of votes, got {len(texts)}"
            )
        if name in found:
            raise DatasetError(f"{where}: {name!r} is listed twice: remove one row")
        found[name] = [_vote(text, where) for text in texts]
    return {name: votes for name, votes in found.items() if any(votes)}


def _vote(text: str, where: str) -> float:
    try:
        vote = float(text)
    except ValueError:
        vote = -1.0
    if not 0 <= vote < float("inf"):
        raise DatasetError(f"{where}: expected a number of votes, got {text!r}")
    return vote


def has_majority(votes: Votes, category: str) -> npt.NDArray[np.bool_]:
    """Returns whether half of an image's votes are for a category, bool (N,).

    Raises:
        DatasetError: There is no such category.
    """
    if category not in votes.categories:
        raise DatasetError(
            f"expected --drop-category of {', '.join(votes.categories)},"
            f" got {category!r}"
        )
    chosen = votes.counts[:, votes.categories.index(category)]
    # Comparisons with NaN are false: an image without votes is not among them.
    majority: npt.NDArray[np.bool_] = 2 * chosen >= votes.counts.sum(axis=1)
    return majority


def label_distribution(
    votes: Votes, labels: npt.NDArray[np.int64], classes: int
) -> npt.NDArray[np.float32]:
    """Returns the probability of each label given the votes, float32 (N, classes).

    Args:
        votes: The votes of N images.
        labels: int64 (N,), the labels to fit the regression to.
        classes: Number of classes.

    Returns:
        Rows that sum to 1; NaN for images without votes.
    """
    features = _features(votes.counts[votes.known])
    weights = _softmax_regression(features, labels[votes.known], classes)
    result = np.full((len(labels), classes), np.nan, np.float32)
    result[votes.known] = softmax(features @ weights, axis=1)
    return result


def _features(counts: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    shares = counts / counts.sum(axis=1, keepdims=True)
    bias = np.ones((len(counts), 1))
    return np.hstack([shares, np.log(counts + SMOOTHING_VOTES), bias])


def _softmax_regression(
    features: npt.NDArray[np.float64], labels: npt.NDArray[np.int64], classes: int
) -> npt.NDArray[np.float64]:
    """Returns the weights with the least cross-entropy, float64 (features, classes)."""
    one_hot = np.eye(classes)[labels]
    shape = (features.shape[1], classes)

    def loss(flat: npt.NDArray[np.float64]) -> tuple[float, npt.NDArray[np.float64]]:
        weights = flat.reshape(shape)
        log_p = log_softmax(features @ weights, axis=1)
        value = -(one_hot * log_p).sum() / len(labels) + PENALTY * (weights**2).sum()
        gradient = features.T @ (np.exp(log_p) - one_hot) / len(labels)
        return float(value), (gradient + 2 * PENALTY * weights).ravel()

    fitted = minimize(loss, np.zeros(shape[0] * classes), jac=True, method="L-BFGS-B")
    weights: npt.NDArray[np.float64] = fitted.x.reshape(shape)
    return weights
