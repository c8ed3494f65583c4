"""Gives a network the weights that its exported file is rounded from.

The converters fold BatchNorm into the weights before it, and the exporter rounds the
first convolution evenly. Done before the training, the weights that are rounded there
are those that the file has; and what is saved is a model of the same layers.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
import numpy.typing as npt
from keras import layers

from train.quantization.dead_channels import enlarged
from train.quantization.even_rounding import round_evenly
from train.quantization.layers import channel_axes, kernel_of
from train.quantization.operators import Int8Operator

Floats = npt.NDArray[np.floating]
SMALLEST_WEIGHT = 1e-4  # as a share of what the channel adds


def fold_batch_norms(operators: Sequence[Int8Operator]) -> None:
    """Multiplies every BatchNorm into the weights before it.

    What it adds remains: as its offset, where it has none as the layer's bias, without
    either as a mean that is not trained. Scale and statistics change nothing then.
    """
    for operator in operators:
        norm, layer = operator.norm, operator.layer
        if norm is None:
            continue
        factor = 1 / np.sqrt(np.asarray(norm.moving_variance, float) + norm.epsilon)
        if norm.scale:
            factor = factor * np.asarray(norm.gamma)
            norm.gamma.assign(np.ones_like(factor))
            norm.gamma.trainable = False
        bias = np.asarray(layer.bias) if layer.use_bias else 0
        total = factor * (bias - np.asarray(norm.moving_mean))
        total = total + (np.asarray(norm.beta) if norm.center else 0)
        _scale_kernel(operator, factor, least=SMALLEST_WEIGHT * np.abs(total))
        norm.moving_variance.assign(np.full_like(factor, _variance(norm.epsilon)))
        norm.moving_mean.assign(np.zeros_like(factor))
        if layer.use_bias:
            layer.bias.assign(np.zeros_like(factor))
            layer.bias.trainable = not norm.center
        variable, sign = _place_of_bias(operator)
        variable.assign(sign * total)


def _scale_kernel(operator: Int8Operator, factor: Floats, *, least: Floats) -> None:
    """Multiplies each channel's weights, none of which is then dead.

    The exporter asks for less where it knows the range of the input, and finds nothing
    to change.
    """
    variable, axes = kernel_of(operator), channel_axes(operator)
    shape = variable.shape
    by_channel = [size if axis in axes else 1 for axis, size in enumerate(shape)]
    kernel = np.asarray(variable) * factor.reshape(by_channel)
    rows = kernel.reshape(-1, factor.size)  # channels are the last dimensions
    alive = enlarged(rows.T, least)
    variable.assign(kernel if alive is None else alive.T.reshape(shape))


def _variance(epsilon: float) -> np.float32:
    """Returns a float32 that makes exactly 1 with epsilon, where there is one."""
    small, one = np.float32(epsilon), np.float32(1)
    near = [one - small]
    near += [np.nextafter(near[0], end) for end in (np.float32(0), one)]
    return min(near, key=lambda variance: abs(variance + small - one))


def _place_of_bias(operator: Int8Operator) -> tuple[Any, int]:
    """Returns the variable for what an operator adds, and the sign in it, or 0."""
    norm, layer = operator.norm, operator.layer
    if norm is not None and norm.center:
        return norm.beta, 1
    if layer.use_bias:
        return layer.bias, 1
    return (None, 0) if norm is None else (norm.moving_mean, -1)


def round_first_kernels(model: keras.Model, operators: Sequence[Int8Operator]) -> None:
    """Rounds the convolutions of pixels as the exporter does, and freezes them.

    Their weights are not rounded to the nearest step, but so that their sums stay. Only
    what they add is trained: rounded once more they are the same.

    Args:
        model: Takes raw pixels.
        operators: The model's.
    """
    for operator in operators:
        kind, pixels = type(operator.layer), model.inputs[0]
        if kind is not layers.Conv2D or operator.inputs[0] is not pixels:
            continue
        variable, scale = operator.layer.kernel, np.float32(operator.scale)
        kernel = np.asarray(variable).transpose(3, 2, 0, 1) * scale
        rounded, shift = round_evenly(kernel.reshape(*kernel.shape[:2], -1))
        rounded = rounded.reshape(kernel.shape) / scale
        variable.assign(rounded.transpose(2, 3, 1, 0))
        variable.trainable = False
        bias, sign = _place_of_bias(operator)
        if sign:
            bias.assign_add(sign * shift)
