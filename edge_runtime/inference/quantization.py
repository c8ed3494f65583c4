"""Converts between real numbers and the integers of a quantized tensor."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt


class Quantization(NamedTuple):
    """Affine quantization of a whole tensor: real = scale * (integer - zero_point).

    Read from the model file, never written down in code.

    Attributes:
        scale: Step between neighbouring integers; 0 means not quantized.
        zero_point: The integer that stands for 0.0.
    """

    scale: float
    zero_point: int

    def __bool__(self) -> bool:
        """True where the tensor is quantized."""
        return self.scale > 0


def quantize(
    values: npt.NDArray[Any], quantization: Quantization, dtype: np.dtype[Any]
) -> npt.NDArray[Any]:
    """Returns the integers nearest to real values, limited to the dtype's range.

    Args:
        values: Real numbers of any shape.
        quantization: The tensor's scale and zero point.
        dtype: The tensor's integer dtype (int8, uint8 or int16).
    """
    limits = np.iinfo(dtype)
    scaled = np.rint(values / quantization.scale + quantization.zero_point)
    return np.clip(scaled, limits.min, limits.max).astype(dtype)


def dequantize(
    integers: npt.NDArray[Any], quantization: Quantization
) -> npt.NDArray[np.float32]:
    """Returns the real values (float32) that a quantized tensor's integers stand for.

    Args:
        integers: int8, uint8 or int16 of any shape.
        quantization: The tensor's scale and zero point.
    """
    # Widen first: int8 - zero_point wraps around.
    wide = integers.astype(np.int64) - quantization.zero_point
    return (quantization.scale * wide).astype(np.float32)
