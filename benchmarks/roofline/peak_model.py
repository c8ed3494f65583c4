"""A model file that keeps a core as busy as it can be: one large convolution.

It is written here, byte by byte, so that any device measures its own peak with nothing
but the library that is measured.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

Dtype = Literal["int8", "float32"]
# Numbers of the TFLite schema, as in edge_runtime/graph/tflite.py.
TYPES = {"float32": 0, "int32": 2, "int8": 9}
CONV_2D, CONV_2D_OPTIONS = 3, 1
OPERATOR_VERSION = {"int8": 3, "float32": 1}
IMAGE, WEIGHTS, BIAS, RESULT = range(4)  # the tensors

# Fields by their number in the schema: each a number, an array, a table or a list of
# tables.
Table = Mapping[int, Any]


@dataclass(frozen=True)
class Convolution:
    """A convolution with stride 1 that keeps the image's size.

    Attributes:
        side_px: Height and width of the image.
        channels: Of the image and of the result.
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
    """Returns a TFLite file with one convolution of seeded noise.

    Args:
        convolution: Its size.
        dtype: What it computes in; int8 has one scale per channel, as exported files.
    """
    side, channels = convolution.side_px, convolution.channels
    kernel = convolution.kernel_px
    image_shape = (1, side, side, channels)
    weights = _noise((channels, kernel, kernel, channels), dtype)
    bias = np.zeros(channels, "<i4" if dtype == "int8" else "<f4")
    tensors = [
        _tensor(image_shape, dtype, 0, [0.05]),
        _tensor(weights.shape, dtype, 1, [0.01] * channels),
        _tensor(bias.shape, bias.dtype.name, 2, [0.0005] * channels),
        _tensor(image_shape, dtype, 0, [0.05]),
    ]
    # Padding 0 is SAME; then stride and dilation, width and height.
    options = {0: 0, 1: 1, 2: 1, 4: 1, 5: 1}
    operator = {
        0: 0,
        1: _integers(IMAGE, WEIGHTS, BIAS),
        2: _integers(RESULT),
        3: CONV_2D_OPTIONS,
        4: options,
    }
    graph = {0: tensors, 1: _integers(IMAGE), 2: _integers(RESULT), 3: [operator]}
    code = {0: CONV_2D, 2: OPERATOR_VERSION[dtype], 3: CONV_2D}
    buffers = [{}, {0: _bytes_of(weights)}, {0: _bytes_of(bias)}]
    return write_flatbuffer({0: 3, 1: [code], 2: [graph], 4: buffers}, b"TFL3")


def write_flatbuffer(root: Table, identifier: bytes) -> bytes:
    """Returns a flatbuffer file: https://flatbuffers.dev/internals/.

    Tables stand before what they point to, and every field takes four bytes: larger
    than need be, and simple.

    Args:
        root: The root table.
        identifier: Four bytes that name the schema.
    """
    file = bytearray(4) + identifier
    struct.pack_into("<I", file, 0, _append(file, root))
    return bytes(file)


def _append(file: bytearray, value: Any) -> int:
    """Appends a table, a list of tables or an array; returns its position."""
    if isinstance(value, np.ndarray):
        file += bytes(-(len(file) + 4) % 16)  # numbers of any type are then aligned
        position = len(file)
        file += struct.pack("<I", value.size) + value.tobytes()
        return position
    file += bytes(-len(file) % 4)
    if isinstance(value, Mapping):
        count, vtable = max(value, default=-1) + 1, len(file)
        offsets = [4 + 4 * field if field in value else 0 for field in range(count)]
        file += struct.pack(f"<HH{count}H", 4 + 2 * count, 4 + 4 * count, *offsets)
        file += bytes(-len(file) % 4)
        position, fields = len(file), dict(value)
        file += struct.pack("<i", position - vtable) + bytes(4 * count)
    else:
        position, fields = len(file), dict(enumerate(value))
        file += struct.pack("<I", len(fields)) + bytes(4 * len(fields))
    for field, child in fields.items():
        slot = position + 4 + 4 * field
        number = child if isinstance(child, int) else _append(file, child) - slot
        struct.pack_into("<i", file, slot, number)
    return position


def _tensor(
    shape: tuple[int, ...], dtype: str, buffer: int, scales: Sequence[float]
) -> Table:
    tensor: dict[int, Any] = {0: _integers(*shape), 1: TYPES[dtype], 2: buffer}
    if dtype != "float32":
        zero_points = np.zeros(len(scales), "<i8")
        tensor[4] = {2: np.array(scales, "<f4"), 3: zero_points}
    return tensor


def _integers(*numbers: int) -> npt.NDArray[np.generic]:
    return np.array(numbers, "<i4")


def _bytes_of(array: npt.NDArray[np.generic]) -> npt.NDArray[np.generic]:
    return np.frombuffer(array.tobytes(), np.uint8)


def _noise(shape: tuple[int, ...], dtype: Dtype) -> npt.NDArray[np.generic]:
    rng = np.random.default_rng(0)
    if dtype == "int8":
        return rng.integers(-127, 128, shape, dtype=np.int8)
    return rng.normal(0, 0.05, shape).astype("<f4")
