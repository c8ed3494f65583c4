"""The protobuf wire format, as far as one can read it without the schema.

Source: https://protobuf.dev/programming-guides/encoding/.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

VARINT, EIGHT_BYTES, LENGTH, FOUR_BYTES = 0, 1, 2, 5

Buffer = bytes | memoryview


class Field(NamedTuple):
    """One field of a message.

    Attributes:
        number: Its number in the schema.
        start: Where the field begins in the message: its tag.
        content: Its bytes, without tag and length.
    """

    number: int
    start: int
    content: memoryview


def read_fields(message: Buffer) -> Iterator[Field]:
    """Yields the fields of a message in their order; they share its memory.

    Raises:
        IndexError: The message is cut off.
        ValueError: The message is damaged.
    """
    data, position = memoryview(message), 0
    while position < len(data):
        start = position
        tag, position = read_varint(data, position)
        begin, wire_type = position, tag & 7
        if wire_type == VARINT:
            position = read_varint(data, position)[1]
        elif wire_type == LENGTH:
            length, begin = read_varint(data, position)
            position = begin + length
        elif wire_type in (EIGHT_BYTES, FOUR_BYTES):
            position += 8 if wire_type == EIGHT_BYTES else 4
        else:
            raise ValueError(f"wire type {wire_type}")
        if position > len(data):
            raise ValueError("a field reaches beyond the end")
        yield Field(tag >> 3, start, data[begin:position])


def read_varint(data: Buffer, position: int) -> tuple[int, int]:
    """Returns the number at a position, and the position behind it.

    Raises:
        IndexError: The number reaches beyond the end.
        ValueError: The number has more than 64 bits.
    """
    value = shift = 0
    while True:
        byte = data[position]
        position += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, position
        shift += 7
        if shift > 63:
            raise ValueError("a number is too long")


def write_varint(value: int) -> bytes:
    """Returns a number of 0 or more as protobuf writes it."""
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)
