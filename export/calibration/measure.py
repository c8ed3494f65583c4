"""Activation ranges from images: the whole ones, and those of least squared error.

The largest value of a tensor is one activation of one image. With it as the end of the
range all others share coarse steps, so int8 takes the range that loses least in sum:
of a grid of smaller copies of the whole range the one with the smallest squared error
over the images, rounding and clipping together. That is the "MSE" range setting of
Nagel et al., A White Paper on Neural Network Quantization,
https://arxiv.org/abs/2106.08295, section 3.1. docs/records/experiments.md compares it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from export.calibration.ranges import PIXEL_RANGE, Measured, Range, Ranges
from train.progress import progress_bar

Image = npt.NDArray[np.uint8]
Reader = Callable[[Image], Mapping[str, npt.NDArray[np.float32]]]

BINS = 16384
STEPS = 255
# From the whole range down to a sixteenth of it, eight to the halving.
FACTORS = tuple(float(0.5 ** (k / 8)) for k in range(33))


@dataclass(frozen=True)
class ActivationRange:
    """Names of the tensors whose ranges are not a matter of measuring.

    Attributes:
        pixels: The input, pinned to [0, 255]: then its scale is 1 and quantizing a
            pixel loses nothing.
        logits: The output. It is never clipped: the answer would stay and the
            confidence of the surest ones would be cut off.
    """

    pixels: str
    logits: str


def measure(
    read: Reader, images: npt.NDArray[np.uint8], ends: ActivationRange
) -> Measured:
    """Returns the ranges of every activation over the images.

    Args:
        read: Returns all activations of one image, float32, by tensor name.
        images: uint8 (N, S, S, C), raw pixels.
        ends: Names of input and output.
    """
    whole = _whole(read, images)
    whole[ends.pixels] = PIXEL_RANGE
    inner = {
        name: ends_of
        for name, ends_of in whole.items()
        if name not in (ends.pixels, ends.logits) and ends_of[0] < ends_of[1]
    }
    counts = _histograms(read, images, inner)
    found = {name: least_squares(counts[name], inner[name]) for name in inner}
    return Measured(whole, {**whole, **found})


def least_squares(counts: npt.NDArray[np.int64], whole: Range) -> Range:
    """Returns the clipped range with the smallest squared error in int8.

    Args:
        counts: int64 (BINS,), how many values lie in each part of the range.
        whole: The smallest and the largest value.
    """
    low, high = whole
    filled = np.flatnonzero(counts)
    values = np.linspace(low, high, 2 * BINS + 1)[1::2][filled]  # middles of the parts
    tried = [(low * factor, high * factor) for factor in FACTORS]
    errors = [_squared_error(values, counts[filled], *one) for one in tried]
    return tried[int(np.argmin(errors))]  # of equal ones the widest


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


def _whole(read: Reader, images: npt.NDArray[np.uint8]) -> Ranges:
    """Returns the smallest and the largest value of every activation."""
    ranges: Ranges = {}
    for image in progress_bar(images, "measuring ranges", unit="image"):
        for name, values in read(image).items():
            low, high = ranges.get(name, (np.inf, -np.inf))
            ranges[name] = (
                min(low, float(values.min())),
                max(high, float(values.max())),
            )
    return ranges


def _histograms(
    read: Reader, images: npt.NDArray[np.uint8], ranges: Ranges
) -> dict[str, npt.NDArray[np.int64]]:
    """Returns the counts of values in equal parts of each range, int64 (BINS,)."""
    counts = {name: np.zeros(BINS, dtype=np.int64) for name in ranges}
    for image in progress_bar(images, "clipping ranges", unit="image"):
        activations = read(image)
        for name, (low, high) in ranges.items():
            places = (activations[name].ravel() - low) * (BINS / (high - low))
            inside = np.clip(places.astype(np.int64), 0, BINS - 1)
            counts[name] += np.bincount(inside, minlength=BINS)
    return counts
