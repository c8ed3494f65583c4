"""The graph of an ONNX model, read without any ONNX library.

The schema: https://github.com/onnx/onnx, onnx/onnx.proto. Fields are given by their
number in it. Operators between quantize and dequantize nodes come out as integer
operators, as ONNX Runtime executes them (``edge_runtime.graph.qdq``).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from edge_runtime.errors import ModelError
from edge_runtime.graph.ir import Graph, Operator, Shape, Tensor, printable
from edge_runtime.graph.onnx_shapes import (
    Attributes,
    Node,
    Values,
    dtype_name,
    infer_dtype,
    infer_shape,
)
from edge_runtime.graph.protobuf import Field, Message
from edge_runtime.graph.qdq import fold

OWN_DOMAINS = ("", "ai.onnx", "com.microsoft")
MOST_VALUES = 65_536  # constants kept for shapes and scales; weights are larger


@dataclass
class _Reading:
    """What was read so far: tensors by name, nodes in order."""

    tensors: list[Tensor] = field(default_factory=list)
    index: dict[str, int] = field(default_factory=dict)
    values: Values = field(default_factory=dict)
    nodes: list[Node] = field(default_factory=list)
    inputs: list[int] = field(default_factory=list)
    outputs: list[int] = field(default_factory=list)

    def add(self, tensor: Tensor) -> int:
        """Returns the index of a tensor, now or already known by its name."""
        if tensor.name in self.index:
            return self.index[tensor.name]
        self.index[tensor.name] = len(self.tensors)
        self.tensors.append(tensor)
        return len(self.tensors) - 1

    def named(self, name: str) -> int:
        """Returns the index of the tensor of a name, -1 for the empty one."""
        return self.add(Tensor(name, None, "")) if name else -1


def read_onnx(model: bytes) -> Graph:
    """Returns the graph of an ONNX ModelProto, integer operators recognised.

    Args:
        model: The message; metadata in it do no harm.

    Raises:
        ModelError: It is cut off, damaged or hostile.
    """
    message, read = Message(model), _Reading()
    graphs = [one for one in message.fields() if one.number == 7]
    if not graphs:
        raise ModelError("the model is damaged: it has no graph")
    graph = message.part(graphs[-1])
    parts = list(graph.fields())
    for part in parts:
        if part.number == 5:
            _add_constant(read, graph.part(part))
    for number, ends in ((11, read.inputs), (12, read.outputs), (13, None)):
        for part in parts:
            if part.number == number:
                _add_value(read, graph.part(part), ends)
    for part in parts:
        if part.number == 1:
            _add_node(read, graph.part(part))
    _infer(read)
    operators = tuple(
        Operator(node.name, node.inputs, node.outputs, node.custom)
        for node in read.nodes
    )
    constants = {i for i, one in enumerate(read.tensors) if one.constant}
    inputs = tuple(one for one in read.inputs if one not in constants)
    whole = Graph(tuple(read.tensors), operators, inputs, tuple(read.outputs))
    axes = {
        id(o): n.integer("axis", 1) for o, n in zip(operators, read.nodes, strict=True)
    }
    return fold(whole, read.values, axes)


def _add_constant(read: _Reading, message: Message, name: str = "") -> None:
    """Adds an initializer, or a Constant node's value under its output's name."""
    dims: list[int] = []
    dtype, size = 0, 0
    raw: Field | None = None
    typed: Field | None = None
    for part in message.fields():
        match part.number:
            case 1:
                dims += message.numbers(part)
            case 2:
                dtype = part.integer
            case 4 | 5 | 7 | 10 | 11:
                typed, size = part, size + len(part.content)
            case 8:
                name = name or part.text
            case 9:
                raw, size = part, len(part.content)
    known = dtype_name(dtype)
    shape: Shape = tuple(max(0, one) for one in dims)
    index = read.add(Tensor(name, shape, known, constant=True, bytes=size))
    if raw is not None or typed is not None:
        values = _values(message, known, raw, typed)
        if values is not None:
            read.values[index] = values


def _values(
    message: Message, dtype: str, raw: Field | None, typed: Field | None
) -> npt.NDArray[Any] | None:
    """Returns a small constant's numbers (n,); None for a large or strange one."""
    if dtype not in ("float32", "uint8", "int8", "uint16", "int16", "int32", "int64"):
        return None
    if raw is not None:
        kind = np.dtype(dtype).newbyteorder("<")
        whole = len(raw.content) // kind.itemsize
        return np.frombuffer(raw.content, kind, whole) if whole <= MOST_VALUES else None
    if typed is None or len(typed.content) > 4 * MOST_VALUES:
        return None
    if dtype == "float32":
        return np.frombuffer(typed.content, "<f4", len(typed.content) // 4)
    return np.array(message.numbers(typed), np.int64)


def _add_value(read: _Reading, message: Message, ends: list[int] | None) -> None:
    """Adds a graph input, output or annotated tensor: ValueInfoProto."""
    name, dtype = "", ""
    shape: Shape | None = None
    for part in message.fields():
        if part.number == 1:
            name = part.text
        elif part.number == 2:
            dtype, shape = _type(message.part(part))
    if not name:
        return
    index = read.named(name)
    if not read.tensors[index].constant:
        read.tensors[index] = Tensor(name, shape, dtype)
    if ends is not None:
        ends.append(index)


def _type(message: Message) -> tuple[str, Shape | None]:
    """Returns data type and shape of a TypeProto; a free size is 1."""
    dtype, shape = 0, None
    for kind in message.fields():
        if kind.number != 1:  # tensor_type
            continue
        tensor = message.part(kind)
        for part in tensor.fields():
            if part.number == 1:
                dtype = part.integer
            elif part.number == 2:
                shape = _dims(tensor.part(part))
    return dtype_name(dtype), shape


def _dims(message: Message) -> Shape:
    dims = []
    for dim in message.fields():
        size = 1
        for part in message.part(dim).fields():
            if part.number == 1:
                size = max(1, part.integer)
        dims.append(size)
    return tuple(dims)


def _add_node(read: _Reading, message: Message) -> None:
    inputs, outputs, name, domain = [], [], "", ""
    attributes: Attributes = {}
    constant: Message | None = None
    for part in message.fields():
        match part.number:
            case 1:
                inputs.append(part.text)
            case 2:
                outputs.append(part.text)
            case 4:
                name = printable(part.text)
            case 5:
                key, value, tensor = _attribute(message.part(part))
                attributes[key] = value
                constant = constant or tensor
            case 7:
                domain = part.text
    if name == "Constant" and constant is not None and outputs:
        _add_constant(read, constant, outputs[0])
        return
    read.nodes.append(
        Node(
            name,
            tuple(read.named(one) for one in inputs),
            tuple(read.named(one) for one in outputs),
            attributes,
            custom=domain not in OWN_DOMAINS,
        )
    )


def _attribute(message: Message) -> tuple[str, list[int], Message | None]:
    """Returns an attribute's name, its integers, and its tensor."""
    name, numbers, tensor = "", [], None
    for part in message.fields():
        match part.number:
            case 1:
                name = part.text
            case 3:
                numbers.append(part.integer)
            case 8:
                numbers += message.numbers(part)
            case 5:
                tensor = message.part(part)
    return name, numbers, tensor


def _infer(read: _Reading) -> None:
    """Fills in the shapes and types that the file leaves to its reader."""
    for node in read.nodes:
        for position, index in enumerate(node.outputs):
            if index < 0:
                continue
            known = read.tensors[index]
            shape, dtype = known.shape, known.dtype
            if shape is None and position == 0:
                shape = infer_shape(node, read.tensors, read.values)
            if not dtype:
                dtype = infer_dtype(node, read.tensors)
            read.tensors[index] = Tensor(known.name, shape, dtype)
