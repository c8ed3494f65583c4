"""Batches and epochs for sets of any size: steps are what a network learns by."""

from __future__ import annotations

import math
from collections.abc import Container
from dataclasses import replace

from train.options.config import TrainConfig

FEWEST_STEPS = 300
FEWEST_STEPS_PER_EPOCH = 10
FEWEST_STEPS_OF_PATIENCE = 100  # its few validation images say little sooner
SMALLEST_BATCH = 8


def scale_to_devices(config: TrainConfig, devices: int) -> TrainConfig:
    """Returns the configuration with a batch for each device, and rates for it.

    SGD's learning rate grows with the batch (Goyal et al., 2017), that of Adam with its
    root (Malladi et al., "On the SDEs and scaling rules for adaptive gradient
    algorithms", 2022).

    Args:
        config: The configuration for one device.
        devices: Number of devices.
    """
    factor = devices if config.optimizer == "sgd" else math.sqrt(devices)
    return replace(
        config,
        batch_size=config.batch_size * devices,
        learning_rate=config.learning_rate * factor,
    )


def fit_to_count(
    config: TrainConfig, images: int, given: Container[str] = ()
) -> TrainConfig:
    """Returns the configuration with enough steps for a small set.

    Batches shrink until an epoch has ten of them, SGD's learning rate with them (Goyal
    et al., "Accurate, large minibatch SGD", 2017), and epochs are added until there are
    300 steps, 100 of them without progress before a run ends early.

    Args:
        config: The configuration of the recipe and the flags.
        images: Number of training images.
        given: Fields that the user gave: they stay.
    """
    batch = min(config.batch_size, images)
    while batch > SMALLEST_BATCH and images // batch < FEWEST_STEPS_PER_EPOCH:
        batch = max(SMALLEST_BATCH, batch // 2)
    if "batch_size" in given:
        batch = min(config.batch_size, images)
    elif batch < config.batch_size:
        rate = config.learning_rate
        if config.optimizer == "sgd" and "learning_rate" not in given:
            rate *= batch / config.batch_size
        config = replace(config, batch_size=batch, learning_rate=rate)
    steps = images // batch
    if config.patience and "patience" not in given:
        patience = math.ceil(FEWEST_STEPS_OF_PATIENCE / steps)
        config = replace(config, patience=max(config.patience, patience))
    if "epochs" in given:
        return config
    epochs = math.ceil(FEWEST_STEPS / steps)
    return replace(config, epochs=max(config.epochs, epochs))
