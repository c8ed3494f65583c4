"""Frames kept on disk (``--record``), within limits."""

from __future__ import annotations

import errno
import json
import os
import re
import shutil
from collections import deque
from datetime import UTC, datetime
from pathlib import Path

from edge_runtime.errors import OutputError
from edge_runtime.outputs.base import RecordLimits
from edge_runtime.outputs.documents import frame_document
from edge_runtime.outputs.rendering import RenderedFrame, encode_jpeg
from edge_runtime.outputs.video import SPARE_BYTES
from edge_runtime.outputs.work_queue import QueueCapacity, WorkQueue

RECORD_CAPACITY = QueueCapacity(frames=2, events=8)  # whole frames in memory

JPEG_QUALITY = 90

# Only recorded images are ever removed: the folder may hold others. A running number,
# the time of day and the frame's number; the first was missing in version 0.1.
_NAME = re.compile(r"(?:(\d{9,})-)?\d{8}T\d{6}\.\d{6}Z-\d{9,}\.jpg")


class Recorder:
    """Puts frames into a queue: those with an event, and some others with a face."""

    def __init__(self, queue: WorkQueue[RenderedFrame], min_interval_s: float) -> None:
        """Takes the queue; 0 seconds between two frames: every one with a face."""
        self._queue, self._min_interval_s = queue, min_interval_s
        self._last_s: float | None = None

    def write(self, rendered: RenderedFrame) -> bool:
        """Puts a frame that is to be recorded into the queue; returns True."""
        result = rendered.result
        now_s = result.timestamp_s
        due = self._last_s is None or abs(now_s - self._last_s) >= self._min_interval_s
        if result.events or (result.faces and due):
            self._last_s = now_s
            self._queue.put(rendered, event=bool(result.events))
        return True


class FrameArchive:
    """A folder of JPEG images, each with its JSON document beside it, within limits.

    Only the owner may read the files. Those of an earlier run count; files with other
    names neither count nor are touched.
    """

    def __init__(self, folder: Path, limits: RecordLimits) -> None:
        """Creates the folder if it does not exist.

        Raises:
            OutputError: It cannot be created or read.
        """
        self._folder, self._limits = folder, limits
        try:
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            # A document without its image counts, too, until it is the oldest.
            names = {
                path.with_suffix(".jpg").name
                for path in folder.iterdir()
                if path.suffix in (".jpg", ".json")
            }
            recorded = sorted(filter(_NAME.fullmatch, names), key=_order)
            paths = map(folder.joinpath, recorded)
            self._recorded = deque((path, _size(path)) for path in paths)
        except OSError as error:
            raise OutputError(
                f"cannot record to {str(folder)!r}: {error.strerror}"
            ) from error
        self._bytes = sum(size for _, size in self._recorded)
        self._number = _order(recorded[-1])[0] if recorded else 0

    def store(self, rendered: RenderedFrame) -> None:
        """Writes one image and its document; removes the oldest beyond the limits.

        Raises:
            OSError: It cannot be written, and no part of it was.
        """
        self._check_space()
        when = datetime.now(UTC).strftime("%Y%m%dT%H%M%S.%fZ")
        self._number += 1
        name = f"{self._number:09d}-{when}-{rendered.result.index:09d}.jpg"
        path = self._folder / name
        document = json.dumps(frame_document(rendered.result)).encode()
        try:
            _write(path, encode_jpeg(rendered.image, JPEG_QUALITY))
            _write(path.with_suffix(".json"), document)
        except OSError:
            _remove(path)
            raise
        self._recorded.append((path, _size(path)))
        self._bytes += self._recorded[-1][1]
        self._remove_oldest()

    def _remove_oldest(self) -> None:
        max_bytes = self._limits.max_megabytes * 10**6
        while len(self._recorded) > self._limits.max_images or self._bytes > max_bytes:
            path, size = self._recorded.popleft()
            self._bytes -= size
            _remove(path)

    def _check_space(self) -> None:
        if shutil.disk_usage(self._folder).free < SPARE_BYTES:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(self._folder))


def _order(name: str) -> tuple[int, str]:
    """Returns what the oldest image has least of.

    Not its time of day: a clock may step back, and one without a battery starts in the
    past.
    """
    match = _NAME.fullmatch(name)
    return int(match[1] or 0) if match else 0, name


def _write(path: Path, data: bytes) -> None:
    flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC
    with os.fdopen(os.open(path, flags, 0o600), "wb") as file:
        file.write(data)


def _size(path: Path) -> int:
    pair = (path, path.with_suffix(".json"))
    return sum(file.stat().st_size for file in pair if file.exists())


def _remove(path: Path) -> None:
    path.unlink(missing_ok=True)
    path.with_suffix(".json").unlink(missing_ok=True)
