"""The newest frame, handed from the thread that grabs to the loop that answers."""

from __future__ import annotations

import threading
import time

from edge_runtime.sources.frames import Frame


class Newest:
    """Holds one frame at most.

    Attributes:
        dropped: Frames that were replaced before anybody took them.
        put_at_s: ``time.monotonic()`` of the last one, or of the making.
        finished: No more will come, and the last one was taken.
    """

    def __init__(self) -> None:
        """Starts empty."""
        self.dropped = 0
        self.put_at_s = time.monotonic()
        self.finished = False
        self._frame: Frame | None = None
        self._failure: Exception | None = None
        self._over = False
        self._changed = threading.Condition()

    def put(self, frame: Frame) -> None:
        """Replaces what is there."""
        with self._changed:
            self.dropped += self._frame is not None
            self._frame = frame
            self.put_at_s = time.monotonic()
            self._changed.notify_all()

    def finish(self, failure: Exception | None) -> None:
        """Says that no more will come, and why if that is a fault."""
        with self._changed:
            self._failure, self._over = failure, True
            self._changed.notify_all()

    def wait(self, timeout_s: float) -> bool:
        """Returns whether there is a frame, or an end, within a time.

        Raises:
            Exception: What ``finish`` was given, when nothing ever came before it.
        """
        with self._changed:
            self._changed.wait_for(self._ready, timeout_s)
            if self._frame is None and self._failure is not None:
                raise self._failure
            return self._ready()

    def take(self, timeout_s: float) -> Frame | None:
        """Returns the newest frame; None where none came in time, or none will.

        Raises:
            Exception: What ``finish`` was given, after the last frame.
        """
        with self._changed:
            self._changed.wait_for(self._ready, timeout_s)
            frame, self._frame = self._frame, None
            if frame is None and self._over:
                self.finished = True
                if self._failure is not None:
                    raise self._failure
            return frame

    def _ready(self) -> bool:
        return self._frame is not None or self._over
