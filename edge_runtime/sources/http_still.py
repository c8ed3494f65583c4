"""An ``http://`` address that answers with one image, which is polled."""

from __future__ import annotations

import contextlib
import http.client
import time
from collections.abc import Callable
from typing import Any

from edge_runtime.preprocessing import Image
from edge_runtime.sources.base import CameraSettings, Clock
from edge_runtime.sources.images import decode_image
from edge_runtime.sources.mjpeg import CHUNK_BYTES, INVALID, lost
from edge_runtime.sources.stdin import MAX_IMAGE_BYTES, JpegSplitter

POLL_FPS = 1.0  # --fps sets it


class StillReader:
    """An address that answers each request with one image."""

    polled = True
    invalid = INVALID

    def __init__(
        self,
        response: Any,
        ask: Callable[[], Any],
        settings: CameraSettings,
        clock: Clock,
    ) -> None:
        """Takes the first response, and a function that requests another one."""
        self.fps = settings.fps or POLL_FPS
        self._response, self._ask = response, ask
        self._stall_s, self._clock = settings.stall_s, clock
        self._next_s = clock.now()

    def read(self) -> Image | None:
        """Waits until it is time, and returns the next image; None for a damaged one.

        Raises:
            SourceError: It was refused, or did not come in time.
        """
        self._clock.deadline_s += 1 / self.fps  # waiting is not hanging
        self._clock.sleep(self._next_s - self._clock.now())
        self._next_s = max(self._next_s + 1 / self.fps, self._clock.now())
        response, self._response = self._response, None
        try:
            with contextlib.closing(response or self._ask()) as answer:
                return decode_image(_read_image(answer, self._stall_s))
        except (OSError, http.client.HTTPException) as error:
            raise lost(error, self._stall_s) from error

    def close(self) -> None:
        """Closes a connection that was not used."""
        if self._response is not None:
            self._response.close()


def _read_image(answer: Any, within_s: float) -> bytes:
    """Returns the image file of an answer.

    Without a length a JPEG ends where it ends: some servers leave the connection open.

    Raises:
        TimeoutError: It comes too slowly.
    """
    data, splitter, late_s = bytearray(), JpegSplitter(), time.monotonic() + within_s
    while len(data) < MAX_IMAGE_BYTES and (chunk := answer.read1(CHUNK_BYTES)):
        data += chunk
        if getattr(answer, "length", None) is None:
            for image in splitter.feed(chunk):
                return image
        if time.monotonic() > late_s:
            raise TimeoutError
    return bytes(data)
