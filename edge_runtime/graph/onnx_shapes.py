"""Shapes and types of an ONNX graph's tensors, which the file need not contain."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from edge_runtime.graph.ir import Shape, Tensor

Attributes = dict[str, list[int]]
Values = dict[int, npt.NDArray[Any]]

# TensorProto.DataType, from 1 on.
_DTYPES = (
    "float32 uint8 int8 uint16 int16 int32 int64 string bool float16 float64 uint32"
    " uint64 complex64 complex128 bfloat16"
)
DTYPES = _DTYPES.split()
MOST_DIMS = 16
MOST_ELEMENTS = 2**40


@dataclass(frozen=True)
class Node:
    """An ONNX node.

    Attributes:
        name: Its ``op_type``.
        inputs: Tensor indices, -1 for one that is left out.
        outputs: The same.
        attributes: The integers of its attributes; others are empty.
        custom: True where it is of a domain of its own.
    """

    name: str
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    attributes: Attributes = field(default_factory=dict)
    custom: bool = False

    def integer(self, name: str, default: int) -> int:
        """Returns an integer attribute."""
        return next(iter(self.attributes.get(name, ())), default)


def dtype_name(number: int) -> str:
    """Returns the name of an ONNX data type; empty for 0, which is none."""
    if 1 <= number <= len(DTYPES):
        return DTYPES[number - 1]
    return f"type {number}" if number else ""


def infer_dtype(node: Node, tensors: Sequence[Tensor]) -> str:
    """Returns the data type of a node's outputs; most have that of their input."""
    match node.name:
        case "QuantizeLinear":
            return _dtype(node, tensors, 2) or "uint8"
        case "QLinearConv" | "QLinearMatMul" | "QLinearAdd" | "QLinearMul":
            return _dtype(node, tensors, 7) or "uint8"
        case "DynamicQuantizeLinear":
            return "uint8"
        case "DequantizeLinear":
            return "float32"
        case "Cast":
            return dtype_name(node.integer("to", 1))
        case "ConvInteger" | "MatMulInteger":
            return "int32"
        case "Shape" | "Size" | "ArgMax" | "ArgMin" | "NonZero":
            return "int64"
    return _dtype(node, tensors, 0) or "float32"


def infer_shape(node: Node, tensors: Sequence[Tensor], values: Values) -> Shape | None:
    """Returns the shape of a node's first output; None where it cannot be told.

    Args:
        node: Its inputs have been inferred before.
        tensors: All tensors of the graph.
        values: Numbers of small constants, by tensor.
    """
    shapes = [tensors[one].shape if one >= 0 else None for one in node.inputs]
    if node.name == "Gemm" and shapes and shapes[0] is None:
        shapes[0] = (1, 1)  # a computed reshape stands before it: one image, one row
    if not shapes or shapes[0] is None:
        return None
    try:
        shape = _shape(node, shapes, values)
    except (ValueError, IndexError, ZeroDivisionError, OverflowError):
        return None  # a damaged graph: nothing is known, nothing breaks
    if shape is None or len(shape) > MOST_DIMS or math.prod(shape) > MOST_ELEMENTS:
        return None
    return shape if min(shape, default=1) > 0 else None


def _dtype(node: Node, tensors: Sequence[Tensor], position: int) -> str:
    if position >= len(node.inputs) or node.inputs[position] < 0:
        return ""
    return tensors[node.inputs[position]].dtype


def _shape(node: Node, shapes: list[Shape | None], values: Values) -> Shape | None:
    image = shapes[0] or ()
    second = shapes[1] if len(shapes) > 1 else None
    match node.name:
        case "Conv" | "ConvInteger":
            return None if not second else _window(node, image, second[0], second[2:])
        case "QLinearConv":
            weights = shapes[3]
            return weights and _window(node, image, weights[0], weights[2:])
        case "MaxPool" | "AveragePool":
            kernel = tuple(node.attributes.get("kernel_shape", ()))
            return _window(node, image, image[1], kernel)
        case "GlobalAveragePool" | "GlobalMaxPool":
            return image[:2] + (1,) * (len(image) - 2)
        case "Gemm":
            return None if not second else _gemm(node, image, second)
        case "MatMul" | "MatMulInteger":
            return None if not second else (*image[:-1], second[-1])
        case "Transpose":
            order = node.attributes.get("perm") or range(len(image))[::-1]
            return tuple(image[one] for one in order)
        case "Flatten":
            axis = node.integer("axis", 1)
            return math.prod(image[:axis]), math.prod(image[axis:])
        case "Reshape":
            return _reshape(image, _numbers(node, values, 1))
        case "Squeeze" | "Unsqueeze" | "ReduceMean" | "ReduceMax" | "ReduceSum":
            axes = node.attributes.get("axes") or _numbers(node, values, 1)
            return _along_axes(node, image, axes)
        case "Add" | "Sub" | "Mul" | "Div" | "PRelu" | "Max" | "Min":
            if any(one is None for one in shapes):
                return None
            return np.broadcast_shapes(*(one for one in shapes if one is not None))
        case "Concat":
            return _concat(node, shapes)
        case "Pad":
            pads = node.attributes.get("pads") or _numbers(node, values, 1) or []
            ends = pads[len(image) :]
            return tuple(a + b + c for a, b, c in zip(image, pads, ends, strict=False))
    return image if node.name in _SAME_SHAPE else None


_SAME_SHAPE_NAMES = (
    "Relu LeakyRelu Elu Sigmoid HardSigmoid HardSwish Tanh Softmax Clip Cast Identity"
    " Dropout BatchNormalization QuantizeLinear DequantizeLinear"
    " DynamicQuantizeLinear QLinearAdd QLinearMul Erf Sqrt Exp Neg Abs"
)
_SAME_SHAPE = frozenset(_SAME_SHAPE_NAMES.split())


def _numbers(node: Node, values: Values, position: int) -> list[int] | None:
    if position >= len(node.inputs):
        return None
    found = values.get(node.inputs[position])
    return None if found is None else [int(one) for one in found[:MOST_DIMS]]


def _window(node: Node, image: Shape, channels: int, kernel: Shape) -> Shape:
    """Returns what a convolution or pooling makes of (N, C, ...)."""
    rank = len(kernel)
    strides = node.attributes.get("strides") or [1] * rank
    dilations = node.attributes.get("dilations") or [1] * rank
    pads = node.attributes.get("pads") or [0] * 2 * rank
    up = node.integer("ceil_mode", 0)
    sizes = []
    for i, size in enumerate(image[2 : 2 + rank]):
        reach = dilations[i] * (kernel[i] - 1) + 1
        free = size + pads[i] + pads[i + rank] - reach
        sizes.append((-(-free // strides[i]) if up else free // strides[i]) + 1)
    return (*image[:1], channels, *sizes)


def _gemm(node: Node, left: Shape, right: Shape) -> Shape:
    rows = left[1] if node.integer("transA", 0) else left[0]
    return rows, right[0] if node.integer("transB", 0) else right[1]


def _reshape(image: Shape, wanted: list[int] | None) -> Shape | None:
    if wanted is None:
        return None
    sizes = [image[i] if size == 0 else size for i, size in enumerate(wanted)]
    known = math.prod(size for size in sizes if size > 0)
    return tuple(
        math.prod(image) // max(1, known) if size < 0 else size for size in sizes
    )


def _along_axes(node: Node, image: Shape, axes: list[int] | None) -> Shape | None:
    rank = len(image)
    if node.name == "Unsqueeze":
        if axes is None or len(axes) > MOST_DIMS:
            return None
        sizes = list(image)
        for axis in sorted(one % (rank + len(axes)) for one in axes):
            sizes.insert(axis, 1)
        return tuple(sizes)
    if axes is None:
        axes = [i for i in range(rank) if node.name != "Squeeze" or image[i] == 1]
    chosen = {one % rank for one in axes}
    if node.name != "Squeeze" and node.integer("keepdims", 1):
        return tuple(1 if i in chosen else size for i, size in enumerate(image))
    return tuple(size for i, size in enumerate(image) if i not in chosen)


def _concat(node: Node, shapes: list[Shape | None]) -> Shape | None:
    known = [one for one in shapes if one]
    if len(known) != len(shapes):
        return None
    axis = node.integer("axis", 0) % len(known[0])
    sizes = list(known[0])
    sizes[axis] = sum(one[axis] for one in known)
    return tuple(sizes)
