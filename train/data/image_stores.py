"""Where decoded images are kept: in memory, on the disk, or nowhere.

``ram`` decodes at every start; ``disk`` keeps the decoded images in a folder, see
``train.data.image_cache``; ``none`` decodes an image whenever it is asked for.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from typing import Literal, Protocol, get_args

import numpy as np

from edge_runtime.errors import DatasetError, OutputError
from edge_runtime.hardware.board import read_memory
from train.data.image_cache import ImageCache, cache_folder
from train.data.image_formats import (
    Flags,
    ImageFile,
    ImageFormat,
    PreparedImage,
    content_hash,
)
from train.data.listing.entries import Entry
from train.data.stored_images import Images, Pixels, Rows, StoredImages

logger = logging.getLogger(__name__)

Cache = Literal["ram", "disk", "none"]
CACHES: tuple[Cache, ...] = get_args(Cache)
Prepare = Callable[[Sequence[bytes], ImageFormat, bool], list[PreparedImage | str]]


class ImageStore(Protocol):
    """Keeps decoded images, and may have some already."""

    def content_of(self, stamp: str) -> str:
        """Returns the content that a file had with this stamp; empty if unknown."""
        ...

    def find(self, file: ImageFile) -> tuple[int, Flags] | None:
        """Returns the row of an image and what is doubtful about it; None if new."""
        ...

    def add(self, image: PreparedImage, file: ImageFile) -> int:
        """Returns the row of a new image."""
        ...

    def images(self, rows: list[int]) -> Pixels:
        """Returns the images of these rows."""
        ...

    def finish(self) -> None:
        """Keeps what was added; nothing is added any more."""
        ...


class FileStore:
    """Keeps no pixels: images are decoded at each access."""

    def __init__(self, form: ImageFormat, prepare: Prepare) -> None:
        """Knows no file yet.

        Args:
            form: The format of the images.
            prepare: As ``train.data.decoding.prepare``.
        """
        self.shape, self.hashes = form.shape, list[str]()
        self._form, self._prepare = form, prepare
        self._files: list[ImageFile] = []
        self.place = "decoded images: none are kept"

    def content_of(self, stamp: str) -> str:
        """Returns an empty text: nothing is known."""
        return ""

    def find(self, file: ImageFile) -> None:
        """Returns None: nothing is kept."""
        return None

    def add(self, image: PreparedImage, file: ImageFile) -> int:
        """Returns the row of a new image."""
        self._files.append(file)
        self.hashes.append(image.pixel_hash)
        return len(self._files) - 1

    def images(self, rows: list[int]) -> StoredImages:
        """Returns the images of these rows, decoded on access."""
        return StoredImages(self, np.array(rows, np.int64))

    def finish(self) -> None:
        """Does nothing."""

    def batch(self, rows: Rows) -> Callable[[], Images]:
        """Reads the files; the images are decoded where it is called."""
        files = [self._files[row] for row in rows.tolist()]
        encoded = [_read_again(file) for file in files]
        return EncodedBatch(encoded, self._form, self._prepare)


class EncodedBatch:
    """Images of a batch as files."""

    def __init__(self, files: list[bytes], form: ImageFormat, prepare: Prepare) -> None:
        """Keeps the bytes of the files, and how they are decoded."""
        self._files, self._form, self._prepare = files, form, prepare

    def __call__(self) -> Images:
        """Returns uint8 (n, S, S, C)."""
        images = np.empty((len(self._files), *self._form.shape), np.uint8)
        for index, image in enumerate(self._prepare(self._files, self._form, False)):
            if isinstance(image, str):  # it could be decoded before
                raise DatasetError(f"an image can no longer be decoded: {image}")
            images[index] = image.pixels
        return images


def _read_again(file: ImageFile) -> bytes:
    """Returns the bytes of a file, which must be those that it had at the start."""
    try:
        data = file.entry.read()
        if content_hash(data) == file.content:
            return data
        reason = "it has changed"
    except OSError as error:
        reason = error.strerror or str(error)
    except ValueError as error:
        reason = str(error)
    raise DatasetError(
        f"cannot read {file.entry.name} again ({reason}): --cache none needs the images"
        " as they are for the whole training; restore it and go on with --resume"
    )


def open_store(
    entries: Sequence[Entry], form: ImageFormat, cache: Cache | None, prepare: Prepare
) -> ImageStore | None:
    """Returns where decoded images are kept outside of memory; None if in memory.

    Args:
        entries: The images.
        form: How a model takes them.
        cache: ``"disk"``, ``"none"``, or None for the disk where that is possible.
        prepare: As ``train.data.decoding.prepare``.

    Raises:
        DatasetError: They fit neither on the disk nor in memory.
        OutputError: They do not fit on the disk, or it cannot be written.
    """
    if cache == "none":
        return FileStore(form, prepare)
    try:
        images = ImageCache(cache_folder(), form)
        images.require_room(sum(not images.content_of(stamp_of(e)) for e in entries))
        return images
    except OutputError as error:
        if cache == "disk":
            raise
        require_memory(len(entries), form, hint=str(error))
        logger.warning("%s; they are kept in memory instead", error)
        return None


def require_memory(
    count: int,
    form: ImageFormat,
    hint: str = "choose --cache disk, or a smaller --size",
) -> None:
    """Raises DatasetError if that many images would not fit into memory."""
    needed = 2 * count * form.nbytes  # they are copied once
    memory = read_memory()
    if memory is not None and needed > memory.available:
        free = f"{memory.available / 2**30:.1f}"
        raise DatasetError(
            f"{count:,} images of {form.size_px} pixels need {needed / 2**30:.1f} GiB"
            f" of memory, {free} are free: {hint}"
        )


def stamp_of(entry: Entry) -> str:
    """Returns the stamp of an entry; empty where it cannot be had."""
    try:
        return entry.stamp()
    except OSError:  # reading it tells why
        return ""
