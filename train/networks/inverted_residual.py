"""Blocks of MobileNetV2 and EfficientNet-Lite: inverted residuals with ReLU6.

After Sandler et al., "MobileNetV2: Inverted residuals and linear bottlenecks" (2018).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import keras
from keras import layers

from train.networks.blocks import Tensor

_EPSILON = 1e-3  # of the published weights


class Block(NamedTuple):
    """An inverted residual: expansion, depthwise convolution, projection."""

    kernel: int
    stride: int
    expansion: int
    channels_in: int
    channels: int


class Stage(NamedTuple):
    """Blocks of one width, the first of which may halve the size."""

    blocks: int
    kernel: int
    stride: int
    expansion: int
    channels: int


def chain(stages: Sequence[Stage], stem: int) -> Iterator[Block]:
    """Yields the blocks of the stages in order.

    Args:
        stages: From the stem to the head.
        stem: Channels of the stem.
    """
    channels_in = stem
    for stage in stages:
        for index in range(stage.blocks):
            stride = 1 if index else stage.stride
            yield Block(
                stage.kernel, stride, stage.expansion, channels_in, stage.channels
            )
            channels_in = stage.channels


def rounded(channels: float) -> int:
    """Returns the nearest multiple of 8, at most 10 % below."""
    nearest = max(8, int(channels + 4) // 8 * 8)
    return nearest + 8 if nearest < 0.9 * channels else nearest


def pooled_features(
    x: Tensor, blocks: Sequence[Block], *, stem: int, head: int, momentum: float
) -> Tensor:
    """Returns the features of stem, blocks, head and global average pooling.

    Layers with weights are called ``stem``, ``block<n>_expand``,
    ``block<n>_depthwise``, ``block<n>_project`` and ``head``, and their BatchNorm the
    same with ``_bn``.

    Args:
        x: Scaled pixels, float32 (N, H, W, C).
        blocks: From ``chain``.
        stem: Filters of the first convolution.
        head: Filters of the last one, the number of features.
        momentum: Of BatchNorm.
    """
    x = _conv(x, stem, 3, stride=2, name="stem", momentum=momentum)
    for index, block in enumerate(blocks):
        x = _inverted_residual(x, block, f"block{index}", momentum)
    x = _conv(x, head, 1, stride=1, name="head", momentum=momentum)
    return layers.Dropout(0.2)(layers.GlobalAveragePooling2D()(x))


def _inverted_residual(x: Tensor, block: Block, name: str, momentum: float) -> Tensor:
    shortcut = x
    if block.expansion != 1:
        filters, expand = block.channels_in * block.expansion, f"{name}_expand"
        x = _conv(x, filters, 1, stride=1, name=expand, momentum=momentum)
    x = layers.DepthwiseConv2D(
        block.kernel,
        strides=block.stride,
        padding="same",
        use_bias=False,
        name=f"{name}_depthwise",
    )(x)
    x = layers.ReLU(6.0)(_batch_norm(f"{name}_depthwise", momentum)(x))
    x = layers.Conv2D(block.channels, 1, use_bias=False, name=f"{name}_project")(x)
    x = _batch_norm(f"{name}_project", momentum)(x)
    if block.stride == 1 and block.channels_in == block.channels:
        x = layers.Add()([shortcut, x])
    return x


def _conv(
    x: Tensor, filters: int, kernel: int, *, stride: int, name: str, momentum: float
) -> Tensor:
    x = layers.Conv2D(
        filters, kernel, strides=stride, padding="same", use_bias=False, name=name
    )(x)
    return layers.ReLU(6.0)(_batch_norm(name, momentum)(x))


def _batch_norm(name: str, momentum: float) -> keras.Layer:
    return layers.BatchNormalization(
        momentum=momentum, epsilon=_EPSILON, name=f"{name}_bn"
    )
