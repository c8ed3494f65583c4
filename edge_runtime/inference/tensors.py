"""The tensors at both ends of a model: types, scales, and tables of their values."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from edge_runtime.errors import ModelError
from edge_runtime.model_file.pixels import RAW, PixelScaling

Images = npt.NDArray[np.uint8]
Logits = npt.NDArray[np.float32]


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


class TensorInfo(NamedTuple):
    """Type of a model's input or output.

    Attributes:
        shape: Sizes; the first is the batch, 0 where that is free.
        dtype: numpy dtype.
        quantization: Scale and zero point; false for a float tensor.
    """

    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    quantization: Quantization


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


def input_table(tensor: TensorInfo, pixels: PixelScaling = RAW) -> npt.NDArray[Any]:
    """Returns the model input for each pixel value 0..255, of its dtype.

    One table serves float, int8 and uint8 inputs with any scale and zero point, and a
    lookup is faster than arithmetic.

    Args:
        tensor: The model's input.
        pixels: What the network takes for pixels 0..255.

    Returns:
        (256,), or (256, C) where the channels are scaled differently.

    Raises:
        ModelError: The input's type is none for images, or has another number of
            channels than ``pixels``.
    """
    scale, offset = (np.squeeze(np.array(one, np.float64)) for one in pixels)
    if scale.ndim and len(scale) != tensor.shape[-1]:
        raise ModelError(
            f"expected one scaling of pixels for each of {tensor.shape[-1]} channels,"
            f" got {len(scale)}: give --pixels raw, unit or signed"
        )
    values = np.arange(256.0).reshape(-1, *(1,) * scale.ndim) * scale + offset
    if tensor.quantization:
        return quantize(values, tensor.quantization, tensor.dtype)
    if tensor.dtype.kind == "f":
        return values.astype(tensor.dtype)
    if tensor.dtype == np.uint8 and pixels == RAW:
        return values.astype(tensor.dtype)
    raise ModelError(
        f"expected an image input, got one of type {tensor.dtype}"
        + (" without scale, which takes raw pixels" if pixels != RAW else "")
    )


def output_table(tensor: TensorInfo) -> Logits | None:
    """Returns the real value for each byte of a model's output, float32 (256,).

    None where the output is not quantized to bytes.
    """
    if not tensor.quantization or tensor.dtype.itemsize != 1:
        return None
    all_bytes = np.arange(256, dtype=np.uint8).view(tensor.dtype)
    return dequantize(all_bytes, tensor.quantization)


def as_answer(tensor: TensorInfo) -> TensorInfo:
    """Returns the output as (batch, classes): some files have it as (1, 1, 1, classes).

    Raises:
        ModelError: It has no one number for each class.
    """
    dtype, shape = tensor.dtype, tensor.shape
    if dtype.kind == "i" and not tensor.quantization:
        raise ModelError(
            f"answers with numbers of classes ({dtype}), as behind an argmax: expected"
            " one number for each class; export it without that"
        )
    if len(shape) < 2:
        return tensor._replace(shape=(1, *shape))
    classes = [size for size in shape[1:] if size != 1]
    if len(shape) == 2 or len(classes) > 1:
        return tensor
    return tensor._replace(shape=(shape[0], *(classes or [1])))
