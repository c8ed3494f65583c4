"""A model's graph, independent of the file format: tensors and operators."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from types import MappingProxyType

import numpy as np
import numpy.typing as npt

Shape = tuple[int, ...]

MOST_VALUES = 16  # of a constant that is read: one or a few for each channel

DEQUANTIZE = frozenset({"DEQUANTIZE", "DequantizeLinear"})
CONVERSIONS = DEQUANTIZE | {
    "QUANTIZE",
    "CAST",
    "QuantizeLinear",
    "DynamicQuantizeLinear",
    "Cast",
}


@dataclass(frozen=True)
class Tensor:
    """A tensor of a graph.

    Attributes:
        name: As in the file; not safe to print, see ``printable``.
        shape: Sizes; a free batch size is 1. None where it is not known.
        dtype: Such as ``"float32"`` or ``"int8"``.
        scales: float32 (k,): k is 0 for a tensor that is not quantized, 1 for one
            scale, the number of channels for one scale per channel.
        zero_points: int64 (k,).
        axis: The dimension that ``scales`` runs along.
        constant: True for weights and other values stored in the file.
        bytes: Bytes of a constant in the file; 0 for an activation.
        values: float32 (elements,) of a small constant of floats; else None.
    """

    name: str
    shape: Shape | None
    dtype: str
    scales: npt.NDArray[np.float32] = field(
        default_factory=lambda: np.empty(0, np.float32)
    )
    zero_points: npt.NDArray[np.int64] = field(
        default_factory=lambda: np.empty(0, np.int64)
    )
    axis: int = 0
    constant: bool = False
    bytes: int = 0
    values: npt.NDArray[np.float32] | None = None

    @property
    def elements(self) -> int:
        """Number of elements; 0 where the shape is not known."""
        return 0 if self.shape is None else math.prod(self.shape)


@dataclass(frozen=True)
class Operator:
    """An operator of a graph.

    Attributes:
        name: Its type as the file format calls it, such as ``"CONV_2D"`` or ``"Conv"``.
        inputs: Indices into the graph's tensors; -1 for an optional input without
            tensor.
        outputs: The same.
        custom: True where the operator is not part of the file format.
    """

    name: str
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    custom: bool = False


@dataclass(frozen=True)
class Graph:
    """A graph; operators are in the order in which they run.

    Attributes:
        tensors: All tensors.
        operators: All operators.
        inputs: Indices of the model's input tensors.
        outputs: Indices of the model's output tensors.
    """

    tensors: tuple[Tensor, ...]
    operators: tuple[Operator, ...]
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]

    @cached_property
    def producers(self) -> Mapping[int, Operator]:
        """The operator that writes a tensor, by tensor index."""
        return MappingProxyType(
            {
                index: operator
                for operator in self.operators
                for index in operator.outputs
            }
        )

    @cached_property
    def consumers(self) -> Mapping[int, list[Operator]]:
        """The operators that read a tensor, by tensor index."""
        consumers: dict[int, list[Operator]] = {}
        for operator in self.operators:
            for index in operator.inputs:
                consumers.setdefault(index, []).append(operator)
        return MappingProxyType(consumers)

    def tensor(self, indices: tuple[int, ...], position: int) -> Tensor | None:
        """Returns an operator's input or output, or None where it has no tensor.

        Args:
            indices: The operator's ``inputs`` or ``outputs``.
            position: Which of them.
        """
        if position >= len(indices) or indices[position] < 0:
            return None
        return self.tensors[indices[position]]

    def constant(self, index: int) -> Tensor | None:
        """Returns the constant that a tensor is or is dequantized from; else None."""
        if index < 0:
            return None
        if self.tensors[index].constant:
            return self.tensors[index]
        producer = self.producers.get(index)
        if producer is None or producer.name not in DEQUANTIZE:
            return None
        source = self.tensor(producer.inputs, 0)
        return source if source is not None and source.constant else None


# The position of an operator's weights among its inputs.
WEIGHTS_INPUT: Mapping[str, int] = MappingProxyType(
    {
        **dict.fromkeys(
            ("CONV_2D", "DEPTHWISE_CONV_2D", "CONV_3D", "FULLY_CONNECTED"), 1
        ),
        **dict.fromkeys(("TRANSPOSE_CONV", "BATCH_MATMUL"), 1),
        **dict.fromkeys(("Conv", "ConvTranspose", "Gemm", "MatMul"), 1),
        **dict.fromkeys(("ConvInteger", "MatMulInteger"), 1),
        **dict.fromkeys(("QLinearConv", "QLinearMatMul", "QGemm"), 3),
    }
)


def count_macs(graph: Graph, operator: Operator) -> int | None:
    """Returns an operator's multiply-accumulate operations for one image.

    Counted are convolutions, fully connected layers and matrix products; other
    operators have 0. None where the shapes are not known.
    """
    if operator.name not in WEIGHTS_INPUT:
        return 0
    weights = graph.tensor(operator.inputs, WEIGHTS_INPUT[operator.name])
    output = graph.tensor(operator.outputs, 0)
    if weights is None or output is None or not weights.shape or not output.shape:
        return None
    w, out = weights.shape, output.shape
    match operator.name:
        case "CONV_2D" | "FULLY_CONNECTED" | "Conv" | "ConvInteger" | "QLinearConv":
            return math.prod(out) * math.prod(w[1:])
        case "DEPTHWISE_CONV_2D":
            return math.prod(out) * math.prod(w[1:-1])
        case "CONV_3D":
            return math.prod(out) * math.prod(w[:-1])
        case "TRANSPOSE_CONV" | "ConvTranspose":
            return _transposed_macs(graph, operator, w)
        case "Gemm" | "QGemm":
            return math.prod(out) // max(1, out[-1]) * math.prod(w)
    return _product_macs(graph, operator, out)


def _transposed_macs(graph: Graph, operator: Operator, weights: Shape) -> int | None:
    position = 2 if operator.name == "TRANSPOSE_CONV" else 0
    source = graph.tensor(operator.inputs, position)
    if source is None or not source.shape:
        return None
    channels = weights[-1] if operator.name == "TRANSPOSE_CONV" else weights[0]
    return math.prod(source.shape) * (math.prod(weights) // max(1, channels))


def _product_macs(graph: Graph, operator: Operator, output: Shape) -> int | None:
    left = graph.tensor(operator.inputs, 0)
    if left is None or not left.shape or len(left.shape) < 2 or len(output) < 2:
        return None
    rows = math.prod(left.shape[:-2]) * output[-2]
    return math.prod(output) * (math.prod(left.shape) // max(1, rows))


def printable(text: str) -> str:
    """Returns a name from a file, shortened and safe to print on a terminal."""
    return "".join(c if c.isprintable() else "?" for c in text[:200])
