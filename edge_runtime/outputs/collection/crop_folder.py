"""The folder of ``--collect``: crops within limits of number, bytes and age."""

from __future__ import annotations

import errno
import fcntl
import logging
import os
import shutil
import threading
from collections import deque
from pathlib import Path
from typing import NamedTuple

from edge_runtime.errors import OutputError
from edge_runtime.outputs.base import CollectLimits
from edge_runtime.outputs.collection import crop_files
from edge_runtime.outputs.collection.crop_age import CropAge
from edge_runtime.outputs.collection.crop_files import Document
from edge_runtime.outputs.collection.crop_image import (
    difference_hash,
    look_the_same,
    reduced,
)
from edge_runtime.outputs.collection.kept_crop import (
    KeptCrop,
    beyond_limits,
    kept_crop,
)
from edge_runtime.outputs.rendering import encode_jpeg
from edge_runtime.outputs.video import SPARE_BYTES
from edge_runtime.preprocessing import Image
from edge_runtime.utils.files import remove_leftovers

JPEG_QUALITY = 95
RECENT = 64  # crops that a new one must not look like
LOCK = ".lock"

logger = logging.getLogger(__name__)


class TakenCrop(NamedTuple):
    """A crop on its way to the disk.

    Attributes:
        image: uint8 (H, W, 3) BGR or (H, W) grey: a view of its frame.
        most_px: Its shorter side is reduced to this.
        document: Where it is from, and the model's answer, JSON-ready.
    """

    image: Image
    most_px: int
    document: Document


class CropFolder:
    """Crops within limits; safe in any thread.

    Crops that a person has labelled stay until they are too old: where nothing else can
    go, no new one is kept. Files with other names neither count nor are touched. What
    others remove is gone, and a folder that they remove is made again.
    """

    def __init__(
        self, folder: Path, limits: CollectLimits, *, age: CropAge | None = None
    ) -> None:
        """Creates the folder if it does not exist; what is in it is read when needed.

        Args:
            folder: Where crops are.
            limits: The limits.
            age: Tells which crops are too old; None: by the limits.

        Raises:
            OutputError: It cannot be written, or another run collects into it.
        """
        self.path, self.limits = folder, limits
        self._age = age or CropAge(limits.max_days)
        self._lock = threading.RLock()
        self._crops: dict[str, KeptCrop] | None = None
        self._recent: deque[int] = deque(maxlen=RECENT)
        self._number = 0
        self._told_full = False
        try:
            self._handle = _locked(folder)
        except BlockingIOError as error:
            raise OutputError(
                f"another run collects into {str(folder)!r}: give --collect another"
                " folder"
            ) from error
        except OSError as error:
            raise OutputError(
                f"cannot collect into {str(folder)!r}: {error.strerror}"
            ) from error

    def close(self) -> None:
        """Lets another run collect into the folder."""
        os.close(self._handle)

    def crops(self) -> list[KeptCrop]:
        """Returns the crops on the disk, the oldest first.

        Raises:
            OSError: The folder cannot be read.
        """
        with self._lock:
            return list(self._current().values())

    def store(self, taken: TakenCrop) -> bool:
        """Returns whether a crop is kept.

        It is not if it looks like a recent one, or is less useful than all.

        Raises:
            OSError: It cannot be written, and no part of it was.
        """
        image = reduced(taken.image, taken.most_px)
        pattern = difference_hash(image)
        with self._lock:
            crops = self._current()
            if any(look_the_same(pattern, recent) for recent in self._recent):
                return False
            if shutil.disk_usage(self.path).free < SPARE_BYTES:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(self.path))
            jpeg = encode_jpeg(image, JPEG_QUALITY)
            document = crop_files.with_image(taken.document, jpeg)
            name = f"{self._number + 1:09d}-{self._age.stamp()}"
            size = len(jpeg) + len(crop_files.encoded(document))
            new = kept_crop(name, document, size)
            removed = beyond_limits([*crops.values(), new], self.limits)
            self._tell_full(full=new in removed)
            if new in removed:
                return False
            for crop in removed:
                self._remove(crop.name)
            crop_files.write_crop(self.path, name, jpeg, document)
            self._number += 1
            crops[name] = new
            self._recent.append(pattern)
            return True

    def document(self, name: str) -> Document:
        """Returns the document of a crop.

        Raises:
            KeyError: There is no such crop (any more).
            OSError, ValueError: It cannot be read.
        """
        with self._lock:
            if name not in self._index():
                raise KeyError(name)
            return crop_files.read_document(self.path, name)

    def jpeg(self, name: str) -> bytes:
        """Returns the image file of a crop; errors as ``document``."""
        with self._lock:
            return crop_files.read_jpeg(self.path, name, self.document(name))

    def replace_document(self, name: str, document: Document) -> None:
        """Writes another document of a crop.

        Raises:
            KeyError: There is no such crop (any more).
            OSError: It cannot be written, and the old one is as it was.
        """
        with self._lock:
            crops = self._index()
            before = crops[name].size - len(
                crop_files.encoded(crop_files.read_document(self.path, name))
            )
            crop_files.write_document(self.path, name, document)
            size = before + len(crop_files.encoded(document))
            crops[name] = kept_crop(name, document, size)

    def _current(self) -> dict[str, KeptCrop]:
        """Returns the crops by name that are still there, and not too old."""
        if not self._is_locked():  # somebody has removed the folder
            handle = _locked(self.path)
            os.close(self._handle)
            self._handle, self._crops = handle, None
            self._recent.clear()
        crops = self._index()
        there = set(crop_files.crop_names(self.path))
        for name in [name for name in crops if name not in there]:
            del crops[name]
        for name in self._age.too_old(crops):
            self._remove(name)
        return crops

    def _index(self) -> dict[str, KeptCrop]:
        """Returns the crops by name; the folder is read at the first call."""
        if self._crops is None:
            remove_leftovers(self.path)
            crops = {}
            for name in crop_files.crop_names(self.path):
                try:
                    document = crop_files.read_document(self.path, name)
                    size = crop_files.size_of(self.path, name)
                except (OSError, ValueError):
                    continue  # damaged
                crops[name] = kept_crop(name, document, size)
            crop_files.remove_parts(self.path)
            self._number = max(map(crop_files.number_of, crops), default=self._number)
            self._age.start_with(crops)
            self._crops = crops
            for crop in beyond_limits(list(crops.values()), self.limits):
                self._remove(crop.name)
        return self._crops

    def _is_locked(self) -> bool:
        """Returns whether the folder is still the one that was locked."""
        try:
            lock = (self.path / LOCK).stat()
        except FileNotFoundError:
            return False
        return os.path.samestat(lock, os.fstat(self._handle))

    def _tell_full(self, *, full: bool) -> None:
        """Logs once that labelled crops leave no room."""
        crops = self._index().values()
        full = full and bool(crops) and all(crop.labelled for crop in crops)
        if full and not self._told_full:
            logger.warning(
                "--collect: %s is full of labelled crops, and no more is kept: export"
                " them (collect export), then empty it or allow more with"
                " --collect-most and --collect-mb",
                self.path,
            )
        self._told_full = full

    def _remove(self, name: str) -> None:
        crop_files.remove_crop(self.path, name)
        self._index().pop(name)


def _locked(folder: Path) -> int:
    """Returns a descriptor that holds a lock on a folder, which is made if need be.

    Raises:
        BlockingIOError: Another process holds it.
        OSError: It cannot be written.
    """
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    handle = os.open(folder / LOCK, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(handle)
        raise
    return handle
