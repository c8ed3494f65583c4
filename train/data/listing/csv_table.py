"""A CSV as people have it: columns found by name, any of three separators."""

from __future__ import annotations

import csv
import zipfile
import zlib
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import IO

from edge_runtime.errors import DatasetError
from train.data.listing.stored_files import StoredFile

# Of files, and of zips.
_DAMAGE = (
    OSError,
    ValueError,
    csv.Error,
    EOFError,
    RuntimeError,
    zipfile.BadZipFile,
    zlib.error,
)
MAX_FIELD = 4 * 2**20  # the pixels of 1024x1024
MAX_LINE_BYTES = 2 * MAX_FIELD
SEPARATORS = ",;\t"  # the semicolon: spreadsheets where the comma is decimal


@dataclass(frozen=True)
class CsvTable:
    """The rows of a CSV, read while it is open.

    Attributes:
        name: Of the file.
        columns: Names of the columns as they are written, without space around them.
        rows: Each row's number from 1, and its values by ``column_key``, without space
            around them; a missing value is empty.
    """

    name: str
    columns: tuple[str, ...]
    rows: Iterator[tuple[int, dict[str, str]]]

    @property
    def keys(self) -> tuple[str, ...]:
        """The columns as ``column_key`` has them."""
        return tuple(map(column_key, self.columns))


def column_key(column: str) -> str:
    """Returns a column's name as it is compared: ``File_Name`` as ``file name``."""
    return " ".join(column.casefold().replace("_", " ").split())


@contextmanager
def open_table(file: StoredFile, name: str) -> Iterator[CsvTable]:
    """Yields a CSV with a header; the text is never in memory as a whole.

    Args:
        file: The CSV.
        name: For messages.

    Raises:
        DatasetError: It cannot be read, or is no such CSV.
    """
    csv.field_size_limit(MAX_FIELD)
    try:
        with file.open() as stream:
            text = _lines(stream)
            header = next(text, "")
            separator = max(SEPARATORS, key=header.count)
            names = next(_read([header], separator), [])
            columns = tuple(each.strip() for each in names)
            keys = tuple(map(column_key, columns))
            yield CsvTable(name, columns, _number(_read(text, separator), keys))
    except UnicodeDecodeError as error:
        raise DatasetError(f"{name} is no readable CSV: expected UTF-8 text") from error
    except _DAMAGE as error:
        raise DatasetError(f"{name} is no readable CSV: {error}") from error


def _lines(stream: IO[bytes]) -> Iterator[str]:
    """Yields the lines of UTF-8 text; none of them fills the memory."""
    encoding = "utf-8-sig"  # spreadsheets write a byte order mark: taken or left
    while line := stream.readline(MAX_LINE_BYTES):
        if len(line) == MAX_LINE_BYTES:
            raise ValueError(f"a line has more than {MAX_LINE_BYTES} bytes")
        yield from line.decode(encoding).splitlines(keepends=True)
        encoding = "utf-8"


def _read(lines: Iterable[str], separator: str) -> Iterator[list[str]]:
    return csv.reader(lines, delimiter=separator, skipinitialspace=True)


def _number(
    rows: Iterator[list[str]], keys: tuple[str, ...]
) -> Iterator[tuple[int, dict[str, str]]]:
    number = 0
    for values in rows:
        if values:
            number += 1
            padded = (*values, *[""] * (len(keys) - len(values)))
            stripped = (value.strip() for value in padded)
            yield number, dict(zip(keys, stripped, strict=False))
