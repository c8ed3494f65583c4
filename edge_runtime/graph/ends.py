"""What a graph does to its pixels first, and to its answer last.

Files of others say here what they were trained on: a scaling inside the model, or a
softmax at its end.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from edge_runtime.graph.ir import WEIGHTS_INPUT, Graph, Operator, Tensor

Values = npt.NDArray[np.float64]

# Operators that move or convert values and change none of them.
_LAYOUT = frozenset(
    {
        *("RESHAPE", "SQUEEZE", "EXPAND_DIMS", "TRANSPOSE", "CAST", "REVERSE_V2"),
        *("GATHER", "Gather"),
        *("QUANTIZE", "DEQUANTIZE", "PAD", "PADV2", "MIRROR_PAD"),
        *("RESIZE_BILINEAR", "RESIZE_NEAREST_NEIGHBOR"),
        *("Reshape", "Flatten", "Squeeze", "Unsqueeze", "Transpose", "Identity"),
        *("QuantizeLinear", "DequantizeLinear", "Cast", "Pad", "Resize"),
    }
)
_SLICES = frozenset({"STRIDED_SLICE", "SLICE", "GATHER", "Slice", "Gather"})
_JOINS = frozenset({"PACK", "CONCATENATION", "Concat"})
_QUANTIZE = frozenset({"QUANTIZE", "QuantizeLinear"})
_SOFTMAX = frozenset({"SOFTMAX", "Softmax", "QLinearSoftmax"})
_SIGMOID = frozenset({"LOGISTIC", "Sigmoid", "QLinearSigmoid"})
_EXPONENTIAL = frozenset({"EXP", "Exp"})
_COLOURS = 3


class Scaling(NamedTuple):
    """What becomes of the input before it meets weights: scale * value + offset.

    Attributes:
        scale: float64 (1,) or one for each channel.
        offset: The same.
        operators: Names of the operators that do it; empty where none does.
    """

    scale: Values
    offset: Values
    operators: tuple[str, ...]


def quantized_input(graph: Graph) -> Tensor | None:
    """Returns the input as it is quantized: itself, or what it becomes at once.

    None where the first operator computes with floats.
    """
    tensor = graph.tensor(graph.inputs, 0)
    index = graph.inputs[0] if graph.inputs else -1
    while tensor is not None and len(tensor.scales) != 1:
        reader = _only_reader(graph, index)
        if reader is None or reader.name not in _LAYOUT or not reader.outputs:
            return None
        index = reader.outputs[0]
        tensor = graph.tensor(reader.outputs, 0)
        if reader.name in _QUANTIZE:
            break
    return tensor if tensor is not None and len(tensor.scales) == 1 else None


def input_scaling(graph: Graph) -> Scaling:
    """Returns the additions and multiplications by constants at a graph's beginning."""
    scale, offset, names = np.ones(1), np.zeros(1), []
    index = graph.inputs[0] if graph.inputs else -1
    for _ in graph.operators:  # bounds the walk, even around a circle
        operator = _only_reader(graph, index)
        joined = _joined_again(graph, index) if operator is None else None
        operator = operator or joined
        if operator is None or not operator.outputs:
            break
        if operator is not joined and operator.name not in _LAYOUT:
            step = _affine(graph, operator, index)
            if step is None:
                break
            scale, offset = step[0] * scale, step[0] * offset + step[1]
            names.append(operator.name)
        index = operator.outputs[0]
    return Scaling(scale, offset, tuple(names))


def final_operator(graph: Graph) -> str:
    """Returns the operator that makes a graph's answer; empty where it has none.

    ``"softmax"`` and ``"sigmoid"`` in either format, also a softmax that is spelled
    out; any other under its own name.
    """
    index = graph.outputs[0] if graph.outputs else -1
    for _ in graph.operators:
        operator = graph.producers.get(index)
        if operator is None:
            return ""
        if operator.name in _SOFTMAX or _is_softmax(graph, operator):
            return "softmax"
        if operator.name in _SIGMOID:
            return "sigmoid"
        if operator.name.upper() == "ADD":  # a bias belongs to its product
            operator = _product_before(graph, operator) or operator
        if operator.name not in _LAYOUT or not operator.inputs:
            return operator.name
        index = operator.inputs[0]
    return ""


def _product_before(graph: Graph, addition: Operator) -> Operator | None:
    """Returns the matrix product that an addition adds a constant to; else None."""
    producers = [graph.producers.get(index) for index in addition.inputs]
    constants = [graph.constant(index) is not None for index in addition.inputs]
    products = [
        one for one in producers if one is not None and one.name in WEIGHTS_INPUT
    ]
    return products[0] if any(constants) and len(products) == 1 else None


def _only_reader(graph: Graph, index: int) -> Operator | None:
    readers = graph.consumers.get(index, []) if index >= 0 else []
    return readers[0] if len(readers) == 1 else None


def _joined_again(graph: Graph, index: int) -> Operator | None:
    """Returns the operator that joins slices of a tensor: channels in another order."""
    slices = graph.consumers.get(index, []) if index >= 0 else []
    ends = [_only_reader(graph, one.outputs[0]) for one in slices if one.outputs]
    cut = all(one.name in _SLICES for one in slices) and len(ends) == len(slices)
    if not cut or not ends or any(end is not ends[0] for end in ends):
        return None
    return ends[0] if ends[0] is not None and ends[0].name in _JOINS else None


def _affine(
    graph: Graph, operator: Operator, index: int
) -> tuple[Values, Values] | None:
    """Returns scale and offset of an operator with one constant; else None."""
    if len(operator.inputs) != 2:
        return None
    first = operator.inputs[0] == index
    constant = graph.constant(operator.inputs[1 if first else 0])
    if (
        constant is None
        or constant.values is None
        or not _is_by_channel(graph, constant)
    ):
        return None
    value = constant.values.astype(np.float64)
    one, zero = np.ones_like(value), np.zeros_like(value)
    match operator.name.upper():
        case "MUL":
            return value, zero
        case "ADD":
            return one, value
        case "SUB":
            return (one, -value) if first else (-one, value)
        case "DIV" if first and value.all():
            return 1 / value, zero
    return None


def _is_by_channel(graph: Graph, constant: Tensor) -> bool:
    """Returns whether a constant is one value, or one for each channel of a picture.

    Others, such as one for each row, say nothing of all pixels.
    """
    if constant.elements == 1:
        return True
    picture, shape = graph.tensor(graph.inputs, 0), constant.shape or ()
    if picture is None or picture.shape is None or len(picture.shape) != 4:
        return False
    last = shape[-1:] == (_COLOURS,)
    first = shape[-3:] == (_COLOURS, 1, 1)
    colours = _COLOURS in (picture.shape[1], picture.shape[3])
    return constant.elements == _COLOURS and colours and (last or first)


def _is_softmax(graph: Graph, operator: Operator) -> bool:
    """Returns whether an operator divides exponentials by their sum."""
    if operator.name.upper() != "DIV" or len(operator.inputs) != 2:
        return False
    above, below = (graph.producers.get(index) for index in operator.inputs)
    return (
        above is not None
        and below is not None
        and above.name in _EXPONENTIAL
        and below.name in ("SUM", "ReduceSum")
        and below.inputs[:1] == above.outputs[:1]
    )
