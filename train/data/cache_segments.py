"""Segments of the image cache: a file of raw pixels, and its index."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import numpy.typing as npt

from edge_runtime.untrusted import open_regular
from train.data.image_formats import ImageFormat
from train.data.stored_images import Images

PIXELS, INDEX = ".pixels", ".index.npy"
ROW = np.dtype(
    [("content", "S32"), ("pixels", "S32"), ("crc", "<u4"), ("flags", "?", (3,))]
)
Table = npt.NDArray[np.void]
# What numpy raises on damaged files.
DAMAGE = (OSError, ValueError, EOFError, MemoryError, SyntaxError, TypeError)


class Segment:
    """A file of pixels and its index."""

    def __init__(self, index: Path, form: ImageFormat, *, new: bool = False) -> None:
        self.index, self.pixels = index, pixels_of(index)
        self.used = new
        self.table: Table = np.empty(0, ROW)
        self._nbytes = form.nbytes
        self._file: BinaryIO | None = None
        if not new:
            self.table = self._read_index()

    def _read_index(self) -> Table:
        """Returns the rows; none of a damaged segment."""
        try:
            table: Table = load_array(self.index)
            size = self.pixels.stat().st_size
        except DAMAGE:
            return np.empty(0, ROW)
        whole = table.dtype == ROW and size == len(table) * self._nbytes
        return table if whole else np.empty(0, ROW)

    def read(self, position: int, image: Images) -> bool:
        """Fills an image with the pixels at a position; returns whether it could."""
        start = position * self._nbytes
        try:
            file = self._file
            return file is not None and (
                os.preadv(file.fileno(), [image.data], start) == self._nbytes
            )
        except OSError:
            return False

    def open(self) -> bool:
        """Opens the pixels: they can be read also when others have removed them."""
        with contextlib.suppress(OSError):
            self._file = self._file or open_regular(self.pixels)
        return self._file is not None

    def __del__(self) -> None:
        if self._file is not None:
            self._file.close()


class SegmentWriter:
    """A segment that is being written."""

    def __init__(self, file: BinaryIO, number: int, most: int) -> None:
        self.file, self.number, self._most = file, number, max(1, most)
        self.rows: list[tuple[bytes, bytes, int, tuple[bool, ...]]] = []

    @property
    def full(self) -> bool:
        """Whether the next image belongs into another segment."""
        return len(self.rows) >= self._most


def pixels_of(index: Path) -> Path:
    """Returns where the pixels of an index are."""
    return index.with_name(index.name.removesuffix(INDEX) + PIXELS)


def index_of(pixels: Path) -> Path:
    """Returns where the index of some pixels is."""
    return pixels.with_name(pixels.name.removesuffix(PIXELS) + INDEX)


def load_array(path: Path) -> npt.NDArray[Any]:
    """Returns the array in a file; raises one of ``DAMAGE``."""
    with open_regular(path) as file:
        array: npt.NDArray[Any] = np.load(file, allow_pickle=False)
    return array
