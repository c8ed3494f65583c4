"""Reads a CSV in the layout of fer2013.csv: ``emotion,pixels,Usage``."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from pathlib import Path

from edge_runtime.errors import DatasetError
from train.data.entries import SPLIT_NAMES, Entry

# The order of the CSV's label numbers; folders sort by name, which is another order.
FER2013_LABELS = ("angry", "disgust", "fear", "happy", "sad", "surprise", "neutral")
_PIXELS = 48 * 48
_PGM_HEADER = b"P5 48 48 255\n"  # so that a row's pixels are read as any image file
FER2013_COLUMNS = ("emotion", "pixels", "Usage")


def read_entries(path: Path) -> list[Entry]:
    """Returns the labelled images of a CSV.

    Raises:
        DatasetError: It cannot be read, or a row is wrong.
    """
    # A row's pixels are 8 kB of text and 2.3 kB of bytes: only the bytes are kept.
    entries = []
    try:
        # Spreadsheets write a byte order mark: "utf-8-sig" takes it or leaves it.
        with path.open(newline="", encoding="utf-8-sig") as file:
            rows = csv.DictReader(file)
            _check_columns(rows.fieldnames, path.name)
            for number, row in enumerate(rows, start=1):
                entries.append(_read_row(number, row, path.name))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise DatasetError(f"{path.name} is no readable CSV: {error}") from error
    return entries


def _check_columns(columns: Sequence[str] | None, name: str) -> None:
    names = list(columns or ())
    if not set(FER2013_COLUMNS) <= set(names):
        raise DatasetError(
            f"{name}: expected the columns {','.join(FER2013_COLUMNS)},"
            f" got {','.join(names)[:80]!r}"
        )


def _read_row(number: int, row: dict[str, str | None], name: str) -> Entry:
    emotion, usage = row["emotion"] or "", row["Usage"] or ""
    split = SPLIT_NAMES.get(usage.strip().lower())
    known = emotion.strip() in [str(n) for n in range(len(FER2013_LABELS))]
    if not known or split is None:
        raise DatasetError(
            f"{name} row {number}: expected emotion 0..6 and Usage Training,"
            f" PublicTest or PrivateTest, got {emotion[:20]!r} and {usage[:20]!r}"
        )
    pixels = _read_pixels(row["pixels"] or "")
    return Entry(f"row {number}", split, FER2013_LABELS[int(emotion)], lambda: pixels)


def _read_pixels(text: str) -> bytes:
    """Returns a PGM image of 2,304 grey values, or no bytes where they are not."""
    try:
        values = bytes(map(int, text.split()))
    except ValueError:
        return b""
    return _PGM_HEADER + values if len(values) == _PIXELS else b""
