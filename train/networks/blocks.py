"""Building blocks of the networks, of layers that quantize well.

Convolution, BatchNorm directly after it (it is folded into the convolution), ReLU,
addition. No other activation, no attention, no bias before BatchNorm.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import keras
from keras import layers

Tensor = Any  # a symbolic Keras tensor; Keras ships no types for it


class Scale(NamedTuple):
    """How much wider and deeper a network is than its name says.

    After Zagoruyko and Komodakis, "Wide residual networks" (2016).

    Attributes:
        width: Factor of the filters of every layer.
        depth: Factor of the number of blocks of every width.
    """

    width: float = 1.0
    depth: int = 1

    def filters(self, count: int) -> int:
        """Returns scaled filters: a multiple of 4, at least 4; at width 1 the same."""
        if self.width == 1:
            return count
        return max(4, round(count * self.width / 4) * 4)


FULL = Scale()


def conv_bn_relu(x: Tensor, filters: int, kernel: int, *, stride: int = 1) -> Tensor:
    """Returns convolution, BatchNorm and ReLU of (N, H, W, C), same-padded."""
    return layers.ReLU()(conv_bn(x, filters, kernel, stride=stride))


def conv_bn(x: Tensor, filters: int, kernel: int, *, stride: int = 1) -> Tensor:
    """Returns convolution and BatchNorm of (N, H, W, C), without activation."""
    x = layers.Conv2D(
        filters,
        kernel,
        strides=stride,
        padding="same",
        use_bias=False,
        kernel_initializer="he_normal",
    )(x)
    return layers.BatchNormalization(momentum=0.9)(x)


def separable_bn(x: Tensor, filters: int) -> Tensor:
    """Returns depthwise 3x3, pointwise convolution and BatchNorm of (N, H, W, C)."""
    x = layers.SeparableConv2D(filters, 3, padding="same", use_bias=False)(x)
    return layers.BatchNormalization()(x)


def residual(x: Tensor, filters: int, *, stride: int = 1) -> Tensor:
    """Returns ReLU(x + two 3x3 convolutions of x), the block of He et al. (2015).

    Args:
        x: float32 (N, H, W, C).
        filters: Channels of the result; where they or the size change, the shortcut
            is a 1x1 convolution with BatchNorm.
        stride: 2 halves height and width.
    """
    shortcut = x
    if stride != 1 or x.shape[-1] != filters:
        shortcut = conv_bn(x, filters, 1, stride=stride)
    x = conv_bn_relu(x, filters, 3, stride=stride)
    x = conv_bn(x, filters, 3)
    return layers.ReLU()(layers.Add()([x, shortcut]))


def leaf_layers(model: keras.Model) -> Iterator[keras.Layer]:
    """Yields the layers of a model, and those of models inside it, in their order."""
    for layer in model.layers:
        if isinstance(layer, keras.Model):
            yield from leaf_layers(layer)
        else:
            yield layer
