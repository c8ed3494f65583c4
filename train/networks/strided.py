"""1x1 convolutions with a stride, computed as those without one.

oneDNN (of TensorFlow 2.21, with AVX-512) writes beyond its memory in the gradient of a
1x1 kernel with a stride, of fewer than 16 channels and an even side: a training ended
with "malloc(): corrupted top size", or went on with damaged memory. Every second pixel
and then a convolution without a stride is the same.
"""

from __future__ import annotations

from functools import partial
from typing import Any

import keras

from train.networks.blocks import leaf_layers

Tensor = Any
FEWEST_CHANNELS = 16


def convolve(inputs: Tensor, kernel: Tensor, *, layer: keras.layers.Conv2D) -> Tensor:
    """Returns what the layer gives with this kernel, without its bias.

    Args:
        inputs: (N, H, W, C).
        kernel: (height, width, C, filters).
        layer: Says stride, padding and dilation.
    """
    strides = layer.strides
    if _is_affected(layer, kernel.shape[2]):
        down, right = strides
        inputs, strides = inputs[:, ::down, ::right], (1, 1)
    how = (strides, layer.padding, layer.data_format, layer.dilation_rate)
    return keras.ops.conv(inputs, kernel, *how)


def avoid_strides(model: keras.Model) -> None:
    """Makes the affected layers of a model compute so; its file does not change."""
    for layer in leaf_layers(model):
        if type(layer) is keras.layers.Conv2D and _is_affected(
            layer, layer.kernel.shape[2]
        ):
            layer.convolution_op = partial(convolve, layer=layer)


def _is_affected(layer: keras.layers.Conv2D, channels: int) -> bool:
    return (
        tuple(layer.kernel_size) == (1, 1)
        and max(layer.strides) > 1
        and channels < FEWEST_CHANNELS
        and layer.data_format == "channels_last"
    )
