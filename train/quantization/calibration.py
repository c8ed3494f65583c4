"""The ranges that a network is trained with: measured once, before the first step."""

from __future__ import annotations

from collections.abc import Sequence

import keras
import numpy as np
import numpy.typing as npt
from keras import layers

from train.quantization.grid import range_of_pixels
from train.quantization.measure import measure
from train.quantization.network import PRODUCT, points
from train.quantization.operators import Int8Operator
from train.quantization.ranges import Ranges

VALUES_AT_ONCE = 32 * 48 * 48  # pixels of the images whose activations are in memory


def calibrate(
    model: keras.Model, operators: Sequence[Int8Operator], images: npt.NDArray[np.uint8]
) -> Ranges:
    """Returns the range of each of the network's ``points``, clipped for int8.

    Args:
        model: Takes raw pixels, gives logits; its BatchNorms are folded.
        operators: The model's.
        images: uint8 (N, S, S, C), training images in raw pixels.
    """
    network = points(model, operators)
    size = max(1, VALUES_AT_ONCE // images.shape[1] ** 2)
    batches = [images[start : start + size] for start in range(0, len(images), size)]
    return measure(
        network.predict_on_batch,
        batches,
        fixed=pixel_ranges(model, operators),
        unclipped=[operators[-1].name],
        unit="batch",
    ).clipped


def pixel_ranges(model: keras.Model, operators: Sequence[Int8Operator]) -> Ranges:
    """Returns the ranges of scaled pixels; mostly nothing is lost in them."""
    found: Ranges = {}
    scalings = {id(model.inputs[0]): (1.0, 0.0)}
    for operator in operators:
        layer = operator.layer
        if type(layer) is not layers.Rescaling:
            continue
        scale, offset = (x * layer.scale for x in scalings[id(operator.inputs[0])])
        if layer.offset:
            found[f"{operator.name}/{PRODUCT}"] = range_of_pixels(scale, offset)
        offset += layer.offset
        found[operator.name] = range_of_pixels(scale, offset)
        scalings[id(operator.output)] = (scale, offset)
    return found
