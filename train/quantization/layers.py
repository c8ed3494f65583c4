"""Layers that compute as the operators of an int8 file do, and can be trained.

Between them run whole numbers of steps, so that the sums are those of the file's
integers. Rounding has no slope: backwards it is passed over, as in Bengio et al.,
"Estimating or propagating gradients through stochastic neurons" (2013) and Jacob et
al., "Quantization and training of neural networks for efficient
integer-arithmetic-only inference" (2018). What a range cuts off has no slope either.

Without grids they compute in float: what the operators give before rounding.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras
from keras import layers, ops

from train.networks.strided import convolve
from train.quantization.grid import (
    LARGEST_BIAS,
    LARGEST_WEIGHT,
    SMALLEST_RANGE,
    Grid,
)
from train.quantization.operators import (
    ADDING,
    DEPTHWISE,
    POINTWISE,
    Activation,
    Int8Operator,
)

Tensor = Any


def straight_through(values: Tensor) -> Tensor:
    """Returns rounded values, with the slope of the values as they were."""
    return values + ops.stop_gradient(ops.round(values) - values)


class Simulated(keras.layers.Layer):
    """An operator of the exported file: sums, then one rounding."""

    def __init__(
        self, operator: Int8Operator, sources: Sequence[Grid], grid: Grid | None
    ) -> None:
        """Takes the operator, the grids of its inputs and that of its output.

        Args:
            operator: The operator; the weights are those of its layers.
            sources: One grid for each input.
            grid: None to compute in float: the sources are not used then.
        """
        super().__init__()
        self._operator, self._grid = operator, grid
        if kernel_of(operator) is not None:
            self.layer, self.norm = operator.layer, operator.norm  # Keras finds them
        # No constants: TensorFlow would compute with them in another order than the
        # file, with the reciprocal of a divisor, and so end at other steps.
        step = 1.0 if grid is None else grid.step
        values = [LARGEST_WEIGHT, step, *(source.step for source in sources)]
        self._numbers = self.add_weight(
            shape=(len(values),),
            initializer=lambda shape, dtype=None: ops.array(values, dtype),
            trainable=False,
            name="numbers",
        )

    def call(self, inputs: Sequence[Tensor]) -> Tensor:
        """Returns whole numbers of steps; in float the values.

        Args:
            inputs: The same of the tensors that the operator reads.
        """
        if kernel_of(self._operator) is not None:
            return self._weighted(inputs[0])
        if self._grid is None:
            return activate(self._plain(inputs), self._operator.activation)
        _, step, *steps = ops.unstack(self._numbers)
        pairs = zip(inputs, steps, strict=True)
        return self._rounded(self._plain([x * each for x, each in pairs]) / step)

    def _plain(self, inputs: Sequence[Tensor]) -> Tensor:
        """Returns what an operator without weights gives, in float."""
        layer = self._operator.layer
        if type(layer) in ADDING:
            return inputs[0] + inputs[1]
        if isinstance(layer, layers.GlobalAveragePooling2D):
            return ops.mean(inputs[0], axis=(1, 2), keepdims=layer.keepdims)
        if isinstance(layer, layers.AveragePooling2D):
            how = (layer.pool_size, layer.strides, layer.padding)
            return ops.average_pool(inputs[0], *how)
        if isinstance(layer, layers.Rescaling):
            return inputs[0] * layer.scale + layer.offset
        return inputs[0]  # of a ReLU on its own

    def _weighted(self, values: Tensor) -> Tensor:
        operator = self._operator
        kernel, bias = kernel_of(operator) * operator.scale, bias_of(operator)
        if self._grid is None:
            summed = apply_kernel(operator, values, kernel) + bias
            return activate(summed, operator.activation)
        largest_weight, step, source_step = ops.unstack(self._numbers)
        axes = channel_axes(operator)
        others = [axis for axis in range(len(kernel.shape)) if axis not in axes]
        largest = ops.max(ops.abs(kernel), axis=others, keepdims=True)
        scales = ops.maximum(largest, SMALLEST_RANGE) / largest_weight
        scales = ops.stop_gradient(scales)
        weights = straight_through(kernel / scales)
        units = source_step * ops.reshape(scales, (-1,))
        summed = apply_kernel(operator, values, weights)
        most = float(LARGEST_BIAS)
        summed = summed + straight_through(ops.clip(bias / units, -most, most))
        return self._rounded(summed * (units / step))

    def _rounded(self, values: Tensor) -> Tensor:
        """Returns the nearest steps within the grid and behind the activation."""
        grid = self._grid
        if grid is None:
            return values
        low, high = grid.low, grid.high
        if self._operator.activation != "linear":
            low = max(0, low)
        if self._operator.activation == "relu6":
            high = min(round(6 / grid.step), high)
        return straight_through(ops.clip(values, low, high))


def activate(values: Tensor, activation: Activation) -> Tensor:
    """Returns the values behind an activation, in float."""
    if activation == "relu6":
        return ops.relu6(values)
    return ops.relu(values) if activation == "relu" else values


def apply_kernel(operator: Int8Operator, values: Tensor, kernel: Tensor) -> Tensor:
    """Returns the sums of an operator with this kernel, without its bias."""
    layer = operator.layer
    if operator.part == POINTWISE:
        return ops.conv(values, kernel)
    if isinstance(layer, layers.Dense):
        return ops.matmul(values, kernel)
    if operator.part == DEPTHWISE or isinstance(layer, layers.DepthwiseConv2D):
        how = (layer.strides, layer.padding, None, layer.dilation_rate)
        return ops.depthwise_conv(values, kernel, *how)
    return convolve(values, kernel, layer=layer)


def kernel_of(operator: Int8Operator) -> Any:
    """Returns the variable with an operator's weights; None where it has none."""
    layer = operator.layer
    if operator.part == POINTWISE:
        return layer.pointwise_kernel
    if operator.part == DEPTHWISE:
        return layer.depthwise_kernel
    return getattr(layer, "kernel", None)


def bias_of(operator: Int8Operator) -> Tensor:
    """Returns what an operator adds to its sums; its BatchNorm has been folded."""
    norm = operator.norm
    total = 0.0 if norm is None else -1.0 * norm.moving_mean
    if norm is not None and norm.center:
        total = total + norm.beta
    layer = operator.layer
    if operator.part != DEPTHWISE and layer.use_bias:
        total = total + layer.bias
    return total


def channel_axes(operator: Int8Operator) -> tuple[int, ...]:
    """Returns the dimensions of the kernel that number the output's channels."""
    kernel = kernel_of(operator)
    last = len(kernel.shape) - 1
    layer = operator.layer
    if operator.part == DEPTHWISE or isinstance(layer, layers.DepthwiseConv2D):
        return (last - 1, last)
    return (last,)
