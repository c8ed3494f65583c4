"""The first operators of a TFLite model as a model of their own.

What the libraries' Python interfaces have no profiler for can be seen so: a layer's
time is that of the graph up to it, less that of the graph up to the one before.
Nothing is written anew: in a copy of the file, the list of operators is cut short, and
the list of outputs replaced by one that stands behind the file.
"""

from __future__ import annotations

import struct

from edge_runtime.graph.ir import Graph

OUTPUTS, OPERATORS = 2, 3  # fields of a subgraph
SUBGRAPHS, SIGNATURES = 2, 7  # fields of a model


def prefix_model(model: bytes, graph: Graph, count: int) -> bytes:
    """Returns a TFLite file that ends after so many operators.

    Its outputs are all tensors that were made and not used yet, so that no library can
    leave out an operator for want of readers.

    Args:
        model: A flatbuffer that ``read_tflite`` has read, with one subgraph.
        graph: What it returned.
        count: Number of operators, at least 1.
    """
    file = bytearray(model) + bytes(-len(model) % 4)
    root = _number(file, "<I", 0)
    subgraphs = _target(file, root, SUBGRAPHS)
    subgraph = subgraphs + 4 + _number(file, "<I", subgraphs + 4)
    struct.pack_into("<I", file, _target(file, subgraph, OPERATORS), count)
    _replace(file, subgraph, OUTPUTS, _open_ends(graph, count))
    if _slot(file, root, SIGNATURES) is not None:
        _replace(file, root, SIGNATURES, ())  # they name the old outputs
    return bytes(file)


def _open_ends(graph: Graph, count: int) -> tuple[int, ...]:
    made: dict[int, None] = {}
    for operator in graph.operators[:count]:
        for index in operator.inputs:
            made.pop(index, None)
        made.update(dict.fromkeys(operator.outputs))
    # A shortcut is read again later: what was read once but is needed still is made
    # inside the prefix anyway.
    return tuple(made)


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
    found: int = struct.unpack_from(format, file, position)[0]
    return found
