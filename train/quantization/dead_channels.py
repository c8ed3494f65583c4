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

LARGEST_BIAS = 2**30  # steps; the other half of int32 is for the products


def with_room_for_bias(
    kernel: Values, bias: Values, inputs: ActivationRange
) -> Values | None:
    """Returns the kernel with one weight of each dead channel larger; None if all live.

    The weight adds at most ``LARGEST_WEIGHT / LARGEST_BIAS`` of the bias for each step
    of its input.

    Args:
        kernel: float32 (channels, weights).
        bias: float32 (channels,).
        inputs: The range of what the kernel is applied to.
    """
    step = grid_of(inputs).step
    least = np.abs(bias) * (LARGEST_WEIGHT / LARGEST_BIAS / step)
    dead = np.abs(kernel).max(axis=1) < least
    if not dead.any():
        return None
    enlarged = kernel.copy()
    enlarged[dead, 0] = least[dead]
    return enlarged
