"""Biases that make up for rounded weights, so that the mean of each channel stays.

The rounding errors of a kernel's weights do not cancel: what it is applied to is mostly
positive after a ReLU, so that they add up to an offset of the channel. The deeper and
the narrower the layers, the more; depthwise kernels have nine weights. The offset is
known: error times mean of the inputs. Nagel et al., Data-Free Quantization Through
Weight Equalization and Bias Correction, https://arxiv.org/abs/1906.04721, section 4.2,
with means measured on images. What it gains is in docs/background/quantization.md.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from train.quantization.grid import LARGEST_WEIGHT

Values = npt.NDArray[np.float32]


def bias_shift(kernel: Values, means: Sequence[float]) -> Values:
    """Returns what to add to the biases, float32 (outputs,).

    That a convolution reads zeros beyond the border of an image is left out. Counting
    them changed nothing.

    Args:
        kernel: float32 (outputs, inputs, taps): of a grouped convolution the inputs of
            one group, of a depthwise one 1.
        means: Of all channels that it is applied to, group after group.
    """
    outputs, inputs, _ = kernel.shape
    exact = kernel.astype(np.float64)
    step = np.abs(exact).max(axis=(1, 2), keepdims=True) / LARGEST_WEIGHT
    step[step == 0] = 1.0
    errors = (exact - np.rint(exact / step) * step).sum(axis=2)
    by_group = np.asarray(means).reshape(-1, inputs)
    by_output = np.repeat(by_group, outputs // len(by_group), axis=0)
    return np.asarray((errors * by_output).sum(axis=1), np.float32)
