"""Pictures from standard input: MJPEG, or JPEG files one after the other."""

from __future__ import annotations

import logging
import os
import stat
from collections import deque
from typing import Any

import cv2
import numpy as np

from edge_runtime.errors import SourceError
from edge_runtime.sources.clock import Clock
from edge_runtime.sources.frames import FALLBACK_FPS, EndOfSource
from edge_runtime.sources.jpeg_stream import JpegSplitter

logger = logging.getLogger(__name__)

_PIECE_BYTES = 64 * 1024
_MOST_WITHOUT_PICTURE = 32 * 2**20
_HINT = (
    "expected JPEG pictures on stdin, got {got}: send them as with"
    "  ffmpeg -i IN -f mjpeg - | edge-runtime run --source -"
)


class PipeReader:
    """JPEG pictures from a file descriptor, decoded one at a time."""

    def __init__(self, descriptor: int, fps: float | None = None) -> None:
        """Takes an open descriptor, which stays open.

        Args:
            descriptor: Of a pipe or file.
            fps: What the sender is known to send per second.
        """
        self.fps = fps or FALLBACK_FPS
        self._descriptor = descriptor
        self._splitter = JpegSplitter()
        self._ready: deque[bytes] = deque()
        self._decoded = self._bytes = 0
        self._first = b""

    def read(self) -> Any:
        """Returns the next picture, uint8 (H, W, 3) BGR; None for a damaged one.

        Raises:
            EndOfSource: The sender has closed the pipe.
            SourceError: What comes is not JPEG.
        """
        while not self._ready:
            self._take_in()
        data = np.frombuffer(self._ready.popleft(), np.uint8)
        try:
            image = cv2.imdecode(data, cv2.IMREAD_COLOR)
        except cv2.error as error:
            logger.debug("%s", error)
            return None
        self._decoded += image is not None
        return image

    def close(self) -> None:
        """Does nothing: stdin is not ours to close."""

    def _take_in(self) -> None:
        # Not sys.stdin: a thread that waits in its lock would block Python's exit.
        try:
            piece = os.read(self._descriptor, _PIECE_BYTES)
        except OSError as error:
            raise SourceError(_HINT.format(got=error.strerror)) from error
        if not piece and not self._decoded:
            raise SourceError(_HINT.format(got=self._what_came()))
        if not piece:
            raise EndOfSource
        self._first = (self._first + piece)[:4]
        self._bytes += len(piece)
        self._ready.extend(self._splitter.feed(piece))
        if not self._decoded and self._splitter.passed_over > _MOST_WITHOUT_PICTURE:
            raise SourceError(_HINT.format(got="32 MB of something else"))

    def _what_came(self) -> str:
        """Returns what was there instead of a picture, until the end."""
        if not self._bytes:
            return "nothing"
        if self._splitter.inside or self._first.startswith(b"\xff\xd8"):
            return f"{self._bytes} bytes of one that is cut off or damaged"
        kind = "a PNG file" if self._first == b"\x89PNG" else "something else"
        return f"{kind} ({self._bytes} bytes)"


class PacedReader:
    """A reader whose pictures come at its rate, by the clock it is given."""

    def __init__(self, reader: PipeReader, clock: Clock) -> None:
        """Takes an open reader."""
        self.fps = reader.fps
        self._reader, self._clock = reader, clock

    def read(self) -> Any:
        """Lets one picture's time pass and returns the next."""
        self._clock.sleep(1 / self.fps)
        return self._reader.read()

    def close(self) -> None:
        """Closes the reader."""
        self._reader.close()


def is_file(descriptor: int) -> bool:
    """Returns whether a descriptor is a file on a disk, which waits to be read."""
    try:
        return stat.S_ISREG(os.fstat(descriptor).st_mode)
    except OSError as error:
        raise SourceError(_HINT.format(got="a closed one")) from error
