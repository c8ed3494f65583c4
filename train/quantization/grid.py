"""The steps of int8: those that ai-edge-quantizer and ONNX Runtime make of a range."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from train.quantization.ranges import ActivationRange

STEPS = 255
LARGEST_WEIGHT = 127  # symmetric: -128 is not used
LARGEST_BIAS = 2**31 - 128  # of int32, as a float32
SMALLEST_RANGE = 1e-9


class Grid(NamedTuple):
    """The values that a rounded tensor can have: whole numbers of steps.

    Attributes:
        step: The scale.
        low: The smallest number of steps, at most 0; 0.0 is always a value.
        high: The largest, at least 0, 255 above it.
    """

    step: float
    low: int
    high: int


PIXELS = Grid(1.0, 0, STEPS)


def grid_of(values: ActivationRange) -> Grid:
    """Returns the steps of a tensor with this range."""
    low, high = np.float32(min(0.0, values[0])), np.float32(max(0.0, values[1]))
    step = max(high - low, np.float32(SMALLEST_RANGE)) / np.float32(STEPS)
    lowest = round(float(low / step))  # ties to even, as rint
    return Grid(float(step), lowest, lowest + STEPS)


def range_of_pixels(scale: float, offset: float) -> ActivationRange:
    """Returns the range of scaled pixels in which none lies between two steps.

    Where 0.0 is in the middle between the values of two pixels, as for -1..1, the steps
    are a little larger than the pixels', and not the same everywhere.
    """
    low, high = offset, 255 * scale + offset
    step = (high - low) / STEPS
    if low >= 0 or abs(low / step - round(low / step)) < 0.1:
        return low, high
    step = max(-low, high) / LARGEST_WEIGHT
    return -LARGEST_WEIGHT * step, (LARGEST_WEIGHT + 1) * step
