"""ONNX's quantize-dequantize form brought into the form that is executed.

An ONNX int8 file writes float operators between DequantizeLinear and QuantizeLinear
nodes; ONNX Runtime fuses each such group into one integer operator. Here the same is
done on paper, so that the graph shows what runs in integers.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt

from edge_runtime.graph.ir import Graph, Operator, Tensor

Q, DQ = "QuantizeLinear", "DequantizeLinear"
NODES = frozenset({Q, DQ, "DynamicQuantizeLinear"})
# May stand between an operator and its QuantizeLinear: the clipping does their work.
ABSORBED = frozenset({"Relu", "Clip"})


def fold(
    graph: Graph, values: Mapping[int, npt.NDArray[Any]], axes: Mapping[int, int]
) -> Graph:
    """Returns a graph whose fused groups are integer operators.

    Quantize and dequantize nodes that only serve such groups are gone; the integer
    tensors carry scales and zero points.

    Args:
        graph: As the file has it.
        values: Numbers of small constants, by tensor.
        axes: The ``axis`` of each operator, by its ``id``.
    """
    tensors = list(graph.tensors)
    for one in graph.operators:
        _annotate(tensors, one, values, axes)
    annotated = replace(graph, tensors=tuple(tensors))
    fused = _fused(annotated)
    operators = [
        _as_integer(annotated, one, tensors, fused) if id(one) in fused else one
        for one in graph.operators
    ]
    used = {index for one in operators if one.name != DQ for index in one.inputs}
    used |= set(graph.outputs)
    made = {i for one in operators if one.name != Q for i in one.outputs}
    kept = tuple(
        one
        for one in operators
        if not (one.name == DQ and not used & set(one.outputs))
        and not (one.name == Q and made & set(one.outputs))
    )
    return Graph(tuple(tensors), kept, graph.inputs, graph.outputs)


def _annotate(
    tensors: list[Tensor],
    one: Operator,
    values: Mapping[int, npt.NDArray[Any]],
    axes: Mapping[int, int],
) -> None:
    """Writes a node's scale and zero point onto its integer tensor."""
    if one.name not in (Q, DQ) or len(one.inputs) < 2 or not one.outputs:
        return
    index = one.outputs[0] if one.name == Q else one.inputs[0]
    scales = values.get(one.inputs[1])
    if scales is None or index < 0:
        return
    zeros = values.get(one.inputs[2]) if len(one.inputs) > 2 else None
    if zeros is None or len(zeros) != len(scales):
        zeros = np.zeros(len(scales))
    tensors[index] = replace(
        tensors[index],
        scales=scales.astype(np.float32, copy=False),
        zero_points=zeros.astype(np.int64),
        axis=axes.get(id(one), 1),
    )


def _fused(graph: Graph) -> dict[int, int]:
    """Returns the quantized tensor each fused operator writes, by the operator's id."""
    found: dict[int, int] = {}
    # Backwards, so that what a Relu does is known when its convolution is looked at.
    for one in reversed(graph.operators):
        if one.name in NODES or len(one.outputs) != 1:
            continue
        target = _target(graph, one, found)
        if target is not None and _reads_integers(graph, one, found):
            found[id(one)] = target
    # A Relu that was taken on trust stays only with its convolution.
    return {
        id(one): found[id(one)]
        for one in graph.operators
        if id(one) in found and not _stranded(graph, one, found)
    }


def _target(graph: Graph, one: Operator, found: Mapping[int, int]) -> int | None:
    readers = graph.consumers.get(one.outputs[0], [])
    if len(readers) != 1 or one.outputs[0] in graph.outputs:
        return None
    reader = readers[0]
    if reader.name == Q and reader.inputs[0] == one.outputs[0] and reader.outputs:
        return reader.outputs[0]
    return found.get(id(reader)) if reader.name in ABSORBED else None


def _reads_integers(graph: Graph, one: Operator, found: Mapping[int, int]) -> bool:
    """True where all that an operator computes with was dequantized."""
    some = False
    for index in one.inputs:
        if index < 0 or not graph.tensors[index].dtype.startswith("float"):
            continue
        maker = graph.producers.get(index)
        if maker is not None and maker.name == DQ:
            some = True
        elif graph.tensors[index].constant and graph.tensors[index].elements <= 1:
            continue  # the limits of a Clip
        elif maker is None or one.name not in ABSORBED:
            return False
        else:
            some = True
    return some


def _stranded(graph: Graph, one: Operator, found: Mapping[int, int]) -> bool:
    maker = graph.producers.get(one.inputs[0]) if one.inputs else None
    if one.name not in ABSORBED or maker is None or maker.name == DQ:
        return False
    return id(maker) not in found


def _as_integer(
    graph: Graph, one: Operator, tensors: list[Tensor], fused: Mapping[int, int]
) -> Operator:
    """Returns a fused operator that reads and writes the integer tensors."""
    target = fused[id(one)]
    reader = graph.consumers[one.outputs[0]][0]
    output = one.outputs[0]
    if reader.name == Q:
        output = target
        shape = tensors[target].shape or tensors[one.outputs[0]].shape
        tensors[target] = replace(tensors[target], shape=shape)
    else:  # a Relu reads it: an integer tensor on paper only
        source, whole = tensors[target], tensors[output]
        tensors[output] = replace(
            whole,
            dtype=source.dtype,
            scales=source.scales,
            zero_points=source.zero_points,
        )
    return replace(
        one,
        inputs=tuple(_source(graph, index) for index in one.inputs),
        outputs=(output,),
    )


def _source(graph: Graph, index: int) -> int:
    maker = graph.producers.get(index)
    if index >= 0 and maker is not None and maker.name == DQ and maker.inputs:
        return maker.inputs[0]
    return index
