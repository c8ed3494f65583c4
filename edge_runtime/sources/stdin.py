"""Frames from standard input: MJPEG, or JPEG files one after the other."""

from __future__ import annotations

import logging
import os
import re
import stat
from collections import deque
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from edge_runtime.errors import SourceError
from edge_runtime.sources.base import FALLBACK_FPS, Clock, EndOfSource
from edge_runtime.untrusted import open_regular
from edge_runtime.utils.pictures import decode_picture

logger = logging.getLogger(__name__)

MAX_IMAGE_BYTES = 16 * 2**20
_CHUNK_BYTES = 64 * 1024
_MAX_OTHER_BYTES = 32 * 2**20

# JPEG markers (ITU-T T.81, table B.1).
_START = b"\xff\xd8\xff"
_START_OF_SCAN, _END = 0xDA, 0xD9
_STANDALONE = frozenset({0x01, *range(0xD0, 0xD9)})
_MARKER_IN_SCAN = re.compile(rb"\xff[^\x00\xd0-\xd7\xff]")

_HINT = (
    "expected JPEG images on stdin, got {got}: send them as with"
    "  ffmpeg -i IN -f mjpeg - | edge-runtime run --source -"
)


class PipeReader:
    """JPEG images from a file descriptor, decoded one at a time."""

    def __init__(self, descriptor: int, fps: float | None = None) -> None:
        """Takes an open descriptor, which stays open, and the sender's frame rate."""
        self.fps = fps or FALLBACK_FPS
        self._descriptor = descriptor
        self._clock: Clock | None = None
        self._splitter = JpegSplitter()
        self._ready: deque[bytes] = deque()
        self._decoded = self._bytes = 0
        self._first = b""
        self._refusal = ""

    def paced(self, clock: Clock) -> PipeReader:
        """Returns itself; from now on each image waits for its time, by a clock."""
        self._clock = clock
        return self

    def read(self) -> Any:
        """Returns the next image, uint8 (H, W, 3) BGR; None for a damaged one.

        Raises:
            EndOfSource: The sender has closed the pipe.
            SourceError: The data is not JPEG.
        """
        if self._clock is not None:
            self._clock.sleep(1 / self.fps)
        while not self._ready:
            self._receive()
        try:
            image = decode_picture(self._ready.popleft())
        except ValueError as error:
            self._refusal = str(error)
            logger.debug("a picture on stdin: %s", error)
            return None
        self._decoded += 1
        return image

    def close(self) -> None:
        """Does nothing: stdin stays open."""

    def _receive(self) -> None:
        # Not sys.stdin: a thread that waits for its lock would block Python's exit.
        try:
            chunk = os.read(self._descriptor, _CHUNK_BYTES)
        except OSError as error:
            raise SourceError(_HINT.format(got=error.strerror)) from error
        if not chunk and not self._decoded:
            raise SourceError(_HINT.format(got=self._describe_data()))
        if not chunk:
            raise EndOfSource
        self._first = (self._first + chunk)[:4]
        self._bytes += len(chunk)
        self._ready.extend(self._splitter.feed(chunk))
        if not self._decoded and self._splitter.ignored_bytes > _MAX_OTHER_BYTES:
            raise SourceError(_HINT.format(got="32 MB of something else"))

    def _describe_data(self) -> str:
        """Returns what was received instead of an image."""
        if not self._bytes:
            return "nothing"
        if self._refusal:
            return f"one that cannot be decoded ({self._refusal})"
        if self._splitter.inside or self._first.startswith(b"\xff\xd8"):
            return f"{self._bytes} bytes of one that is cut off or damaged"
        kind = "a PNG file" if self._first == b"\x89PNG" else "something else"
        return f"{kind} ({self._bytes} bytes)"


def is_file(descriptor: int) -> bool:
    """Returns whether a descriptor is a file on a disk, not a pipe."""
    try:
        return stat.S_ISREG(os.fstat(descriptor).st_mode)
    except OSError as error:
        raise SourceError(_HINT.format(got="a closed one")) from error


def has_several(path: Path) -> bool:
    """Returns whether a file is JPEG images one after the other."""
    splitter, complete = JpegSplitter(), 0
    with open_regular(path) as file:
        while complete + splitter.inside < 2:
            chunk = file.read(_CHUNK_BYTES)
            if not chunk:
                return False
            complete += len(list(splitter.feed(chunk)))
    return True


class JpegSplitter:
    """Splits a stream of bytes into JPEG files and ignores bytes between them.

    It holds at most ``MAX_IMAGE_BYTES`` and one chunk.

    Attributes:
        ignored_bytes: Bytes that belonged to no image.
    """

    def __init__(self) -> None:
        self.ignored_bytes = 0
        self._buffer = bytearray()
        self._at = 0  # parsed so far, from the start of the image
        self._in_scan = False

    @property
    def inside(self) -> bool:
        """Whether an image has begun and is not complete."""
        return self._at > 0

    def feed(self, chunk: bytes) -> Iterator[bytes]:
        """Adds the next bytes and yields each image that they complete."""
        self._buffer += chunk
        while self._find_start():
            end = self._find_end()
            if end > 0:
                yield bytes(self._buffer[:end])
                self._restart(end)
            elif end < 0 or len(self._buffer) > MAX_IMAGE_BYTES:
                self.ignored_bytes += len(_START)
                self._restart(len(_START))
            else:
                return

    def _restart(self, at: int) -> None:
        del self._buffer[:at]
        self._at, self._in_scan = 0, False

    def _find_start(self) -> bool:
        """Drops bytes before an image; returns whether there is one."""
        if self._at:
            return True
        start = self._buffer.find(_START)
        # The last bytes may be the beginning of a start marker.
        other = start if start >= 0 else max(0, len(self._buffer) - len(_START) + 1)
        del self._buffer[:other]
        self.ignored_bytes += other
        self._at = 2 if start >= 0 else 0
        return start >= 0

    def _find_end(self) -> int:
        """Returns the length of the image; 0 while it is incomplete, -1 if broken."""
        while True:
            if self._in_scan:
                marker = _MARKER_IN_SCAN.search(self._buffer, self._at)
                if marker is None:
                    self._at = max(self._at, len(self._buffer) - 1)
                    return 0
                self._at, self._in_scan = marker.start(), False
            if len(self._buffer) < self._at + 4 and not self._ends_here():
                return 0
            if self._buffer[self._at] != 0xFF:
                return -1
            code = self._buffer[self._at + 1]
            if code == _END:
                return self._at + 2
            if not self._skip_segment(code):
                return -1

    def _ends_here(self) -> bool:
        return self._buffer[self._at : self._at + 2] == bytes((0xFF, _END))

    def _skip_segment(self, code: int) -> bool:
        """Moves behind one segment; returns whether it is valid."""
        if code == 0xFF:  # fill byte
            self._at += 1
            return True
        if code in _STANDALONE:
            self._at += 2
            return code != 0xD8  # another start: this image was cut off
        length = int.from_bytes(self._buffer[self._at + 2 : self._at + 4], "big")
        self._at += 2 + length
        self._in_scan = code == _START_OF_SCAN
        return length >= 2
