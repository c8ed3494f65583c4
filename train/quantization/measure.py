"""Activation ranges from images: the whole ones, and those of least squared error.

The largest value of a tensor is one activation of one image. With it as the end of the
range all others share coarse steps. int8 therefore takes, from a grid of smaller copies
of the whole range, the one with the smallest squared error over the images, rounding
and clipping together. That is the "MSE" range setting of Nagel et al., A White Paper on
Neural Network Quantization, https://arxiv.org/abs/2106.08295, section 3.1. The
quantizer's own calibration averages the ranges of single images instead, which cuts off
the largest logits. docs/records/experiments.md compares them.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping

import numpy as np
import numpy.typing as npt

from edge_runtime.utils.stderr import progress_bar
from train.quantization.ranges import ActivationRange, MeasuredRanges, Ranges

BINS = 16384
STEPS = 255
Images = npt.NDArray[np.uint8]
Activations = Mapping[str, npt.NDArray[np.float32]]
# From the whole range down to a sixteenth of it, eight to the halving.
FACTORS = tuple(float(0.5 ** (k / 8)) for k in range(33))


def measure(
    read: Callable[[Images], Activations],
    batches: Iterable[Images],
    *,
    fixed: Ranges,
    unclipped: Collection[str],
    unit: str = "image",
) -> MeasuredRanges:
    """Returns the ranges of every activation over the images.

    Args:
        read: Returns the activations for some images, by name.
        batches: What it is called with.
        fixed: Ranges that are known, such as that of the pixels.
        unclipped: Names whose range stays whole. One is the output: the answer would
            stay the same, but the confidence of the surest ones would be cut off.
        unit: What a batch is called in the progress bar.
    """
    whole = {**_whole_ranges(read, batches, unit), **fixed}
    clippable = {
        name: (low, high)
        for name, (low, high) in whole.items()
        if name not in fixed and name not in unclipped and low < high
    }
    counts = _histograms(read, batches, clippable, unit)
    clipped = {name: least_squares(counts[name], clippable[name]) for name in clippable}
    return MeasuredRanges(whole, {**whole, **clipped})


def least_squares(
    counts: npt.NDArray[np.int64], whole: ActivationRange
) -> ActivationRange:
    """Returns the clipped range with the smallest squared error in int8.

    Args:
        counts: int64 (BINS,), how many values lie in each part of the range.
        whole: The smallest and the largest value.
    """
    low, high = whole
    filled = np.flatnonzero(counts)
    values = np.linspace(low, high, 2 * BINS + 1)[1::2][filled]  # centres of the parts
    candidates = [(low * factor, high * factor) for factor in FACTORS]
    errors = [_squared_error(values, counts[filled], *one) for one in candidates]
    return candidates[int(np.argmin(errors))]  # of equal ones the widest


def _squared_error(
    values: npt.NDArray[np.float64],
    counts: npt.NDArray[np.int64],
    low: float,
    high: float,
) -> float:
    """Returns the summed squared error of values in 256 steps from low to high."""
    low, high = min(0.0, low), max(0.0, high)  # 0.0 must be one of the steps
    step = (high - low) / STEPS
    first = np.rint(low / step)
    rounded = np.clip(np.rint(values / step), first, first + STEPS) * step
    return float(np.sum(np.square(rounded - values) * counts))


def _whole_ranges(
    read: Callable[[Images], Activations], batches: Iterable[Images], unit: str
) -> Ranges:
    """Returns the smallest and the largest value of every activation."""
    ranges: Ranges = {}
    for batch in progress_bar(batches, "measuring ranges", unit=unit):
        for name, values in read(batch).items():
            low, high = ranges.get(name, (np.inf, -np.inf))
            ranges[name] = (
                min(low, float(values.min())),
                max(high, float(values.max())),
            )
    return ranges


def _histograms(
    read: Callable[[Images], Activations],
    batches: Iterable[Images],
    ranges: Ranges,
    unit: str,
) -> dict[str, npt.NDArray[np.int64]]:
    """Returns the counts of values in equal parts of each range, int64 (BINS,)."""
    counts = {name: np.zeros(BINS, dtype=np.int64) for name in ranges}
    for batch in progress_bar(batches, "clipping ranges", unit=unit):
        activations = read(batch)
        for name, (low, high) in ranges.items():
            places = (activations[name].ravel() - low) * (BINS / (high - low))
            inside = np.clip(places.astype(np.int64), 0, BINS - 1)
            counts[name] += np.bincount(inside, minlength=BINS)
    return counts
