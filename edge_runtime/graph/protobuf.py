"""The protobuf wire format, as much as reading and extending an ONNX file needs.

The format: https://protobuf.dev/programming-guides/encoding/.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from edge_runtime.errors import ModelError

VARINT, EIGHT_BYTES, LENGTH, FOUR_BYTES = 0, 1, 2, 5
# Fields and numbers read from one file. Large classifiers have some ten thousand.
MOST_READS = 500_000

Bytes = bytes | memoryview


def read_varint(data: Bytes, position: int) -> tuple[int, int]:
    """Returns the number at a position, and where it ends.

    Raises:
        IndexError: It reaches beyond the end.
        ValueError: It has more than 64 bits.
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


def to_varint(value: int) -> bytes:
    """Returns a number of 0 or more as protobuf writes it."""
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def content_of(data: Bytes, position: int, wire_type: int) -> tuple[int, int]:
    """Returns where a field's content begins and where it ends.

    Args:
        data: The message.
        position: Just behind the field's tag.
        wire_type: The tag's lowest three bits.

    Raises:
        IndexError: The field reaches beyond the end.
        ValueError: The same, or it is of no type that ONNX has.
    """
    if wire_type == VARINT:
        return position, read_varint(data, position)[1]
    if wire_type in (EIGHT_BYTES, FOUR_BYTES):
        begin, end = position, position + (8 if wire_type == EIGHT_BYTES else 4)
    elif wire_type == LENGTH:
        length, begin = read_varint(data, position)
        end = begin + length
    else:
        raise ValueError(f"wire type {wire_type}")
    if end > len(data):
        raise ValueError("a field reaches beyond the end")
    return begin, end


@dataclass(frozen=True, slots=True)
class Field:
    """One field of a message.

    Attributes:
        number: Its number in the schema.
        wire_type: ``VARINT``, ``EIGHT_BYTES``, ``LENGTH`` or ``FOUR_BYTES``.
        content: Its bytes, without tag and length.
    """

    number: int
    wire_type: int
    content: memoryview

    @property
    def integer(self) -> int:
        """The value of an integer field, signed; 0 for one that has a length."""
        if self.wire_type == LENGTH:
            return 0
        if self.wire_type == VARINT:
            return _signed(read_varint(self.content, 0)[0])
        return int.from_bytes(self.content, "little", signed=True)

    @property
    def text(self) -> str:
        """The value of a text field."""
        return bytes(self.content).decode("utf-8", "replace")


class Message:
    """A message; it and the parts taken from it share one limit on the work."""

    def __init__(self, data: Bytes, *, limit: list[int] | None = None) -> None:
        """Takes a message's bytes; ``part`` hands its own limit on."""
        self._data = memoryview(data)
        self._left = [MOST_READS] if limit is None else limit

    def part(self, field: Field) -> Message:
        """Returns the message that a field contains."""
        return Message(field.content, limit=self._left)

    def fields(self) -> Iterator[Field]:
        """Yields each field in turn.

        Raises:
            ModelError: The message is cut off, damaged or endless.
        """
        position = 0
        while position < len(self._data):
            self._spend()
            try:
                tag, begin = read_varint(self._data, position)
                begin, position = content_of(self._data, begin, tag & 7)
            except (IndexError, ValueError) as error:
                raise _damaged(error) from error
            yield Field(tag >> 3, tag & 7, self._data[begin:position])

    def numbers(self, field: Field) -> list[int]:
        """Returns the signed integers in a field of a repeated one, packed or not.

        Raises:
            ModelError: As ``fields``.
        """
        if field.wire_type != LENGTH:
            return [field.integer]
        numbers, position = [], 0
        while position < len(field.content):
            self._spend()
            try:
                number, position = read_varint(field.content, position)
            except (IndexError, ValueError) as error:
                raise _damaged(error) from error
            numbers.append(_signed(number))
        return numbers

    def _spend(self) -> None:
        self._left[0] -= 1
        if self._left[0] < 0:
            raise ModelError(
                "the model is damaged or hostile: its graph has more than"
                f" {MOST_READS:,} entries"
            )


def _signed(value: int) -> int:
    value &= 2**64 - 1
    return value - 2**64 if value >= 2**63 else value


def _damaged(error: Exception) -> ModelError:
    return ModelError(
        f"the model is cut off or damaged: copy or export it again ({error})"
    )
