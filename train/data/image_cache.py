"""A folder of decoded images on the disk, found again by the content of their files.

Images are appended to segments: a file of raw pixels, and an index that is written last
and never changed. Trainings at the same time write segments of their own. Pixels are
read with their checksum, not mapped: pages of a mapped file count as this process's
memory.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import shutil
import time
import uuid
import zlib
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np

from edge_runtime.errors import DatasetError, OutputError
from edge_runtime.utils.files import replacing
from train.data.cache_segments import (
    DAMAGE,
    INDEX,
    PIXELS,
    ROW,
    Segment,
    SegmentWriter,
    index_of,
    load_array,
    pixels_of,
)
from train.data.image_formats import Flags, ImageFile, ImageFormat, PreparedImage
from train.data.stored_images import Images, InMemory, Rows, StoredImages

VERSION = 1
FOLDER_VARIABLE = "FER_EDGE_CACHE"
LARGEST_CACHE = 32 * 2**30  # bytes; the images at hand are kept, however many
SEGMENT_BYTES = 2**29
SPARE_BYTES = 2**28  # of the disk, for others
STAMPS = "stamps.npy"
ABANDONED_S = 3600.0  # a segment without an index, not written to for so long


def cache_folder() -> Path:
    """Returns where decoded images are kept.

    That of ``FER_EDGE_CACHE``, else ``fer-edge/images`` in the user's folder for caches
    (XDG Base Directory Specification: ``XDG_CACHE_HOME``, else ``~/.cache``).
    """
    if own := os.environ.get(FOLDER_VARIABLE, ""):
        return Path(own).expanduser()
    base = os.environ.get("XDG_CACHE_HOME", "")
    parent = Path(base) if Path(base).is_absolute() else Path("~/.cache").expanduser()
    return parent / "fer-edge" / "images"


class ImageCache:
    """The decoded images of one format, and new ones beside them."""

    def __init__(self, folder: Path, form: ImageFormat) -> None:
        """Reads the indices.

        Args:
            folder: As ``cache_folder``; it is made.
            form: The format of the images.

        Raises:
            OutputError: The folder cannot be written.
        """
        self.folder, self.shape = folder, form.shape
        self.hashes: list[str] = []
        self._form = form
        name = f"{form.size_px}-{form.colour}-{form.fit}-v{VERSION}-{cv2.__version__}"
        self._own = folder / name
        try:
            # XDG: images may be private. The mode is that of this folder alone.
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._own.mkdir(exist_ok=True)
        except OSError as error:
            raise cannot_write(folder, error) from error
        self._places: list[tuple[int, int, int]] = []  # segment, position, checksum
        self._segments = [Segment(path, form) for path in self._own.glob(f"*{INDEX}")]
        self._rows: dict[bytes, int] = {}  # by content
        self._found: dict[bytes, tuple[int, int]] = {
            content: (number, position)
            for number, segment in enumerate(self._segments)
            for position, content in enumerate(segment.table["content"].tolist())
        }
        self._stamps = _read_stamps(self._own / STAMPS)
        self._new_stamps: dict[bytes, bytes] = {}
        self._writing: SegmentWriter | None = None

    @property
    def place(self) -> str:
        """Where the images are, for people."""
        return f"decoded images: in {self.folder} (may be deleted at any time)"

    def content_of(self, stamp: str) -> str:
        """Returns the content that a file had when it had this stamp; empty if new."""
        content = self._stamps.get(_digest_of_stamp(stamp), b"") if stamp else b""
        return content.decode() if content in self._found else ""

    def find(self, file: ImageFile) -> tuple[int, Flags] | None:
        """Returns the row of an image and what is doubtful about it; None if new."""
        key = file.content.encode()
        if key not in self._found:
            return None
        number, position = self._found[key]
        segment = self._segments[number]
        if not segment.open():  # another training removed it
            del self._found[key]
            return None
        segment.used = True
        self._remember(file)
        entry = segment.table[position]
        row = self._rows.get(key)
        if row is None:
            row = self._append(number, position, int(entry["crc"]), entry["pixels"])
            self._rows[key] = row
        return row, Flags(*entry["flags"].tolist())

    def add(self, image: PreparedImage, file: ImageFile) -> int:
        """Returns the row of a new image, whose pixels are written.

        Raises:
            OutputError: They cannot be written.
        """
        if self._writing is None or self._writing.full:
            self._finish_segment()
            self._writing = self._begin_segment()
        writer = self._writing
        data = image.pixels.tobytes()
        crc = zlib.crc32(data)
        try:
            writer.file.write(data)
        except OSError as error:
            self._discard()
            raise cannot_write(self.folder, error) from error
        hashed = image.pixel_hash.encode()
        writer.rows.append((file.content.encode(), hashed, crc, tuple(image.flags)))
        self._remember(file)
        return self._append(writer.number, len(writer.rows) - 1, crc, hashed)

    def _remember(self, file: ImageFile) -> None:
        if file.stamp:
            self._new_stamps[_digest_of_stamp(file.stamp)] = file.content.encode()

    def _append(self, number: int, position: int, crc: int, hashed: bytes) -> int:
        self._places.append((number, position, crc))
        self.hashes.append(hashed.decode())
        return len(self._places) - 1

    def finish(self) -> None:
        """Writes the index of what was added, so that it is found the next time.

        Raises:
            OutputError: It cannot be written.
        """
        self._finish_segment()
        for segment in self._segments:
            if segment.used:  # as of now: the oldest are removed first
                with contextlib.suppress(OSError):  # another training removed it
                    os.utime(segment.index)
        if not self._new_stamps.items() <= self._stamps.items():
            self._stamps.update(self._new_stamps)
            with contextlib.suppress(OutputError, OSError):  # it only saves time
                _write_stamps(self._own / STAMPS, self._stamps)

    def images(self, rows: list[int]) -> StoredImages:
        """Returns the images of these rows, read on access."""
        return StoredImages(self, np.array(rows, np.int64))

    def batch(self, rows: Rows) -> Callable[[], Images]:
        """Returns the images of some rows, uint8 (n, S, S, C).

        Raises:
            DatasetError: They cannot be read, or are not as they were written; they are
                decoded anew the next time.
        """
        images = np.empty((len(rows), *self.shape), np.uint8)
        for image, row in zip(images, rows.tolist(), strict=True):
            number, position, crc = self._places[row]
            segment = self._segments[number]
            if not segment.read(position, image) or zlib.crc32(image.data) != crc:
                segment.index.unlink(missing_ok=True)
                raise DatasetError(
                    f"decoded images in {str(segment.pixels)!r} are damaged, and are"
                    " not used any more: start again (a training goes on with --resume)"
                )
        return InMemory(images)

    def require_room(self, count: int) -> None:
        """Raises OutputError where that many images would not fit on the disk."""
        needed = count * self._form.nbytes
        with contextlib.suppress(OSError):
            free = shutil.disk_usage(self.folder).free
            free += sum(size for *_, size in self._removable())
            if needed > free:
                raise OutputError(
                    f"{count:,} decoded images need {needed / 2**30:.1f} GiB in"
                    f" {str(self.folder)!r}, got {free / 2**30:.1f} GiB: {_WAY_OUT}"
                )

    def _begin_segment(self) -> SegmentWriter:
        room = min(SEGMENT_BYTES, shutil.disk_usage(self.folder).total // 8)
        self._remove_oldest(room)
        index = self._own / f"{uuid.uuid4().hex}{INDEX}"
        try:
            segment = Segment(index, self._form, new=True)
            file = segment.pixels.open("wb")
        except OSError as error:
            raise cannot_write(self.folder, error) from error
        self._segments.append(segment)
        return SegmentWriter(file, len(self._segments) - 1, room // self._form.nbytes)

    def _finish_segment(self) -> None:
        writer, self._writing = self._writing, None
        if writer is None:
            return
        segment = self._segments[writer.number]
        segment.used = True
        try:
            writer.file.close()
            segment.table = np.array(writer.rows, ROW)
            segment.open()
            with replacing(segment.index) as temporary, temporary.open("wb") as file:
                np.save(file, segment.table, allow_pickle=False)
        except OSError as error:
            segment.pixels.unlink(missing_ok=True)
            raise cannot_write(self.folder, error) from error

    def _discard(self) -> None:
        """Removes the segment that is being written."""
        writer, self._writing = self._writing, None
        if writer is not None:
            with contextlib.suppress(OSError):  # what was not written any more
                writer.file.close()
            self._segments[writer.number].pixels.unlink(missing_ok=True)

    def _remove_oldest(self, room: int) -> None:
        """Removes the segments that were not used for longest, until there is room."""
        for pixels in self.folder.glob(f"*/*{PIXELS}"):
            with contextlib.suppress(OSError):  # a killed training's
                if not index_of(pixels).exists() and _age_s(pixels) > ABANDONED_S:
                    pixels.unlink()
        removable = self._removable()
        total = sum(size for *_, size in removable) + room
        for _, index, size in removable:
            free = shutil.disk_usage(self.folder).free
            if total <= LARGEST_CACHE and free > room + SPARE_BYTES:
                break
            index.unlink(missing_ok=True)
            pixels_of(index).unlink(missing_ok=True)
            total -= size

    def _removable(self) -> list[tuple[float, Path, int]]:
        """Returns time, index and bytes of what this set does not use, oldest first."""
        used = {segment.index for segment in self._segments if segment.used}
        found = []
        for index in self.folder.glob(f"*/*{INDEX}"):
            with contextlib.suppress(OSError):
                size = pixels_of(index).stat().st_size
                if index not in used:
                    found.append((index.stat().st_mtime, index, size))
        return sorted(found)


_WAY_OUT = (
    f"free some, name a folder on another disk in {FOLDER_VARIABLE}, choose a smaller"
    " --size, or --cache none"
)


def _age_s(path: Path) -> float:
    return time.time() - path.stat().st_mtime


def _digest_of_stamp(stamp: str) -> bytes:
    return hashlib.blake2b(stamp.encode(), digest_size=16).hexdigest().encode()


def _read_stamps(path: Path) -> dict[bytes, bytes]:
    """Returns the contents of files by their stamps; none of a damaged file."""
    try:
        pairs = load_array(path)
        if pairs.dtype != "S32" or pairs.ndim != 2 or pairs.shape[1] != 2:
            return {}
        return dict(pairs.tolist())
    except DAMAGE:
        return {}


def _write_stamps(path: Path, stamps: dict[bytes, bytes]) -> None:
    pairs = np.array(list(stamps.items()), "S32").reshape(-1, 2)
    with replacing(path) as temporary, temporary.open("wb") as file:
        np.save(file, pairs, allow_pickle=False)


def cannot_write(folder: Path, error: OSError) -> OutputError:
    """Returns the error for a folder that decoded images cannot be written to."""
    return OutputError(
        f"cannot keep decoded images in {str(folder)!r}: {error.strerror or error}:"
        f" {_WAY_OUT}"
    )
