"""Camera pictures kept on disk, and never more of them than was allowed."""

from __future__ import annotations

import errno
import json
import os
import re
import shutil
from collections import deque
from datetime import UTC, datetime
from pathlib import Path

import cv2

from edge_runtime.errors import OutputError
from edge_runtime.outputs.base import RecordLimits
from edge_runtime.outputs.documents import frame_document
from edge_runtime.outputs.rendering import Picture
from edge_runtime.outputs.video import SPARE_BYTES
from edge_runtime.outputs.work_queue import QueueCapacity, WorkQueue
from edge_runtime.preprocessing import Image

RECORD_ROOM = QueueCapacity(frames=2, events=8)  # pictures in memory

JPEG_QUALITY = 90

# Only what was recorded is ever removed: a folder may hold other pictures, too.
_NAME = re.compile(r"\d{8}T\d{6}\.\d{6}Z-\d{9,}\.jpg")


class Recorder:
    """Chooses pictures: those with an event, and else one with a face now and then."""

    def __init__(self, queue: WorkQueue[Picture], every_s: float) -> None:
        """Takes the queue before the folder.

        Args:
            queue: Gets the pictures to keep.
            every_s: Least time between two without an event; 0 for every one.
        """
        self._queue, self._every_s = queue, every_s
        self._last_s: float | None = None

    def take(self, picture: Picture) -> bool:
        """Takes one picture; keeps it if it is due."""
        result = picture.result
        now = result.timestamp_s
        due = self._last_s is None or abs(now - self._last_s) >= self._every_s
        if result.events or (result.faces and due):
            self._last_s = now
            self._queue.put(picture, keep=bool(result.events))
        return True


class FrameArchive:
    """A folder of pictures, each with its answer beside it, within limits.

    Files are for their owner alone. What an earlier run left counts; files of other
    names neither count nor are touched.
    """

    def __init__(self, folder: Path, limits: RecordLimits) -> None:
        """Makes the folder where there is none.

        Raises:
            OutputError: It cannot be made or read.
        """
        self._folder, self._limits = folder, limits
        try:
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            # A document whose picture is gone counts, too, until it is the oldest.
            both = (one for one in folder.iterdir() if one.suffix in (".jpg", ".json"))
            names = {one.with_suffix(".jpg").name for one in both}
            own = map(folder.joinpath, sorted(filter(_NAME.fullmatch, names)))
            self._kept = deque((path, _size(path)) for path in own)
        except OSError as error:
            raise OutputError(
                f"cannot record to {str(folder)!r}: {error.strerror}"
            ) from error
        self._bytes = sum(size for _, size in self._kept)

    def store(self, picture: Picture) -> None:
        """Writes one picture and its document, and removes the oldest beyond the limit.

        Raises:
            OSError: It cannot be written; nothing of it stays.
        """
        self._check_space()
        when = datetime.now(UTC).strftime("%Y%m%dT%H%M%S.%fZ")
        path = self._folder / f"{when}-{picture.result.index:09d}.jpg"
        document = json.dumps(frame_document(picture.result)).encode()
        try:
            _write(path, _jpeg(picture.plain()))
            _write(path.with_suffix(".json"), document)
        except OSError:
            _remove(path)
            raise
        self._kept.append((path, _size(path)))
        self._bytes += self._kept[-1][1]
        self._remove_oldest()

    def _remove_oldest(self) -> None:
        most = self._limits.megabytes * 10**6
        while len(self._kept) > self._limits.pictures or self._bytes > most:
            path, size = self._kept.popleft()
            self._bytes -= size
            _remove(path)

    def _check_space(self) -> None:
        if shutil.disk_usage(self._folder).free < SPARE_BYTES:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(self._folder))


def _jpeg(image: Image) -> bytes:
    done, data = cv2.imencode(".jpg", image, (cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY))
    if not done:
        raise OSError(errno.EINVAL, "this OpenCV cannot encode a JPEG")
    return data.tobytes()


def _write(path: Path, data: bytes) -> None:
    flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC
    with os.fdopen(os.open(path, flags, 0o600), "wb") as file:
        file.write(data)


def _size(path: Path) -> int:
    pair = (path, path.with_suffix(".json"))
    return sum(one.stat().st_size for one in pair if one.exists())


def _remove(path: Path) -> None:
    path.unlink(missing_ok=True)
    path.with_suffix(".json").unlink(missing_ok=True)
