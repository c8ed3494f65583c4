"""Writes small flatbuffers, so that a model file can be made without any library.

Parents stand before their children, all offsets point forward, and every field takes
four bytes: larger than need be, and simple. The format:
https://flatbuffers.dev/internals/.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Number:
    """A number of at most four bytes that stands in its table.

    Attributes:
        format: As for ``struct``, such as ``"<i"``.
        value: The number.
    """

    format: str
    value: int


@dataclass(frozen=True)
class Values:
    """A vector of numbers, or a text.

    Attributes:
        data: The numbers as they stand in the file.
        count: How many they are.
        alignment: Where the first of them may stand.
    """

    data: bytes
    count: int
    alignment: int = 4


@dataclass(frozen=True)
class Tables:
    """A vector of tables, each given by its fields."""

    tables: Sequence[Fields]


Fields = Mapping[int, "Number | Values | Tables | Fields"]


def write_flatbuffer(root: Fields, identifier: bytes) -> bytes:
    """Returns the file of a root table.

    Args:
        root: Its fields by their number in the schema.
        identifier: Four bytes that name the schema.
    """
    file = bytearray(4) + identifier
    _point(file, 0, _table(file, root))
    return bytes(file)


def integers(*numbers: int) -> Values:
    """Returns a vector of int32."""
    return Values(struct.pack(f"<{len(numbers)}i", *numbers), len(numbers))


def _table(file: bytearray, fields: Fields) -> int:
    """Appends a table with all that belongs to it; returns its position."""
    count = max(fields, default=-1) + 1
    order = sorted(fields)
    offsets = [4 + 4 * order.index(i) if i in fields else 0 for i in range(count)]
    _align(file, 4)
    vtable = len(file)
    file += struct.pack(f"<HH{count}H", 4 + 2 * count, 4 + 4 * len(order), *offsets)
    _align(file, 4)
    position = len(file)
    file += struct.pack("<i", position - vtable) + bytes(4 * len(order))
    for number in order:
        slot, value = position + offsets[number], fields[number]
        if isinstance(value, Number):
            struct.pack_into(value.format, file, slot, value.value)
        else:
            _point(file, slot, _child(file, value))
    return position


def _child(file: bytearray, value: Values | Tables | Fields) -> int:
    if isinstance(value, Values):
        return _vector(file, value)
    if not isinstance(value, Tables):
        return _table(file, value)
    _align(file, 4)
    position = len(file)
    file += struct.pack("<I", len(value.tables)) + bytes(4 * len(value.tables))
    for index, fields in enumerate(value.tables):
        _point(file, position + 4 + 4 * index, _table(file, fields))
    return position


def _vector(file: bytearray, values: Values) -> int:
    while (len(file) + 4) % max(4, values.alignment):
        file += b"\0"
    position = len(file)
    file += struct.pack("<I", values.count) + values.data + b"\0"
    return position


def _align(file: bytearray, size: int) -> None:
    file += bytes(-len(file) % size)


def _point(file: bytearray, slot: int, position: int) -> None:
    struct.pack_into("<I", file, slot, position - slot)
