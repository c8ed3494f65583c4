"""The activation ranges of a converted model."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from export.calibration.activations import ActivationReader
from train.quantization.measure import measure
from train.quantization.ranges import PIXEL_RANGE, MeasuredRanges


def measure_ranges(
    reader: ActivationReader, images: npt.NDArray[np.uint8]
) -> MeasuredRanges:
    """Returns the ranges of every activation over the images.

    The input's range is always [0, 255]: then its scale is 1, and quantizing a pixel
    loses nothing.

    Args:
        reader: Of the float32 model.
        images: uint8 (N, S, S, C), raw pixels.
    """
    fixed = {reader.input: PIXEL_RANGE}
    return measure(reader.read, images, fixed=fixed, unclipped=[reader.output])
