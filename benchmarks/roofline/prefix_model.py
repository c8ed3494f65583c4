"""Makes a model of the first operators of a TFLite model.

With it a layer's time can be measured: that of the graph up to it, less that of the
graph up to the one before. The file is copied; in the copy the list of operators is
shortened, and the list of outputs points to a new one behind the end of the file.
"""

from __future__ import annotations

import struct

from edge_runtime.graph.ir import Graph

OUTPUTS, OPERATORS = 2, 3  # fields of a subgraph
SUBGRAPHS, SIGNATURES = 2, 7  # fields of a model


def prefix_model(model: bytes, graph: Graph, count: int) -> bytes:
    """Returns a TFLite file that ends after the first ``count`` operators.

    Its outputs are all tensors that no operator of it has read, so that no library can
    leave out an operator as unused.

    Args:
        model: A flatbuffer with one subgraph.
        graph: The same, as ``read_tflite`` returns it.
        count: Number of operators, at least 1.
    """
    file = bytearray(model) + bytes(-len(model) % 4)
    root = _number(file, "<I", 0)
    subgraphs = _target(file, root, SUBGRAPHS)
    subgraph = subgraphs + 4 + _number(file, "<I", subgraphs + 4)
    struct.pack_into("<I", file, _target(file, subgraph, OPERATORS), count)
    _replace(file, subgraph, OUTPUTS, _unread_tensors(graph, count))
    if _slot(file, root, SIGNATURES) is not None:
        _replace(file, root, SIGNATURES, ())  # they name the old outputs
    return bytes(file)


def _unread_tensors(graph: Graph, count: int) -> tuple[int, ...]:
    unread: dict[int, None] = {}
    for operator in graph.operators[:count]:
        for index in operator.inputs:
            unread.pop(index, None)
        unread.update(dict.fromkeys(operator.outputs))
    # A shortcut that is read again later needs no output: it is computed anyway.
    return tuple(unread)


def _replace(file: bytearray, table: int, field: int, numbers: tuple[int, ...]) -> None:
    slot = _slot(file, table, field)
    if slot is None:
        raise ValueError(f"expected field {field} in the table at {table}")
    struct.pack_into("<I", file, slot, len(file) - slot)
    file += struct.pack(f"<I{len(numbers)}i", len(numbers), *numbers)


def _target(file: bytearray, table: int, field: int) -> int:
    slot = _slot(file, table, field)
    if slot is None:
        raise ValueError(f"expected field {field} in the table at {table}")
    return slot + _number(file, "<I", slot)


def _slot(file: bytearray, table: int, field: int) -> int | None:
    vtable = table - _number(file, "<i", table)
    if 4 + 2 * field >= _number(file, "<H", vtable):
        return None
    offset = _number(file, "<H", vtable + 4 + 2 * field)
    return table + offset if offset else None


def _number(file: bytearray, format: str, position: int) -> int:
    number: int = struct.unpack_from(format, file, position)[0]
    return number
