"""The layers of a TFLite model that round when it is int8."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from edge_runtime.graph.ir import Graph, Operator, Tensor
from edge_runtime.graph.tflite import read_tflite
from export.analysis.graph_edit import Flatbuffer

# They move integers about. With one scale at both ends they round nothing.
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
class Layer:
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


def find_layers(model: bytes, int8: bytes, names: Sequence[str]) -> list[Layer]:
    """Returns the operators that round in the int8 model, in their order."""
    graph, quantized = read_tflite(model), read_tflite(int8)
    full = Flatbuffer(model).names()
    places = {name: index for index, name in enumerate(Flatbuffer(int8).names())}
    layers = []
    for position, operator in enumerate(graph.operators):
        index = places.get(full[operator.outputs[0]], -1)
        if index < 0:
            continue
        tensor = quantized.tensors[index]
        if tensor.dtype != "int8" or _is_exact(quantized, index):
            continue
        layers.append(
            Layer(
                position,
                operator.name,
                _label(graph, operator, names),
                operator.outputs[0],
                float(tensor.scales[0]),
                int(tensor.zero_points[0]),
                index,
            )
        )
    return layers


def is_moving(graph: Graph, operator: Operator) -> bool:
    """Returns whether an int8 operator only moves integers, and rounds nothing."""
    source = graph.tensor(operator.inputs, 0)
    target = graph.tensor(operator.outputs, 0)
    return operator.name in MOVING and _same_steps(source, target)


def _is_exact(graph: Graph, index: int) -> bool:
    maker = graph.producers.get(index)
    return maker is None or is_moving(graph, maker)


def _same_steps(source: Tensor | None, target: Tensor | None) -> bool:
    if source is None or target is None:
        return False
    return np.array_equal(source.scales, target.scales) and np.array_equal(
        source.zero_points, target.zero_points
    )


def _label(graph: Graph, operator: Operator, names: Sequence[str]) -> str:
    """Returns the name of the Keras layer an operator came from, as far as known."""
    weights = [graph.constant(index) for index in operator.inputs]
    source = next((one for one in weights if one and len(one.shape or ()) > 1), None)
    text = source.name if source else graph.tensors[operator.outputs[0]].name
    for part in reversed(text.split(";")[-1].split("/")):
        # Keras numbers what it traces: conv2d_3 becomes conv2d_3_1.
        for candidate in (part.rpartition("_")[0], part):
            if candidate in names:
                return candidate
    return text.split(";")[-1]
