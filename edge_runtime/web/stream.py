"""The live picture as JPEG: encoded once a frame, and only while somebody watches."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from contextlib import contextmanager

import cv2
import numpy as np

from edge_runtime.outputs.rendering import FrameRenderer, Picture
from edge_runtime.outputs.work_queue import QueueCapacity, WorkQueue
from edge_runtime.preprocessing import Image

MOST_PER_S = 15.0
WIDEST_PX = 1280
JPEG_QUALITY = 80
MOST_WATCHERS = 32


class LatestJpeg:
    """The newest JPEG, for any number of coroutines of one event loop."""

    def __init__(self) -> None:
        """Has none yet."""
        self._count, self._jpeg = 0, b""
        self._over = False
        self._changed = asyncio.Event()

    @property
    def count(self) -> int:
        """Its number; 0 before the first."""
        return self._count

    def put(self, jpeg: bytes) -> None:
        """Replaces it and wakes all who wait."""
        self._count, self._jpeg = self._count + 1, jpeg
        self._wake()

    def end(self) -> None:
        """Wakes all who wait: no more will come."""
        self._over = True
        self._wake()

    async def after(self, count: int) -> tuple[int, bytes] | None:
        """Returns number and JPEG of the newest, as soon as it is not number ``count``.

        Whoever is slow misses the ones in between. None at the end.
        """
        while self._count == count and not self._over:
            await self._changed.wait()
        return None if self._over else (self._count, self._jpeg)

    def _wake(self) -> None:
        changed, self._changed = self._changed, asyncio.Event()
        changed.set()


class Stream:
    """Takes pictures from the loop, encodes them in a thread, hands them to clients."""

    def __init__(self, painter: FrameRenderer) -> None:
        """Starts the thread that encodes."""
        self._painter = painter
        self._next_s = 0.0
        self._loop: asyncio.AbstractEventLoop | None = None
        self.newest = LatestJpeg()
        self.watchers = 0
        self.queue: WorkQueue[Picture] = WorkQueue(
            "--serve", self._encode, room=QueueCapacity(frames=1), lossless=False
        )

    def take(self, picture: Picture) -> bool:
        """Takes one picture; passes it on when somebody watches and it is due."""
        if not self.watchers:
            return True
        now = time.monotonic()
        if now >= self._next_s:
            # From the last due time, not from now: else 15 of 16 per second become 8.
            self._next_s = max(self._next_s + 1 / MOST_PER_S, now - 1 / MOST_PER_S)
            self.queue.put(picture)
        return True

    def run_in(self, loop: asyncio.AbstractEventLoop) -> None:
        """Takes the event loop in which the clients are."""
        self._loop = loop

    @contextmanager
    def watching(self) -> Iterator[LatestJpeg]:
        """Yields the pictures; while somebody is in here, there are some."""
        self.watchers += 1
        try:
            yield self.newest
        finally:
            self.watchers -= 1

    def _encode(self, picture: Picture) -> None:
        image = _narrowed(self._painter.drawn(picture))
        quality = (cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY)
        done, data = cv2.imencode(".jpg", image, quality)
        if done and self._loop is not None and not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self.newest.put, data.tobytes())


def _narrowed(image: Image) -> Image:
    height, width = image.shape[:2]
    if width <= WIDEST_PX:
        return image
    size = WIDEST_PX, max(1, round(height * WIDEST_PX / width))
    smaller = cv2.resize(image, size, interpolation=cv2.INTER_AREA)
    return np.asarray(smaller, dtype=np.uint8)
