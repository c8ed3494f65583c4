"""What the range of an input says of the pixels that a network takes.

Only a range that one way of scaling pixels has, and no other, says anything.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from edge_runtime.graph.ends import Scaling
from edge_runtime.graph.ir import Tensor
from edge_runtime.model_file.pixels import RAW, SCALINGS, PixelScaling

# Lowest and highest value of a quantized input that was calibrated on images, as
# (least, greatest) each: images of a calibration may lack black or white. Narrow where
# other scalings are near: -0.5..0.5, or the mean and deviation of CIFAR (-2..2.1).
_RANGES = {
    "raw": ((-4.0, 4.0), (128.0, 260.0)),
    "unit": ((-0.02, 0.02), (0.5, 1.03)),
    "signed": ((-1.03, -0.85), (0.85, 1.03)),
    "imagenet": ((-2.18, -2.0), (2.5, 2.72)),
}
# What an exact scaling inside a model makes of its input, beside the named ones.
_CENTRED = PixelScaling((1.0,), (-127.5,))
INTEGERS = ("int8", "uint8", "int16")
MOST_CLIPPED = 2  # of 256 pixel values: rounding at black and white
# A normalization that was learnt from raw pixels: no other input has such numbers.
_MEANS, _DEVIATIONS = (25, 230), (25, 260)


def describe(pixels: PixelScaling) -> str:
    """Returns a scaling in words, such as ``"-1..1 (signed)"``."""
    low, high = value_range(pixels)
    name = next((one for one in SCALINGS if is_alike(pixels, SCALINGS[one])), "")
    return f"{low:.4g}..{high:.4g}" + (f" ({name})" if name else "")


def value_range(pixels: PixelScaling) -> tuple[float, float]:
    """Returns the lowest and the highest value that pixels 0..255 become."""
    scale, offset = np.array(pixels.scale), np.array(pixels.offset)
    ends = np.array([offset, 255 * scale + offset])
    return float(ends.min()), float(ends.max())


def is_alike(one: PixelScaling, other: PixelScaling) -> bool:
    """Returns whether no pixel's value differs by more than a pixel's step."""
    step = np.abs(np.array(other.scale))
    black = np.array(one.offset) - np.array(other.offset)
    white = black + 255 * (np.array(one.scale) - np.array(other.scale))
    return bool((np.abs(black) <= step).all() and (np.abs(white) <= 1.5 * step).all())


def pixels_of_quantization(tensor: Tensor) -> PixelScaling | None:
    """Returns the scaling whose range a quantized input has; None if it has no such.

    Where it is the whole range of 8 bits a pixel is one step, as those who made the
    file mean it: the uint8 input takes the pixels as they are.
    """
    if tensor.dtype not in INTEGERS:
        return None
    scale, zero = quantization_of(tensor)
    low, high = quantized_range(tensor)
    if tensor.dtype == "int16":  # symmetric: it does not say how low pixels go
        return RAW if 128 <= high <= 260 else None
    middle = {"int8": 0, "uint8": 128}[tensor.dtype]
    if zero == middle and not _is_signed_step(scale):
        return None  # symmetric quantization: pixels may be 0..1 as well as -1..1
    name = next(
        (name for name, ends in _RANGES.items() if _within(low, high, ends)), None
    )
    if name is None:
        return None
    pixels = SCALINGS[name]
    one_step = PixelScaling((scale,), (low,))
    ends = value_range(pixels)
    whole = max(abs(low - ends[0]), abs(high - ends[1])) <= 1.6 * scale
    return one_step if whole and len(pixels.scale) == 1 else pixels


def quantization_of(tensor: Tensor) -> tuple[float, int]:
    """Returns the scale and the zero point of a tensor that has one scale."""
    zero = int(tensor.zero_points[0]) if len(tensor.zero_points) else 0
    return float(tensor.scales[0]), zero


def quantized_range(tensor: Tensor) -> tuple[float, float]:
    """Returns the lowest and the highest value that a quantized tensor can hold."""
    limits = np.iinfo(tensor.dtype)
    scale, zero = quantization_of(tensor)
    return scale * (limits.min - zero), scale * (limits.max - zero)


def count_steps(tensor: Tensor, pixels: PixelScaling) -> tuple[int, int]:
    """Returns how many of 256 pixel values are clipped, and how many stay different.

    Of the worst channel.

    Args:
        tensor: A quantized input.
        pixels: What goes into it.
    """
    limits = np.iinfo(tensor.dtype)
    step, zero = quantization_of(tensor)
    clipped, steps = 0, 256
    for scale, offset in zip(pixels.scale, pixels.offset, strict=True):
        values = scale * np.arange(256.0) + offset
        integers = np.rint(values / step + zero)
        beyond = (integers < limits.min) | (integers > limits.max)
        clipped = max(clipped, int(beyond.sum()))
        inside = np.clip(integers, limits.min, limits.max)
        steps = min(steps, len(np.unique(inside)))
    return clipped, steps


def any_pixels(tensor: Tensor | None) -> PixelScaling:
    """Returns some scaling of pixels that an input holds, where none is known.

    Args:
        tensor: The input as it is quantized; None where it computes with floats.
    """
    if tensor is None or tensor.dtype not in INTEGERS:
        return RAW
    low, high = quantized_range(tensor)
    return PixelScaling(((high - low) / 255,), (low,))


def pixels_before(scaling: Scaling) -> PixelScaling | None:
    """Returns the pixels that a scaling inside the model is made for.

    Those that it makes exactly one of the usual ranges of, or raw pixels where their
    mean is taken off. A scaling that was learnt behind another input (a BatchNorm)
    says nothing: several inputs might be meant.
    """
    if len(scaling.scale) not in (1, 3) or len(scaling.offset) not in (1, 3):
        return None
    possible = {
        name for name, pixels in SCALINGS.items() if _becomes_usual(pixels, scaling)
    }
    if len(possible) == 1:
        return SCALINGS[possible.pop()]
    return RAW if not possible and _is_learnt_from_raw(scaling) else None


def _becomes_usual(pixels: PixelScaling, scaling: Scaling) -> bool:
    """Returns whether a scaling of pixels is one of the usual, in RGB or BGR order."""
    inner_scale, inner_offset = np.array(pixels.scale), np.array(pixels.offset)
    scale = scaling.scale * inner_scale
    offset = scaling.scale * inner_offset + scaling.offset
    width = max(len(scale), len(offset))
    found = PixelScaling(
        *(tuple(np.broadcast_to(one, width).tolist()) for one in (scale, offset))
    )
    usual = [*SCALINGS.values(), _CENTRED]
    usual.append(PixelScaling(*(one[::-1] for one in SCALINGS["imagenet"])))
    return any(is_alike(found, one) for one in usual)


def _is_learnt_from_raw(scaling: Scaling) -> bool:
    deviation, mean = 1 / scaling.scale, -scaling.offset / scaling.scale
    # A mean alone is subtracted by Caffe's networks.
    scaled = (deviation == 1).all() or _all_within(deviation, _DEVIATIONS)
    return scaled and _all_within(mean, _MEANS)


def _all_within(values: npt.NDArray[np.float64], ends: tuple[int, int]) -> bool:
    return bool(((values >= ends[0]) & (values <= ends[1])).all())


def _is_signed_step(scale: float) -> bool:
    """Returns whether -1..1 has this step in 8 bits without symmetry."""
    return any(abs(scale * count - 1) < 1e-3 for count in (127.5, 128))


def _within(
    low: float, high: float, ends: tuple[tuple[float, float], tuple[float, float]]
) -> bool:
    return ends[0][0] <= low <= ends[0][1] and ends[1][0] <= high <= ends[1][1]
