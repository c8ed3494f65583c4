"""A stream of JPEG images in the answer of an ``http://`` address."""

from __future__ import annotations

import http.client
import select
import time
from collections import deque
from typing import Any

from edge_runtime.errors import SourceError
from edge_runtime.preprocessing import Image
from edge_runtime.sources.base import FALLBACK_FPS, CameraSettings
from edge_runtime.sources.images import decode_image
from edge_runtime.sources.stdin import JpegSplitter

INVALID = "its pictures are empty, damaged or cut off"
CHUNK_BYTES = 64 * 1024
_MOST_WAITING = 256  # chunks: more than the kernel keeps


class MjpegReader:
    """An answer with one JPEG image after the other, in parts or without.

    Attributes:
        passed_over: Images that the last ``read`` left out for a newer one.
    """

    fps = FALLBACK_FPS
    invalid = INVALID
    passed_over = 0

    def __init__(self, response: Any, settings: CameraSettings) -> None:
        """Takes an open answer, of which nothing was read."""
        self._response, self._stall_s = response, settings.stall_s
        self._splitter = JpegSplitter()
        self._ready: deque[bytes] = deque()

    def read(self) -> Image | None:
        """Returns the newest image; None for a damaged one.

        Where images come faster than they are decoded, megabytes of them would wait in
        the kernel, and each would be seconds old.

        Raises:
            SourceError: The stream ended, or has no image for too long.
        """
        started_s = time.monotonic()
        while not self._ready:
            if not self._receive():
                raise SourceError("the stream ended")
            if time.monotonic() - started_s > self._stall_s:
                raise SourceError(
                    "no JPEG image in it, or none that is whole, for"
                    f" {self._stall_s:g} s"
                )
        for _ in range(_MOST_WAITING):
            if not (_has_arrived(self._response) and self._receive()):
                break
        self.passed_over = len(self._ready) - 1
        newest = self._ready.pop()
        self._ready.clear()
        return decode_image(newest)

    def only_image(self) -> bytes | None:
        """Returns the image of an answer that has one; None once another one begins.

        Raises:
            SourceError: The answer ends before that.
        """
        late_s = time.monotonic() + self._stall_s
        while len(self._ready) + self._splitter.inside < 2:
            try:
                more = self._receive() and time.monotonic() < late_s
            except SourceError:
                more = False  # some servers leave the connection open
            if not more and not self._ready:
                self.close()
                raise SourceError("the picture is cut off")
            if not more:
                return self._ready[0]
        return None

    def _receive(self) -> bool:
        """Returns whether there was more of the answer."""
        try:
            chunk = self._response.read1(CHUNK_BYTES)
        except (OSError, http.client.HTTPException) as error:
            raise lost(error, self._stall_s) from error
        self._ready.extend(self._splitter.feed(chunk))
        return bool(chunk)

    def close(self) -> None:
        """Closes the connection."""
        self._response.close()


def _has_arrived(response: Any) -> bool:
    """Returns whether there is more of an answer already."""
    try:
        return bool(select.select([response.fp.raw._sock], [], [], 0)[0])
    except (AttributeError, OSError, ValueError):  # it has ended
        return False


def lost(error: Exception, stall_s: float) -> SourceError:
    """Returns the error for a read that failed."""
    if isinstance(error, TimeoutError):
        return SourceError(
            f"no frame for {stall_s:.1f} s (--stall-after is for slower cameras)"
        )
    return SourceError(f"the stream ended ({str(error) or type(error).__name__})")
