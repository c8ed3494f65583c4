"""Pictures from standard input: MJPEG, or JPEG files one after the other."""

from __future__ import annotations

import logging
import os
import re
import stat
from collections import deque
from collections.abc import Iterator
from typing import Any

import cv2
import numpy as np

from edge_runtime.errors import SourceError
from edge_runtime.sources.base import FALLBACK_FPS, EndOfSource
from edge_runtime.sources.clock import Clock

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


MOST_PICTURE_BYTES = 16 * 2**20

_START = b"\xff\xd8\xff"

_START_OF_SCAN, _END = 0xDA, 0xD9

_STANDALONE = frozenset({0x01, *range(0xD0, 0xD9)})

_MARKER_IN_SCAN = re.compile(rb"\xff[^\x00\xd0-\xd7\xff]")


class JpegSplitter:
    """Cuts a stream of bytes into JPEG files; what lies between them is passed over.

    It holds ``MOST_PICTURE_BYTES`` and one piece at most.

    Attributes:
        passed_over: Bytes that belonged to no picture.
    """

    def __init__(self) -> None:
        """Starts empty."""
        self.passed_over = 0
        self._buffer = bytearray()
        self._at = 0  # parsed so far, from the picture's start
        self._in_scan = False

    @property
    def inside(self) -> bool:
        """Whether a picture has begun that is not complete."""
        return self._at > 0

    def feed(self, piece: bytes) -> Iterator[bytes]:
        """Takes the next bytes and yields each picture that is complete with them."""
        self._buffer += piece
        while self._find_start():
            end = self._find_end()
            if end > 0:
                yield bytes(self._buffer[:end])
                self._restart(end)
            elif end < 0 or len(self._buffer) > MOST_PICTURE_BYTES:
                self.passed_over += len(_START)
                self._restart(len(_START))
            else:
                return

    def _restart(self, at: int) -> None:
        del self._buffer[:at]
        self._at, self._in_scan = 0, False

    def _find_start(self) -> bool:
        """Returns whether the buffer begins with a picture, after cutting it so."""
        if self._at:
            return True
        start = self._buffer.find(_START)
        rest = len(self._buffer) - (len(_START) - 1)  # may be the start of a start
        cut = start if start >= 0 else max(0, rest)
        del self._buffer[:cut]
        self.passed_over += cut
        self._at = 2 if start >= 0 else 0
        return start >= 0

    def _find_end(self) -> int:
        """Returns the picture's length; 0 while it is not all there, -1 if broken."""
        while True:
            if self._in_scan:
                found = _MARKER_IN_SCAN.search(self._buffer, self._at)
                if found is None:
                    self._at = max(self._at, len(self._buffer) - 1)
                    return 0
                self._at, self._in_scan = found.start(), False
            if len(self._buffer) < self._at + 4 and not self._ends_here():
                return 0
            if self._buffer[self._at] != 0xFF:
                return -1
            marker = self._buffer[self._at + 1]
            if marker == _END:
                return self._at + 2
            if not self._pass_segment(marker):
                return -1

    def _ends_here(self) -> bool:
        return self._buffer[self._at : self._at + 2] == bytes((0xFF, _END))

    def _pass_segment(self, marker: int) -> bool:
        """Moves behind one segment; returns whether it can be one."""
        if marker == 0xFF:  # fill byte
            self._at += 1
            return True
        if marker in _STANDALONE:
            self._at += 2
            return marker != 0xD8  # another start: this picture was cut off
        length = int.from_bytes(self._buffer[self._at + 2 : self._at + 4], "big")
        self._at += 2 + length
        self._in_scan = marker == _START_OF_SCAN
        return length >= 2
