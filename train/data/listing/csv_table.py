"""A CSV as people have it: columns found by name, any of three separators."""

from __future__ import annotations

import csv
import re
import zipfile
import zlib
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
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
# Behind a carriage return alone, as spreadsheets on a Mac write it. Not splitlines():
# it also ends lines at U+2028 and U+0085, which are characters of names.
_OLD_MAC_LINE = re.compile(r"(?<=\r)(?!\n)")


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
            if header.casefold().startswith("sep="):  # a line for Excel alone
                header = next(text, "")
            separator = max(SEPARATORS, key=header.count)
            names = next(_read([header], separator), [])
            columns = _columns(names, name)
            yield CsvTable(
                name, columns, _number(_read(text, separator), columns, name)
            )
    except UnicodeDecodeError as error:
        raise DatasetError(
            f"{name} is not a readable CSV: expected UTF-8 text"
        ) from error
    except _DAMAGE as error:
        raise DatasetError(f"{name} is not a readable CSV: {error}") from error


def _lines(stream: IO[bytes]) -> Iterator[str]:
    """Yields the lines of UTF-8 text; none of them fills the memory."""
    encoding = "utf-8-sig"  # spreadsheets write a byte order mark: taken or left
    while line := stream.readline(MAX_LINE_BYTES):
        if len(line) == MAX_LINE_BYTES:
            raise ValueError(f"a line has more than {MAX_LINE_BYTES} bytes")
        yield from filter(None, _OLD_MAC_LINE.split(line.decode(encoding)))
        encoding = "utf-8"


def _read(lines: Iterable[str], separator: str) -> Iterator[list[str]]:
    return csv.reader(lines, delimiter=separator, skipinitialspace=True)


def _columns(names: Sequence[str], table: str) -> tuple[str, ...]:
    """Returns the columns in a header, without empty ones at its end.

    Raises:
        DatasetError: Two have the same name.
    """
    columns = [each.strip() for each in names]
    while columns and not columns[-1]:
        columns.pop()
    counts = Counter(map(column_key, columns))
    repeated = [each for each in columns if each and counts[column_key(each)] > 1]
    if repeated:
        raise DatasetError(
            f"{table}: expected each column once, got {', '.join(repeated)[:80]!r}:"
            " remove or rename the others"
        )
    return tuple(columns)


def _number(
    rows: Iterator[list[str]], columns: tuple[str, ...], table: str
) -> Iterator[tuple[int, dict[str, str]]]:
    keys, number = tuple(map(column_key, columns)), 0
    for values in rows:
        if values:
            number += 1
            if any(map(str.strip, values[len(keys) :])):
                raise DatasetError(
                    f"{table} row {number}: expected {len(keys)} values, as the header"
                    f" has columns, got {len(values)}: quote a value with a separator"
                    " in it"
                )
            padded = (*values, *[""] * (len(keys) - len(values)))
            stripped = (value.strip() for value in padded)
            yield number, dict(zip(keys, stripped, strict=False))
