"""The graph of an ONNX model, read with the ``onnx`` package.

This is the only module of ``edge_runtime`` that imports ``onnx``, and it does so only
when a graph is read. Operators between quantize and dequantize nodes are returned as
integer operators, as ONNX Runtime executes them (``edge_runtime.graph.qdq``).
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from edge_runtime.errors import ModelError, missing
from edge_runtime.graph.ir import (
    MOST_VALUES,
    Graph,
    Operator,
    Shape,
    Tensor,
    printable,
)
from edge_runtime.graph.protobuf import Buffer, read_fields
from edge_runtime.graph.qdq import DEQUANTIZE, QUANTIZE, fold

if TYPE_CHECKING:
    from onnx import GraphProto, ModelProto, NodeProto, TensorProto, ValueInfoProto

STANDARD_DOMAINS = ("", "ai.onnx", "com.microsoft")
# Parsing needs up to 250 times the bytes of nodes and attributes, but once those of
# weights. Classifiers of a thousand operators have 0.3 MiB of the former.
LARGEST_STRUCTURE_BYTES = 2 * 2**20
FIELD_BYTES = 16  # an empty field needs memory as well
WEIGHTS_PATH = (
    7,
    5,
    9,
)  # ModelProto.graph, GraphProto.initializer, TensorProto.raw_data
LARGEST_VALUE_BYTES = 2**18  # of constants that are read: scales, zero points, shapes
LARGEST_RANK = 16
# ONNX Runtime's own operators have no schema in the onnx package. For shapes and data
# types they are replaced by standard ones, with the inputs at these positions.
REPLACEMENTS: Mapping[str, tuple[str, tuple[int, ...]]] = {
    "QGemm": ("Gemm", (0, 3)),
    "QLinearAdd": ("Add", (0, 3)),
    "QLinearMul": ("Mul", (0, 3)),
    "QLinearAveragePool": ("AveragePool", (0,)),
    "QLinearGlobalAveragePool": ("GlobalAveragePool", (0,)),
    "QLinearLeakyRelu": ("LeakyRelu", (0,)),
    "QLinearSigmoid": ("Sigmoid", (0,)),
    "QLinearSoftmax": ("Softmax", (0,)),
}


def read_onnx(model: bytes) -> Graph:
    """Returns the graph of an ONNX ModelProto, with fused groups as integer operators.

    Weights in external files are never loaded.

    Args:
        model: The message, with or without our metadata.

    Raises:
        MissingDependencyError: ``onnx`` is not installed.
        ModelError: The message is cut off, damaged or hostile.
    """
    parsed = _parse(model)
    graph = parsed.graph
    nodes, protos = _split_constants(graph)
    constants = {name: _constant(name, proto) for name, proto in protos.items()}
    inputs = [value.name for value in graph.input if value.name not in constants]
    outputs = [value.name for value in graph.output]
    ends = [name for node in nodes for name in (*node.input, *node.output)]
    names = list(filter(None, dict.fromkeys((*constants, *inputs, *outputs, *ends))))
    if not all(isinstance(name, str) for name in (*names, *(n.op_type for n in nodes))):
        raise _damaged(ValueError("a name is not UTF-8"))
    index = {"": -1, **{name: position for position, name in enumerate(names)}}
    operators = tuple(
        Operator(
            printable(node.op_type),
            tuple(index[name] for name in node.input),
            tuple(index[name] for name in node.output),
            custom=node.domain not in STANDARD_DOMAINS,
        )
        for node in nodes
    )
    quantization = dict(_quantization(nodes, protos))
    types = _infer_types(parsed)
    tensors = []
    for name in names:
        shape, dtype = types.get(name, (None, ""))
        tensor = constants.get(name) or Tensor(name, shape, dtype)
        tensors.append(replace(tensor, **quantization.get(name, {})))
    return fold(
        Graph(
            tuple(tensors),
            operators,
            tuple(index[name] for name in inputs),
            tuple(index[name] for name in outputs),
        )
    )


def _parse(model: bytes) -> ModelProto:
    """Returns the message."""
    try:
        import onnx
    except ImportError as error:
        raise missing("onnx", "onnx-check", error) from error
    _refuse_large_structure(model)
    try:
        parsed: ModelProto = onnx.ModelProto.FromString(model)
    except Exception as error:  # protobuf's DecodeError
        raise _damaged(error) from error
    return parsed


def _split_constants(
    graph: GraphProto,
) -> tuple[list[NodeProto], dict[str, TensorProto]]:
    """Returns the nodes that compute something, and all constants by name."""
    values = [(node, _constant_value(node)) for node in graph.node]
    protos = {proto.name: proto for proto in graph.initializer}
    protos |= {node.output[0]: value for node, value in values if value is not None}
    return [node for node, value in values if value is None], protos


def _refuse_large_structure(model: bytes) -> None:
    """Raises ModelError where parsing would need much more memory than the file has."""
    total = 0
    try:
        for size in _structure_sizes(model, WEIGHTS_PATH):
            total += size
            if total > LARGEST_STRUCTURE_BYTES:
                raise ModelError(
                    "the model is damaged or hostile: expected at most"
                    f" {LARGEST_STRUCTURE_BYTES:,} bytes of graph beside the weights"
                )
    except (IndexError, ValueError) as error:
        raise _damaged(error) from error


def _structure_sizes(message: Buffer, weights_path: tuple[int, ...]) -> Iterator[int]:
    """Yields the size of each field that holds no weights, in bytes."""
    first, *rest = weights_path
    for field in read_fields(message):
        yield FIELD_BYTES
        if field.number != first:
            yield len(field.content)
        elif rest:
            yield from _structure_sizes(field.content, tuple(rest))


def _constant_value(node: NodeProto) -> TensorProto | None:
    """Returns the tensor of a Constant node; None for other nodes."""
    if node.op_type != "Constant" or not node.output:
        return None
    return next((one.t for one in node.attribute if one.HasField("t")), None)


def _constant(name: str, proto: TensorProto) -> Tensor:
    shape: Shape | None = tuple(max(0, size) for size in proto.dims)
    if len(proto.dims) > LARGEST_RANK:
        shape = None
    # Small constants may be in one of the typed fields.
    size = len(proto.raw_data) or proto.ByteSize()
    dtype = _dtype(proto.data_type)
    values = _numbers(proto) if dtype in ("float32", "float16") else None
    small = values is not None and 0 < len(values) <= MOST_VALUES
    return Tensor(
        name,
        shape,
        dtype,
        constant=True,
        bytes=size,
        values=values.astype(np.float32) if values is not None and small else None,
    )


def _quantization(
    nodes: Iterable[NodeProto], protos: Mapping[str, TensorProto]
) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yields the names of quantized tensors, with the attributes that say how."""
    for node in nodes:
        if node.op_type not in (QUANTIZE, DEQUANTIZE) or len(node.input) < 2:
            continue
        scales = _numbers(protos.get(node.input[1]))
        if scales is None or not node.output:
            continue
        zero_points = None
        if len(node.input) > 2:
            zero_points = _numbers(protos.get(node.input[2]))
        if zero_points is None or len(zero_points) != len(scales):
            zero_points = np.zeros(len(scales))
        yield (
            node.output[0] if node.op_type == QUANTIZE else node.input[0],
            {
                "scales": scales.astype(np.float32),
                "zero_points": zero_points.astype(np.int64),
                "axis": next(
                    (one.i for one in node.attribute if one.name == "axis"), 1
                ),
            },
        )


def _numbers(proto: TensorProto | None) -> npt.NDArray[Any] | None:
    """Returns a small constant's values, (n,); None where they are not in the file."""
    from onnx import TensorProto, numpy_helper

    if proto is None or proto.data_location == TensorProto.EXTERNAL:
        return None
    if proto.ByteSize() > LARGEST_VALUE_BYTES or proto.data_type == TensorProto.STRING:
        return None
    try:
        return numpy_helper.to_array(proto).ravel()
    except (ValueError, TypeError, KeyError):  # a damaged file
        return None


def _infer_types(model: ModelProto) -> dict[str, tuple[Shape | None, str]]:
    """Returns shape and data type of each tensor; the message is changed for it."""
    from onnx import shape_inference

    del model.functions[:]  # they may call themselves
    for proto in model.graph.initializer:
        if len(proto.raw_data) > LARGEST_VALUE_BYTES:
            proto.ClearField("raw_data")  # or it would be copied three times
    for value in (*model.graph.input, *model.graph.output, *model.graph.value_info):
        for dim in value.type.tensor_type.shape.dim:
            if dim.dim_value < 1:
                dim.Clear()
    for value in model.graph.input:
        for dim in value.type.tensor_type.shape.dim[:1]:
            dim.dim_value = dim.dim_value or 1  # a free batch size is 1
    for node in model.graph.node:
        if node.op_type in REPLACEMENTS:
            node.op_type, positions = REPLACEMENTS[node.op_type]
            node.domain = ""
            inputs = [node.input[one] for one in positions if one < len(node.input)]
            node.input[:] = inputs
    try:
        graph = shape_inference.infer_shapes(model, data_prop=True).graph
    except Exception as error:  # it raises many kinds on damaged files
        raise _damaged(error) from error
    values = (*graph.value_info, *graph.output, *graph.input)
    return {value.name: _type(value) for value in values}


def _type(value: ValueInfoProto) -> tuple[Shape | None, str]:
    tensor = value.type.tensor_type
    shape = tuple(dim.dim_value for dim in tensor.shape.dim)
    known = tensor.HasField("shape") and len(shape) <= LARGEST_RANK
    if not known or min(shape, default=1) < 1 or math.prod(shape) > 2**40:
        return None, _dtype(tensor.elem_type)
    return shape, _dtype(tensor.elem_type)


def _dtype(number: int) -> str:
    """Returns the name of an ONNX data type; empty for 0, which is none."""
    from onnx import TensorProto

    if number == TensorProto.UNDEFINED:
        return ""
    if number not in TensorProto.DataType.values():
        return f"type {number}"
    name = str(TensorProto.DataType.Name(number)).lower()
    return {"float": "float32", "double": "float64"}.get(name, name)


def _damaged(error: Exception) -> ModelError:
    return ModelError(
        f"the model is cut off or damaged: copy or export it again ({error})"
    )
