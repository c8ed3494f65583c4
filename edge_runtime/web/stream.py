"""The live view: frames encoded as JPEG, once for all viewers, and only for viewers."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from contextlib import contextmanager

import cv2
import numpy as np

from edge_runtime.outputs.rendering import (
    FrameRenderer,
    RenderedFrame,
    encode_jpeg,
)
from edge_runtime.outputs.work_queue import QueueCapacity, WorkQueue
from edge_runtime.preprocessing import Image

MAX_FPS = 15.0
MAX_WIDTH_PX = 1280
JPEG_QUALITY = 80
MAX_VIEWERS = 32


class LatestJpeg:
    """The newest JPEG image and its number, for the coroutines of one event loop."""

    def __init__(self) -> None:
        self.count, self._jpeg = 0, b""
        self._ended = False
        self._changed = asyncio.Event()

    def put(self, jpeg: bytes) -> None:
        """Replaces the image and wakes all waiting coroutines."""
        self.count, self._jpeg = self.count + 1, jpeg
        self._wake()

    def end(self) -> None:
        """Wakes all waiting coroutines: there will be no more images."""
        self._ended = True
        self._wake()

    async def after(self, count: int) -> tuple[int, bytes] | None:
        """Waits for an image after number ``count``; returns its number and bytes.

        A slow client misses images in between. None at the end.
        """
        while self.count == count and not self._ended:
            await self._changed.wait()
        return None if self._ended else (self.count, self._jpeg)

    def _wake(self) -> None:
        changed, self._changed = self._changed, asyncio.Event()
        changed.set()


class Stream:
    """Encodes frames of the loop in a thread of its own, for the clients.

    Attributes:
        loop: The event loop that serves the clients, once it runs.
    """

    def __init__(self, renderer: FrameRenderer) -> None:
        self._renderer = renderer
        self._next_s = 0.0
        self.loop: asyncio.AbstractEventLoop | None = None
        self.newest = LatestJpeg()
        self.viewers = 0
        self.queue: WorkQueue[RenderedFrame] = WorkQueue(
            "--serve", self._encode, capacity=QueueCapacity(frames=1), lossless=False
        )

    def write(self, rendered: RenderedFrame) -> bool:
        """Has a frame encoded if there are viewers and it is due; returns True."""
        if not self.viewers:
            return True
        now_s = time.monotonic()
        if now_s >= self._next_s:
            # From the last due time, not from now: else 15 of 16 per second become 8.
            self._next_s = max(self._next_s + 1 / MAX_FPS, now_s - 1 / MAX_FPS)
            self.queue.put(rendered)
        return True

    def close(self) -> None:
        """Ends the thread, without waiting."""
        self.queue.stop()

    @contextmanager
    def viewing(self) -> Iterator[LatestJpeg]:
        """Yields the newest image to one viewer; frames are encoded meanwhile."""
        self.viewers += 1
        try:
            yield self.newest
        finally:
            self.viewers -= 1

    def _encode(self, rendered: RenderedFrame) -> None:
        image = _limit_width(self._renderer.draw(rendered))
        jpeg = encode_jpeg(image, JPEG_QUALITY)
        if self.loop is not None and not self.loop.is_closed():
            self.loop.call_soon_threadsafe(self.newest.put, jpeg)


def _limit_width(image: Image) -> Image:
    height, width = image.shape[:2]
    if width <= MAX_WIDTH_PX:
        return image
    size = MAX_WIDTH_PX, max(1, round(height * MAX_WIDTH_PX / width))
    smaller = cv2.resize(image, size, interpolation=cv2.INTER_AREA)
    return np.asarray(smaller, dtype=np.uint8)
