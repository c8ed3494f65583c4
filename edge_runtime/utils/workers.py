"""Threads for calls that may hang."""

from __future__ import annotations

import threading
from collections.abc import Callable
from queue import SimpleQueue

_Work = tuple[Callable[[], None], threading.Event]


class WorkerPool:
    """Makes calls in threads; it starts another thread only where none is idle.

    A new thread for each call would leak memory: OpenCV keeps something of every thread
    that used it (opencv/opencv 19727; 864 bytes, as measured with 4.14). All are
    daemons: a call that hangs does not keep the process alive.
    """

    def __init__(self, name: str) -> None:
        """Starts no thread yet; all of them get this name."""
        self._name = name
        self._work: SimpleQueue[_Work | None] = SimpleQueue()
        self._idle = threading.Semaphore(0)

    def call(self, function: Callable[[], None]) -> threading.Event:
        """Calls it in a thread; returns an event that is set when the call returns."""
        returned = threading.Event()
        self._work.put((function, returned))
        if not self._idle.acquire(blocking=False):
            threading.Thread(target=self._serve, name=self._name, daemon=True).start()
        return returned

    def shutdown(self) -> None:
        """Ends each thread as soon as its call has returned; no call may follow."""
        self._work.put(None)

    def _serve(self) -> None:
        while (work := self._work.get()) is not None:
            function, returned = work
            try:
                function()
                self._idle.release()
            finally:
                returned.set()
            del work, function, returned  # an idle thread keeps nothing alive
        self._work.put(None)  # for the next thread
