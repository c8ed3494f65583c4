"""Rounds the first convolution so that an even area stays what it was.

Its inputs are pixels, which are all positive and nearly the same as their neighbours:
the rounding errors of a kernel's weights do not cancel, but add up to a share of the
brightness. Most first kernels look for differences and answer an even area with almost
nothing, so that this is large beside what they answer. Here the weights of a kernel are
rounded up or down so that their sum stays, with the largest remainders up; what is
left (at most half a step) is taken from the bias, for a picture of middle brightness.
Nothing but the weights decides, so it needs no images and is the same everywhere.
What it gains is in docs/records/experiments.md.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Values = npt.NDArray[np.float32]

LARGEST = 127
MIDDLE_PIXEL = 127.5


def round_evenly(kernel: Values) -> tuple[Values, Values]:
    """Returns a kernel on the steps of int8, and what to add to the bias.

    Args:
        kernel: float32 (outputs, inputs, taps), applied to pixels 0..255. Each output
            has its own scale, so that its largest weight is 127 steps.

    Returns:
        The kernel, float32 of the same shape, whose largest weights are unchanged; and
        float32 (outputs,) for the bias.
    """
    outputs, inputs, taps = kernel.shape
    exact = kernel.astype(np.float64)
    peak = np.abs(exact).max(axis=(1, 2), keepdims=True)
    peak[peak == 0] = 1.0
    steps = (exact * LARGEST / peak).reshape(outputs * inputs, taps)
    down = np.floor(steps)
    remainders = steps - down
    up = np.rint(remainders.sum(axis=1, keepdims=True))
    order = np.argsort(-remainders, axis=1, kind="stable")
    rank = np.argsort(order, axis=1, kind="stable")
    rounded = down + (rank < up)
    left = (rounded - steps).reshape(kernel.shape) * peak / LARGEST
    values = rounded.reshape(kernel.shape) * peak / LARGEST
    return (
        values.astype(np.float32),
        (-MIDDLE_PIXEL * left.sum(axis=(1, 2))).astype(np.float32),
    )
