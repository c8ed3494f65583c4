"""The optimizer of a run: schedule, averaged weights, learning rates by layer."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras
import numpy as np

from train.distillation.loss import DistillationLoss, target_accuracy
from train.networks.blocks import leaf_layers
from train.networks.strided import avoid_strides
from train.options.config import TrainConfig
from train.run.results import backend_name


def compile_model(
    model: keras.Model, config: TrainConfig, steps_per_epoch: int
) -> None:
    """Gives the model the run's optimizer and loss.

    Args:
        model: The network; where the run says so, its BatchNorm and its first layers
            are frozen here.
        config: The configuration.
        steps_per_epoch: Batches in an epoch.
    """
    avoid_strides(model)
    if config.freeze_batch_norm:
        freeze_batch_norm(model)
    if config.frozen_stride:
        freeze_large(model, config.frozen_stride)
    optimizer = build_optimizer(config, steps_per_epoch, layer_rates(model, config))
    on_cpu = all(name.startswith("cpu") for name in devices())
    slower = on_cpu and backend_name() == "tensorflow"
    loss = keras.losses.CategoricalCrossentropy(from_logits=True)
    if config.teachers:
        loss = DistillationLoss(config.teacher_share, config.teacher_temperature)
    model.compile(
        optimizer,
        loss,
        metrics=[keras.metrics.MeanMetricWrapper(target_accuracy, name="accuracy")],
        # XLA's convolutions on a CPU are slower than oneDNN's, without bfloat16.
        jit_compile=False if slower else "auto",
    )
    # Else TensorFlow traces the first step twice: once more after its slots are made.
    model.optimizer.build(model.trainable_variables)


def freeze_batch_norm(model: keras.Model) -> None:
    """Keeps the statistics, scales and offsets of every BatchNorm as they are."""
    for layer in leaf_layers(model):
        if isinstance(layer, keras.layers.BatchNormalization):
            layer.trainable = False


def freeze_large(model: keras.Model, stride: int) -> None:
    """Keeps the layers whose output has at least one ``stride``-th of the input's side.

    The last layer learns whatever its size.
    """
    side = model.input_shape[1]
    for layer in model.layers[:-1]:
        shape: tuple[int, ...] = getattr(layer.output, "shape", ())
        if layer.weights and len(shape) == 4 and shape[1] * stride >= side:
            layer.trainable = False


def layer_rates(model: keras.Model, config: TrainConfig) -> list[float]:
    """Returns each trainable tensor's share of the learning rate, in (0, 1].

    ``config.first_layer_rate`` for the first layer, 1 for the last, geometric between
    (Howard and Ruder, "Universal language model fine-tuning", 2018).
    """
    layers = [layer for layer in leaf_layers(model) if layer.trainable_weights]
    shares = np.geomspace(config.first_layer_rate, 1.0, num=len(layers))
    return [
        float(share)
        for layer, share in zip(layers, shares, strict=True)
        for _ in layer.trainable_weights
    ]


def build_optimizer(
    config: TrainConfig, steps_per_epoch: int, rates: Sequence[float] = ()
) -> keras.optimizers.Optimizer:
    """Returns the optimizer of a run.

    Args:
        config: The configuration.
        steps_per_epoch: Batches in an epoch.
        rates: As ``layer_rates`` returns them.
    """
    # Keras fixes these at construction: they cannot be set on a finished optimizer.
    options: dict[str, Any] = {
        "learning_rate": config.learning_rate,
        "weight_decay": config.weight_decay or None,
        "use_ema": config.ema_epochs > 0,
        "ema_momentum": 1 - 1 / ema_horizon_steps(config, steps_per_epoch),
    }
    if config.optimizer != "adam":
        options["learning_rate"] = schedule(config, steps_per_epoch)
    kind = keras.optimizers.Adam
    if config.optimizer == "sgd":
        kind = keras.optimizers.SGD
        options |= {"momentum": 0.9, "nesterov": True}
    if any(rate != 1 for rate in rates):
        optimizer = _with_rates(kind, rates)(**options)
    else:
        optimizer = kind(**options)
    optimizer.exclude_from_weight_decay(var_names=["gamma", "beta", "bias"])
    return optimizer


def _with_rates(kind: Any, rates: Sequence[float]) -> Any:
    """Returns an optimizer class that steps each tensor at its own rate."""

    class LayerRates(kind):
        def update_step(self, gradient: Any, variable: Any, learning_rate: Any) -> None:
            rate = rates[self._get_variable_index(variable)]
            super().update_step(gradient, variable, learning_rate * rate)

    return LayerRates


def ema_horizon_steps(config: TrainConfig, steps_per_epoch: int) -> float:
    """Returns the number of steps over which the weights are averaged, at least 2."""
    # In a short run a long average would still contain the initial weights, which do
    # not fit BatchNorm's statistics: those are of the newest weights.
    epochs = min(config.ema_epochs, config.epochs / 15)
    return max(2.0, epochs * steps_per_epoch)


def schedule(
    config: TrainConfig, steps_per_epoch: int
) -> keras.optimizers.schedules.LearningRateSchedule:
    """Returns a linear warm-up and then a cosine decay to zero, over the whole run."""
    total = config.epochs * steps_per_epoch
    warmup = min(round(config.warmup_epochs * steps_per_epoch), total // 3)
    return keras.optimizers.schedules.CosineDecay(
        initial_learning_rate=0.0 if warmup else config.learning_rate,
        decay_steps=max(1, total - warmup),
        warmup_target=config.learning_rate if warmup else None,
        warmup_steps=warmup,
    )


def devices() -> list[str]:
    """Returns the names of the devices Keras trains on, such as ``["gpu:0"]``."""
    if backend_name() == "torch":  # has no keras.distribution
        return [str(keras.ops.zeros(()).device)]
    found: list[str] = keras.distribution.list_devices()
    return found
