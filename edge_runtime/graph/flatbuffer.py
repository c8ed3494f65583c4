"""Reads flatbuffers that may be damaged or hostile.

Every offset is checked and the number of reads is limited. Only the parts of the format
that TFLite uses: https://flatbuffers.dev/internals/.
"""

from __future__ import annotations

import struct
from typing import Any

import numpy as np
import numpy.typing as npt

from edge_runtime.errors import ModelError

# Tables, vector entries and characters read from one file. The largest classifiers need
# some thousands; overlapping tables could make a small file endless.
MOST_READS = 500_000


class Table:
    """A table of a flatbuffer; its fields are numbered from 0 as in the schema."""

    def __init__(self, file: Flatbuffer, position: int) -> None:
        """Takes the file and the table's position in it."""
        self._file, self._position = file, position
        self._vtable = position - file.number("<i", position)
        self._vtable_size = file.number("<H", self._vtable)

    def number(self, field: int, format: str, default: int = 0) -> int:
        """Returns an integer field.

        Args:
            field: Its number.
            format: As for ``struct``, such as ``"<i"``.
            default: Returned where the field is absent.
        """
        position = self._find(field)
        return default if position is None else self._file.number(format, position)

    def table(self, field: int) -> Table | None:
        """Returns a table field, or None where it is absent."""
        position = self._target(field)
        return None if position is None else Table(self._file, position)

    def tables(self, field: int) -> list[Table]:
        """Returns a vector of tables; empty where it is absent.

        Raises:
            ModelError: It reaches beyond the file, or has too many entries.
        """
        begin, length = self._vector(field, 4)
        self._file.spend(length)
        return [
            Table(self._file, self._file.offset(begin + 4 * index))
            for index in range(length)
        ]

    def array(self, field: int, dtype: str) -> npt.NDArray[Any]:
        """Returns a vector of numbers, (length,); it shares the file's memory.

        Args:
            field: Its number.
            dtype: Of one number, such as ``"<i4"``.
        """
        begin, length = self._vector(field, np.dtype(dtype).itemsize)
        return np.frombuffer(self._file.data, dtype, length, begin)

    def integers(self, field: int) -> tuple[int, ...]:
        """Returns a short vector of int32."""
        array = self.array(field, "<i4")
        self._file.spend(len(array))
        return tuple(array.tolist())

    def text(self, field: int) -> str:
        """Returns a text; empty where it is absent."""
        array = self.array(field, "u1")
        self._file.spend(len(array) // 8)
        return array.tobytes().decode("utf-8", "replace")

    def _find(self, field: int) -> int | None:
        entry = 4 + 2 * field
        if entry + 2 > self._vtable_size:
            return None
        offset = self._file.number("<H", self._vtable + entry)
        return self._position + offset if offset else None

    def _target(self, field: int) -> int | None:
        position = self._find(field)
        return None if position is None else self._file.offset(position)

    def _vector(self, field: int, itemsize: int) -> tuple[int, int]:
        """Returns the position of a vector's first entry, and its length."""
        position = self._target(field)
        if position is None:
            return 0, 0
        length = self._file.number("<I", position)
        self._file.check(position + 4, length * itemsize)
        return position + 4, length


class Flatbuffer:
    """The bytes of a flatbuffer, and how many reads are left."""

    def __init__(self, data: bytes) -> None:
        """Takes the whole file; its first four bytes point to the root table."""
        self.data = data
        self._left = MOST_READS

    def root(self) -> Table:
        """Returns the root table.

        Raises:
            ModelError: The file is cut off or damaged; all other methods raise it, too.
        """
        return Table(self, self.offset(0))

    def number(self, format: str, position: int) -> int:
        """Returns the number at a position."""
        size = struct.calcsize(format)
        self.check(position, size)
        self.spend(1)
        value: int = struct.unpack_from(format, self.data, position)[0]
        return value

    def offset(self, position: int) -> int:
        """Returns the position that the offset at a position points to."""
        return position + self.number("<I", position)

    def check(self, position: int, size: int) -> None:
        """Raises ModelError unless the file has ``size`` bytes at a position."""
        if position < 0 or position + size > len(self.data):
            raise ModelError(
                "the model is cut off or damaged: copy or export it again (expected"
                f" {size} bytes at {position}, the flatbuffer has {len(self.data)})"
            )

    def spend(self, count: int) -> None:
        """Counts reads; raises ModelError after more than any real graph needs."""
        self._left -= count
        if self._left < 0:
            raise ModelError(
                "the model is damaged or hostile: its graph has more than"
                f" {MOST_READS:,} entries"
            )
