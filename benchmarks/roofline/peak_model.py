"""A model file that asks an inference library for all it can: one large convolution.

Made here, byte by byte, and not by an exporter: a board can measure its own peak with
nothing but the library that is measured.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from benchmarks.roofline.flat_writer import (
    Fields,
    Number,
    Tables,
    Values,
    integers,
    write_flatbuffer,
)

Dtype = Literal["int8", "float32"]
# Numbers of the TFLite schema, see edge_runtime/graph/tflite.py.
TYPES = {"float32": 0, "int32": 2, "int8": 9}
CONV_2D = 3
CONV_2D_OPTIONS = 1
VERSIONS = {"int8": 3, "float32": 1}
IMAGE, WEIGHTS, BIAS, ANSWER = range(4)


@dataclass(frozen=True)
class Convolution:
    """A convolution with stride 1 that keeps the image's size.

    Attributes:
        side_px: Height and width of the image.
        channels: Of the image and of the answer.
        kernel_px: Height and width of the kernel.
    """

    side_px: int
    channels: int
    kernel_px: int

    @property
    def macs(self) -> int:
        """Multiply-accumulates, with those on the padded border."""
        return (self.side_px * self.channels * self.kernel_px) ** 2


# A matrix product of 784 x 256 x 256 and a 3 x 3 convolution, weights in a small
# board's second-level cache: what comes closest to a core's peak in XNNPACK.
CONVOLUTIONS = (Convolution(28, 256, 1), Convolution(24, 96, 3))


def peak_model(convolution: Convolution, dtype: Dtype) -> bytes:
    """Returns a TFLite file with one convolution, of seeded noise.

    Args:
        convolution: Which.
        dtype: What it computes in; int8 has one scale per channel, as exported files.
    """
    side, channels = convolution.side_px, convolution.channels
    kernel = convolution.kernel_px
    image_shape = (1, side, side, channels)
    weights = _noise((channels, kernel, kernel, channels), dtype)
    bias = np.zeros(channels, np.int32 if dtype == "int8" else np.float32)
    per_image = _scales(0.05, 1) if dtype == "int8" else None
    per_channel = _scales(0.01, channels) if dtype == "int8" else None
    per_bias = _scales(0.0005, channels) if dtype == "int8" else None
    bias_dtype = "int32" if dtype == "int8" else "float32"
    graph: Fields = {
        0: Tables(
            [
                _tensor("image", image_shape, dtype, 0, per_image),
                _tensor("weights", weights.shape, dtype, 1, per_channel),
                _tensor("bias", bias.shape, bias_dtype, 2, per_bias),
                _tensor("answer", image_shape, dtype, 0, per_image),
            ]
        ),
        1: integers(IMAGE),
        2: integers(ANSWER),
        3: Tables([_operator()]),
    }
    code: Fields = {
        0: Number("<b", CONV_2D),
        2: Number("<i", VERSIONS[dtype]),
        3: Number("<i", CONV_2D),
    }
    buffers: list[Fields] = [{}, _buffer(weights), _buffer(bias)]
    root: Fields = {
        0: Number("<I", 3),
        1: Tables([code]),
        2: Tables([graph]),
        4: Tables(buffers),
    }
    return write_flatbuffer(root, b"TFL3")


def _operator() -> Fields:
    one, same_padding = Number("<i", 1), Number("<b", 0)
    options: Fields = {0: same_padding, 1: one, 2: one, 4: one, 5: one}
    return {
        0: Number("<I", 0),
        1: integers(IMAGE, WEIGHTS, BIAS),
        2: integers(ANSWER),
        3: Number("<B", CONV_2D_OPTIONS),
        4: options,
    }


def _tensor(
    name: str, shape: tuple[int, ...], dtype: str, buffer: int, scales: Fields | None
) -> Fields:
    found: dict[int, Number | Values | Tables | Fields] = {
        0: integers(*shape),
        1: Number("<b", TYPES[dtype]),
        2: Number("<I", buffer),
        3: Values(name.encode(), len(name)),
    }
    if scales is not None:
        found[4] = scales
    return found


def _scales(scale: float, count: int) -> Fields:
    """Returns quantization parameters: the same scale, count times; zero points 0."""
    return {
        2: Values(np.full(count, scale, "<f4").tobytes(), count),
        3: Values(bytes(8 * count), count, alignment=8),
    }


def _buffer(array: npt.NDArray[np.generic]) -> Fields:
    data = array.tobytes()
    return {0: Values(data, len(data), alignment=16)}


def _noise(shape: tuple[int, ...], dtype: Dtype) -> npt.NDArray[np.generic]:
    rng = np.random.default_rng(0)
    if dtype == "int8":
        return rng.integers(-127, 128, shape, dtype=np.int8)
    return rng.normal(0, 0.05, shape).astype("<f4")
