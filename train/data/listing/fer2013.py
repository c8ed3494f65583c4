"""Rows of a CSV in the layout of fer2013.csv: ``emotion,pixels,Usage``."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator
from functools import partial

from edge_runtime.errors import DatasetError
from train.data.listing.csv_table import CsvTable
from train.data.listing.entries import Entry
from train.data.splits import split_of

# The order of the CSV's label numbers; folders sort by name, which is another order.
FER2013_LABELS = ("angry", "disgust", "fear", "happy", "sad", "surprise", "neutral")
FER2013_COLUMNS = ("emotion", "pixels", "Usage")
SMALLEST_SIDE_PX = 8  # less is a damaged row


def read_entries(table: CsvTable) -> Iterator[Entry]:
    """Yields the labelled images of rows with the columns ``emotion`` and ``pixels``.

    Without a column ``Usage``, as in the challenge's ``train.csv``, all are for
    training. The images may have any size, and all have that of most.

    Raises:
        DatasetError: A row is wrong.
    """
    found: list[tuple[int, str, str, bytes]] = []
    for number, row in table.rows:
        emotion, usage = row["emotion"], row.get("usage", "training")
        split = split_of(usage)
        known = emotion in [str(n) for n in range(len(FER2013_LABELS))]
        if not known or split is None:
            raise DatasetError(
                f"{table.name} row {number}: expected emotion 0..6 and Usage Training,"
                f" PublicTest or PrivateTest, got {emotion[:20]!r} and {usage[:20]!r}"
            )
        # A row's pixels are 8 kB of text and 2.3 kB of bytes: only these are kept.
        values = _read_pixels(row["pixels"])
        found.append((number, split, FER2013_LABELS[int(emotion)], values))
    sides = Counter(
        math.isqrt(len(values)) for *_, values in found if _is_square(values)
    )
    side = max(sides, key=sides.__getitem__, default=0)
    for number, split, label, values in found:
        yield Entry(f"row {number}", split, label, partial(_image, values, side))


def _is_square(values: bytes) -> bool:
    side = math.isqrt(len(values))
    return side >= SMALLEST_SIDE_PX and side**2 == len(values)


def _image(values: bytes, side: int) -> bytes:
    """Returns a row's pixels as an image file, so that they are read as any other."""
    if len(values) != side**2 or not values:
        count = f"{len(values):,}" if values else "no"
        expected = f"expected {side} x {side}, as in most rows" if side else ""
        raise ValueError(
            f"{count} pixels from 0 to 255: {expected or 'no square image'}"
        )
    return b"P5 %d %d 255\n" % (side, side) + values


def _read_pixels(text: str) -> bytes:
    """Returns the grey values in a text; no bytes where there are others."""
    try:
        return bytes(map(int, text.split()))
    except ValueError:
        return b""
