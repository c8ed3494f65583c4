"""Soft labels: raters' votes turned into a distribution over the classes.

The raters' categories need not be the classes (FERPlus also has "contempt" and "not a
face"), and equal names need not have equal meanings: FERPlus's majority is FER2013's
label in only 62.7 % of the images. So votes are not targets themselves. A softmax
regression from votes to labels, fitted on the training images, gives the probability of
each label *given these votes*, with less noise than the single label.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from scipy.optimize import minimize
from scipy.special import log_softmax, softmax

from train.data.votes import Votes

PENALTY = 1e-4  # on the squared weights: against certainty for rare votes
SMOOTHING_VOTES = 0.3  # log(0 votes) is infinite


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
