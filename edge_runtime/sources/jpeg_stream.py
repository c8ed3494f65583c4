"""Pictures from bytes that arrive in pieces: JPEG files one after the other.

Follows the marker structure of ITU-T T.81, annex B: a picture begins with SOI and ends
with EOI; segments carry their length, so that the EOI of a thumbnail inside one of
them ends nothing; in the coded data after SOS, FF is followed by 00 or a restart.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

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
