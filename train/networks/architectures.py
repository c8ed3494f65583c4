"""The networks ``--arch`` offers: raw pixels 0..255 in, logits out.

Each begins with ``Rescaling(1/255)``, so that no caller normalises pixels, and ends in
a Dense layer without softmax, so that the quantized file keeps the range of the logits.
The layers are those that quantize well: convolution, BatchNorm directly after it (it is
folded), ReLU, addition, pooling.

Each network is a function from pixels, float32 (N, H, W, C) in [0, 1], to the features
that the Dense layer reads, float32 (N, features). Those of ``SCALABLE_NAMES`` take a
``Scale``, too: how wide and deep they are.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import keras
from keras import layers

from edge_runtime.errors import FerEdgeError
from train.networks import efficientnet_lite, mobilenet_v2
from train.networks.blocks import (
    FULL,
    Scale,
    Tensor,
    conv_bn_relu,
    leaf_layers,
    residual,
    separable_bn,
)
from train.networks.own import own_features
from train.options.config import SCALABLE_NAMES, SMALLEST_SIZE_PX, is_own


def build_model(
    arch: str, *, size_px: int, channels: int, classes: int, scale: Scale = FULL
) -> keras.Model:
    """Returns a freshly initialised network.

    Args:
        arch: One of ``ARCHITECTURES``, or a function of the user's own, see
            ``train.networks.own``.
        size_px: Side of the square input in pixels, at least 16.
        channels: 1 for grey, 3 for RGB.
        classes: Number of classes, at least 2.
        scale: Width and depth, for networks of ``SCALABLE_NAMES``.

    Returns:
        A functional model from float32 (N, size_px, size_px, channels) pixels in
        [0, 255] to float32 (N, classes) logits.

    Raises:
        FerEdgeError: Unknown architecture, or an input it cannot take.
    """
    if arch not in ARCHITECTURES and not is_own(arch):
        raise FerEdgeError(f"expected --arch of {sorted(ARCHITECTURES)}, got {arch!r}")
    network = own_features(arch) if is_own(arch) else ARCHITECTURES[arch]
    if size_px < SMALLEST_SIZE_PX:
        raise FerEdgeError(
            f"expected images of at least {SMALLEST_SIZE_PX} pixels, got {size_px}"
        )
    scaling = (scale,) if arch in SCALABLE_NAMES else ()
    if scale != FULL and not scaling:
        raise FerEdgeError(f"{arch} has one width and depth, got {scale}")
    inputs = keras.Input((size_px, size_px, channels), name="pixels")
    features = network(layers.Rescaling(1 / 255)(inputs), *scaling)
    # float32 whatever the precision policy: bfloat16 logits have three digits.
    logits = layers.Dense(classes, dtype="float32", name="logits")(features)
    return keras.Model(inputs, logits, name=arch.rpartition(":")[2])


def fer_resnet(x: Tensor, scale: Scale = FULL) -> Tensor:
    """Returns the features of a small residual net: 1.32 M parameters, 58.5 MMACs.

    Dense 3x3 convolutions with BatchNorm and ReLU, widths 24 to 192, global average
    pooling; the figures hold for 48x48 grey input and seven classes. After He et al.,
    "Deep residual learning for image recognition" (2015), shrunk for 48x48 pixels.
    """
    return _residual_net(
        x, ((24, 1), (32, 2)), (32, 64, 64, 128, 128, 192), 256, 0.2, scale
    )


def fer_plain(x: Tensor, scale: Scale = FULL) -> Tensor:
    """Returns the features of a net without shortcuts: 1.14 M parameters, 58.2 MMACs.

    Two 3x3 convolutions on each of five sizes, max pooling between them, at the cost of
    ``fer_resnet``. After Simonyan and Zisserman, "Very deep convolutional networks"
    (2014).
    """
    for filters in (16, 48, 96, 160):
        x = _convolutions(x, 2, filters, scale)
        x = layers.MaxPooling2D(2, padding="same")(x)
    x = _convolutions(x, 2, 192, scale)
    return layers.Dropout(0.2)(layers.GlobalAveragePooling2D()(x))


def fer_wide(x: Tensor, scale: Scale = FULL) -> Tensor:
    """Returns the features of a shallow, wide net: 1.11 M parameters, 58.8 MMACs.

    Five convolutions, one on each size, at the cost of ``fer_resnet``.
    """
    x = conv_bn_relu(x, scale.filters(48), 5, stride=2)
    for filters in (96, 144, 224):
        x = _convolutions(x, 1, filters, scale)
        x = layers.MaxPooling2D(2, padding="same")(x)
    x = _convolutions(x, 1, 320, scale)
    return layers.Dropout(0.2)(layers.GlobalAveragePooling2D()(x))


def fer_lowres(x: Tensor, scale: Scale = FULL) -> Tensor:
    """Returns the features of a net that shrinks early: 0.85 M parameters, 57.7 MMACs.

    A quarter of the side after two convolutions; what this saves at 48x48 and 24x24
    pixels is spent on width at 12x12 and 6x6.
    """
    return _residual_net(x, ((32, 2), (80, 2)), (80, 80, 128, 128), 320, 0.2, scale)


def fer_small(x: Tensor, scale: Scale = FULL) -> Tensor:
    """Returns the features of a net for the smallest boards: 0.24 M, 24.2 MMACs.

    ``fer_resnet`` with half its widths and one block on each size.
    """
    return _residual_net(x, ((16, 1), (24, 2)), (24, 48, 48, 96), 192, 0.1, scale)


def fer_tiny(x: Tensor, scale: Scale = FULL) -> Tensor:
    """Returns the features of a net for microcontrollers: 0.29 M, 13.9 MMACs.

    ``fer_small`` with narrower layers and one more block.
    """
    return _residual_net(x, ((12, 1), (16, 2)), (16, 36, 36, 72, 96), 128, 0.1, scale)


def fer_teacher_resnet(x: Tensor, scale: Scale = FULL) -> Tensor:
    """Returns the features of a residual teacher: 2.72 M parameters, 128 MMACs.

    ``fer_resnet``, one and a half times as wide; too large for small boards.
    """
    stem, widths = ((32, 1), (48, 2)), (48, 96, 96, 192, 192, 256)
    return _residual_net(x, stem, widths, 384, 0.4, scale)


def fer_teacher_vgg(x: Tensor, scale: Scale = FULL) -> Tensor:
    """Returns the features of a teacher without shortcuts: 2.46 M, 149 MMACs.

    ``fer_plain``, one and a half times as wide, with dropout after each pooling.
    """
    for filters in (32, 80, 144, 224):
        x = _convolutions(x, 2, filters, scale)
        x = layers.MaxPooling2D(2, padding="same")(x)
        x = layers.Dropout(0.1)(x)
    x = _convolutions(x, 2, 288, scale)
    return layers.Dropout(0.4)(layers.GlobalAveragePooling2D()(x))


def _residual_net(
    x: Tensor,
    stem: Sequence[tuple[int, int]],
    widths: Sequence[int],
    head: int,
    dropout: float,
    scale: Scale,
) -> Tensor:
    """Returns the pooled features of a residual net.

    Args:
        x: float32 (N, H, W, C).
        stem: Filters and stride of the first 3x3 convolutions.
        widths: Filters of each residual block; where they grow, the size is halved.
        head: Filters of the last, 1x1 convolution.
        dropout: Share of its features that are dropped in training.
        scale: Width and depth: each block is repeated.
    """
    for filters, stride in stem:
        x = conv_bn_relu(x, scale.filters(filters), 3, stride=stride)
    before = stem[-1][0]
    for filters in widths:
        stride = 1 if filters == before else 2
        x = residual(x, scale.filters(filters), stride=stride)
        for _ in range(scale.depth - 1):
            x = residual(x, scale.filters(filters))
        before = filters
    x = conv_bn_relu(x, scale.filters(head), 1)
    return layers.Dropout(dropout)(layers.GlobalAveragePooling2D()(x))


def _convolutions(x: Tensor, count: int, filters: int, scale: Scale) -> Tensor:
    """Returns 3x3 convolutions in a row, at scale 1 ``count`` of them."""
    for _ in range(count * scale.depth):
        x = conv_bn_relu(x, scale.filters(filters), 3)
    return x


def notebook_cnn(x: Tensor) -> Tensor:
    """Returns the features of the origin project's network: 3.66 M parameters.

    Four convolutions (36, 128, 512, 512) with BatchNorm, ReLU, max pooling and
    dropout, then Dense 128; 238 MMACs at 48x48. Kept as the baseline.
    """
    for filters, kernel in ((36, 3), (128, 5), (512, 3), (512, 3)):
        x = layers.Conv2D(filters, kernel, padding="same")(x)
        x = layers.BatchNormalization()(x)
        x = layers.ReLU()(x)
        x = layers.MaxPooling2D(2)(x)
        x = layers.Dropout(0.25)(x)
    x = layers.Flatten()(x)
    x = layers.Dense(128)(x)
    x = layers.ReLU()(x)
    return layers.Dropout(0.5)(x)


def mini_xception(x: Tensor, scale: Scale = FULL) -> Tensor:
    """Returns the features of mini-Xception, the usual small peer.

    Separable convolutions with residual 1x1 shortcuts, widths 16 to 128; after
    Arriaga et al., "Real-time convolutional neural networks for emotion and gender
    classification" (2017). The original ends in a convolution with one filter per class
    and global pooling; pooling and the Dense layer are the same linear map.
    """
    for _ in range(2):
        x = conv_bn_relu(x, scale.filters(8), 3)
    for filters in map(scale.filters, (16, 32, 64, 128)):
        project = layers.Conv2D(filters, 1, strides=2, padding="same", use_bias=False)
        shortcut = layers.BatchNormalization()(project(x))
        x = separable_bn(x, filters)
        x = layers.ReLU()(x)
        x = separable_bn(x, filters)
        x = layers.MaxPooling2D(3, strides=2, padding="same")(x)
        x = layers.Add()([x, shortcut])
        for _ in range(scale.depth - 1):
            more = layers.ReLU()(separable_bn(x, filters))
            x = layers.Add()([separable_bn(more, filters), x])
    return layers.GlobalAveragePooling2D()(x)


ARCHITECTURES = {
    "fer_resnet": fer_resnet,
    "fer_plain": fer_plain,
    "fer_wide": fer_wide,
    "fer_lowres": fer_lowres,
    "fer_small": fer_small,
    "fer_tiny": fer_tiny,
    "fer_teacher_resnet": fer_teacher_resnet,
    "fer_teacher_vgg": fer_teacher_vgg,
    "notebook_cnn": notebook_cnn,
    "mini_xception": mini_xception,
    **{name: efficientnet_lite.features(name) for name in efficientnet_lite.VARIANTS},
    **{name: mobilenet_v2.features(name) for name in mobilenet_v2.WIDTHS},
}


def count_macs(model: keras.Model) -> int:
    """Returns the multiply-accumulate operations for one image.

    Convolutions, separable and depthwise ones, and Dense layers are counted; the rest
    is below one per cent in these networks.
    """
    return sum(_layer_macs(layer) for layer in leaf_layers(model))


def _layer_macs(layer: keras.Layer) -> int:
    kernels = [each.shape for each in layer.weights if each.name.endswith("kernel")]
    if not kernels:
        return 0
    places = math.prod(layer.output.shape[1:-1])  # 1 for a Dense layer
    return int(places * sum(map(math.prod, kernels)))
