"""Fits the last layer alone, on features of the frozen network computed once.

A softmax regression: convex, so it needs no learning rate and ends in seconds. It
brings the last layer to where small steps of the whole network can begin, which random
weights would first tear apart (Kumar et al., "Fine-tuning can distort pretrained
features", 2022).
"""

from __future__ import annotations

import keras
import numpy as np
import numpy.typing as npt
from scipy.optimize import minimize
from scipy.special import log_softmax

from train.data.augment import augment
from train.data.sources import times_drawn
from train.data.splits import Split, stratified_indices
from train.options.config import TrainConfig
from train.run.results import predict_logits

PENALTY = 0.03  # on the squared weights of features with variance 1: chosen on photos
# Of the median: a feature that is nearly the same in all of a few images would get a
# weight beside which int8 holds no other.
LEAST_DEVIATION = 0.003
CHUNK = 256
MOST_VIEWS = 16_384  # 84 MB of 1,280 features; more say little about one layer

Floats = npt.NDArray[np.floating]


def fit_head(
    model: keras.Model,
    images: Split,
    targets: npt.NDArray[np.float32],
    config: TrainConfig,
) -> None:
    """Gives the last layer the weights that fit the features below it best.

    Args:
        model: Ends in a Dense layer that returns logits; the rest is not changed.
        images: The training images.
        targets: Their target distributions, float32 (N, classes).
        config: ``head_views`` is the number of views of each image: itself, and then
            augmented ones. Of more than ``MOST_VIEWS`` a seeded part of each class is
            used, so that memory does not grow with the set.
    """
    most = MOST_VIEWS // config.head_views
    if len(images) > most:
        share = most / len(images)
        chosen = stratified_indices(images.labels, share, config.seed)
        images, targets = images.take(chosen), targets[chosen]
    below = keras.Model(model.inputs[0], model.layers[-1].input)
    features = np.concatenate(
        [_features(below, images, config, view) for view in range(config.head_views)]
    )
    times = times_drawn(images, config.data_weights)
    if times is not None:
        times = np.tile(times, config.head_views)
    weights = fit_softmax(features, np.tile(targets, (config.head_views, 1)), times)
    model.layers[-1].set_weights([weights[:-1], weights[-1]])


def _features(
    below: keras.Model, images: Split, config: TrainConfig, view: int
) -> Floats:
    """Returns the features of one view of all images, float32 (N, features)."""
    parts = []
    for start in range(0, len(images), CHUNK):
        chunk = images.images[start : start + CHUNK]
        if view:
            rng = np.random.default_rng([config.seed, 2, view, start])
            chunk = augment(chunk, config.augmentation, rng)
        parts.append(predict_logits(below, chunk))
    return np.concatenate(parts)


def fit_softmax(
    features: Floats, targets: Floats, times: Floats | None = None
) -> Floats:
    """Returns the weights with the least cross-entropy, and the bias as last row.

    The penalty on the weights is the same for every feature: they are divided by their
    standard deviation first, where that is not far below all others.

    Args:
        features: float (N, features).
        targets: Distributions, float (N, classes).
        times: How often each row counts, float (N,); None: once.

    Returns:
        float64 (features + 1, classes), for the features as they were given.
    """
    mean, deviation = features.mean(axis=0), features.std(axis=0)
    deviation = np.maximum(deviation, LEAST_DEVIATION * np.median(deviation))
    deviation = np.where(deviation > 0, deviation, 1)
    scaled = ((features - mean) / deviation).astype(np.float64)
    shape = (scaled.shape[1] + 1, targets.shape[1])
    rows = np.ones(len(scaled)) if times is None else times
    part = (rows / rows.sum())[:, None]

    def loss(flat: npt.NDArray[np.float64]) -> tuple[float, npt.NDArray[np.float64]]:
        weights = flat.reshape(shape)
        kernel, bias = weights[:-1], weights[-1]
        log_p = log_softmax(scaled @ kernel + bias, axis=1)
        error = (np.exp(log_p) - targets) * part
        gradient = np.vstack([scaled.T @ error + 2 * PENALTY * kernel, error.sum(0)])
        value = -(targets * log_p * part).sum() + PENALTY * (kernel**2).sum()
        return float(value), gradient.ravel()

    start = np.zeros(shape[0] * shape[1])
    best = minimize(loss, start, jac=True, method="L-BFGS-B").x.reshape(shape)
    kernel = best[:-1] / deviation[:, None]
    return np.vstack([kernel, best[-1] - mean @ kernel])
