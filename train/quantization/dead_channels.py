"""Weights of channels that have died, large enough that their bias is an int32.

A channel that a training has switched off has weights of nearly 0, and the offset of
its BatchNorm as bias. The step of the bias is that of the input times that of the
weights: so small that the bias is more steps than int32 counts. Cut off there, the
channel answers something else. EfficientNet-Lite0 as published has 87 such channels.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from train.quantization.grid import LARGEST_WEIGHT, grid_of
from train.quantization.ranges import ActivationRange

Values = npt.NDArray[np.float32]

ROOM_FOR_BIAS = 2**30  # steps; the other half of int32 is for the products


def enlarged(kernel: Values, least: npt.NDArray[np.floating]) -> Values | None:
    """Returns the kernel with one weight of each dead channel larger; None if all live.

    Args:
        kernel: float32 (channels, weights).
        least: (channels,), below which the largest weight is too small.
    """
    dead = np.abs(kernel).max(axis=1) < least
    if not dead.any():
        return None
    values = kernel.copy()
    values[dead, 0] = least[dead]
    return values


def with_room_for_bias(
    kernel: Values, bias: Values, inputs: ActivationRange
) -> Values | None:
    """Returns the kernel whose bias int32 can count; None if it is as it was.

    The weight adds at most ``LARGEST_WEIGHT / ROOM_FOR_BIAS`` of the bias for each step
    of its input.

    Args:
        kernel: float32 (channels, weights).
        bias: float32 (channels,).
        inputs: The range of what the kernel is applied to.
    """
    step = grid_of(inputs).step
    return enlarged(kernel, np.abs(bias) * (LARGEST_WEIGHT / ROOM_FOR_BIAS / step))
