"""Turns ONNX's quantize-dequantize (QDQ) form into the operators that are executed.

An int8 ONNX file has float operators between DequantizeLinear and QuantizeLinear nodes.
ONNX Runtime fuses each such group into one integer operator. ``fold`` does the same, so
that the graph shows what is computed in integers.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from edge_runtime.graph.ir import Graph, Operator, Tensor

QUANTIZE, DEQUANTIZE = "QuantizeLinear", "DequantizeLinear"
CONVERSIONS = frozenset({QUANTIZE, DEQUANTIZE, "DynamicQuantizeLinear"})
# May stand between an operator and its QuantizeLinear, which clips as well.
ACTIVATIONS = frozenset({"Relu", "Clip"})


def fold(graph: Graph) -> Graph:
    """Returns a graph whose fused groups are integer operators.

    Quantize and dequantize nodes that only serve such groups are removed.

    Args:
        graph: As in the file; quantized tensors have scales and zero points.
    """
    tensors = list(graph.tensors)
    fused = _find_fused(graph)
    operators = [
        _as_integer(graph, operator, tensors, fused)
        if id(operator) in fused
        else operator
        for operator in graph.operators
    ]
    read, written = set(graph.outputs), set[int]()
    for operator in operators:
        read.update(operator.inputs if operator.name != DEQUANTIZE else ())
        written.update(operator.outputs if operator.name != QUANTIZE else ())
    needed = tuple(
        operator
        for operator in operators
        if not (operator.name == DEQUANTIZE and read.isdisjoint(operator.outputs))
        and not (operator.name == QUANTIZE and written & set(operator.outputs))
    )
    return Graph(tuple(tensors), needed, graph.inputs, graph.outputs)


def _find_fused(graph: Graph) -> dict[int, int]:
    """Returns the quantized tensor each fused operator writes, by the operator's id."""
    targets: dict[int, int] = {}
    # Backwards: whether a Relu is fused decides about the convolution before it.
    for operator in reversed(graph.operators):
        if operator.name in CONVERSIONS or len(operator.outputs) != 1:
            continue
        target = _quantized_output(graph, operator, targets)
        if target is not None and _reads_integers(graph, operator):
            targets[id(operator)] = target
    # An activation is fused only together with the operator before it.
    return {
        id(operator): targets[id(operator)]
        for operator in graph.operators
        if id(operator) in targets and not _lacks_producer(graph, operator, targets)
    }


def _quantized_output(
    graph: Graph, operator: Operator, targets: Mapping[int, int]
) -> int | None:
    """Returns the tensor that an operator's output is quantized to; else None."""
    output = operator.outputs[0]
    readers = graph.consumers.get(output, [])
    if len(readers) != 1 or output in graph.outputs:
        return None
    reader = readers[0]
    if reader.name == QUANTIZE and reader.inputs[0] == output and reader.outputs:
        return reader.outputs[0]
    return targets.get(id(reader)) if reader.name in ACTIVATIONS else None


def _reads_integers(graph: Graph, operator: Operator) -> bool:
    """Returns whether all floats that an operator reads were dequantized."""
    dequantized = False
    for index in operator.inputs:
        tensor = graph.tensors[index] if index >= 0 else None
        if tensor is None or (tensor.dtype and "float" not in tensor.dtype):
            continue
        producer = graph.producers.get(index)
        if producer is not None and producer.name == DEQUANTIZE:
            dequantized = True
        elif tensor.constant and tensor.elements <= 1:
            continue  # the bounds of a Clip
        elif producer is None or operator.name not in ACTIVATIONS:
            return False
        else:
            dequantized = True
    return dequantized


def _lacks_producer(
    graph: Graph, operator: Operator, targets: Mapping[int, int]
) -> bool:
    producer = graph.producers.get(operator.inputs[0]) if operator.inputs else None
    if operator.name not in ACTIVATIONS or producer is None:
        return False
    return producer.name != DEQUANTIZE and id(producer) not in targets


def _as_integer(
    graph: Graph, operator: Operator, tensors: list[Tensor], targets: Mapping[int, int]
) -> Operator:
    """Returns a fused operator that reads and writes integer tensors."""
    target, output = targets[id(operator)], operator.outputs[0]
    if graph.consumers[output][0].name == QUANTIZE:
        shape = tensors[target].shape or tensors[output].shape
        tensors[target] = replace(tensors[target], shape=shape)
        output = target
    else:  # an activation reads it: the tensor between the two is never stored
        quantized = tensors[target]
        tensors[output] = replace(
            tensors[output],
            dtype=quantized.dtype,
            scales=quantized.scales,
            zero_points=quantized.zero_points,
        )
    return replace(
        operator,
        inputs=tuple(_undequantized(graph, index) for index in operator.inputs),
        outputs=(output,),
    )


def _undequantized(graph: Graph, index: int) -> int:
    """Returns the quantized tensor that a tensor was dequantized from, else itself."""
    producer = graph.producers.get(index)
    if producer is not None and producer.name == DEQUANTIZE and producer.inputs:
        return producer.inputs[0]
    return index
