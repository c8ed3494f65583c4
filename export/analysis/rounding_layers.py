"""The layers of a TFLite model that round when it is int8."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from edge_runtime.graph.ir import Graph, Operator
from edge_runtime.graph.tflite import read_tflite
from export.convert.editable_model import EditableModel

# These move values. With the same scale at input and output they round nothing.
MOVING = {
    "CONCATENATION",
    "EXPAND_DIMS",
    "GATHER",
    "MAX_POOL_2D",
    "PACK",
    "PAD",
    "RESHAPE",
    "RESIZE_NEAREST_NEIGHBOR",
    "SLICE",
    "SPLIT",
    "SQUEEZE",
    "STRIDED_SLICE",
    "TRANSPOSE",
    "UNPACK",
}


@dataclass(frozen=True)
class RoundingLayer:
    """An operator whose output the int8 model rounds.

    Attributes:
        position: Index among the float model's operators.
        operator: Its type, such as ``"CONV_2D"``.
        label: A name for people.
        output: Index of its output tensor in the float model.
        step: Step of its int8 output.
        zero_point: Zero point of its int8 output.
        int8_output: Index of its output tensor in the int8 model.
    """

    position: int
    operator: str
    label: str
    output: int
    step: float
    zero_point: int
    int8_output: int


def find_layers(model: bytes, int8: bytes, names: Sequence[str]) -> list[RoundingLayer]:
    """Returns the operators that round in the int8 model, in their order.

    Args:
        model: The float32 TFLite model.
        int8: The int8 model made from it.
        names: Names of the Keras layers, for labels.
    """
    graph, quantized = read_tflite(model), read_tflite(int8)
    full_names = EditableModel(model).names()
    int8_indices = {
        name: index for index, name in enumerate(EditableModel(int8).names())
    }
    layers = []
    for position, operator in enumerate(graph.operators):
        index = int8_indices.get(full_names[operator.outputs[0]], -1)
        if index < 0 or quantized.tensors[index].dtype != "int8":
            continue
        producer = quantized.producers.get(index)
        if producer is None or only_moves(quantized, producer):
            continue
        layers.append(
            RoundingLayer(
                position,
                operator.name,
                _label(graph, operator, names),
                operator.outputs[0],
                float(quantized.tensors[index].scales[0]),
                int(quantized.tensors[index].zero_points[0]),
                index,
            )
        )
    return layers


def only_moves(graph: Graph, operator: Operator) -> bool:
    """Returns whether an int8 operator only moves values, and rounds nothing."""
    source = graph.tensor(operator.inputs, 0)
    target = graph.tensor(operator.outputs, 0)
    if operator.name not in MOVING or source is None or target is None:
        return False
    return np.array_equal(source.scales, target.scales) and np.array_equal(
        source.zero_points, target.zero_points
    )


def _label(graph: Graph, operator: Operator, names: Sequence[str]) -> str:
    """Returns the name of the Keras layer of an operator, as far as known."""
    constants = [graph.constant(index) for index in operator.inputs]
    weights = next((one for one in constants if one and len(one.shape or ()) > 1), None)
    text = weights.name if weights else graph.tensors[operator.outputs[0]].name
    for part in reversed(text.split(";")[-1].split("/")):
        # Keras numbers what it traces: conv2d_3 becomes conv2d_3_1.
        for candidate in (part.rpartition("_")[0], part):
            if candidate in names:
                return candidate
    return text.split(";")[-1]
