"""A bounded queue with a worker thread, and a sink that fills it."""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any, Generic, NamedTuple, TypeVar

from edge_runtime.errors import OutputError
from edge_runtime.results import FrameResult
from edge_runtime.sources import Frame
from edge_runtime.utils.signals import StopRequest

logger = logging.getLogger(__name__)
Item = TypeVar("Item")

FIRST_PAUSE_S = 0.5
# However long a disk was full, writing works again within 5 s of there being space.
LONGEST_PAUSE_S = 4.0
POLL_S = 0.1  # how soon a waiting thread notices a signal


class QueueCapacity(NamedTuple):
    """How many items may wait.

    Attributes:
        frames: Items without an event; beyond it the oldest of them is dropped.
        events: Items with an event, counted apart; beyond it the oldest is dropped.
    """

    frames: int
    events: int = 1000


class WorkQueue(Generic[Item]):
    """Calls a function with one item after the other, in a thread of its own.

    Of a live source, items are dropped if the function is too slow; after an
    ``OSError`` it is called again with the same item until it works, and the error is
    logged once. After any other error it is never called again. For a file
    (``lossless``), ``put`` waits for space, and every error is raised in the loop.
    """

    def __init__(
        self,
        name: str,
        consume: Callable[[Item], bool | None],
        *,
        capacity: QueueCapacity,
        lossless: bool,
        stop: StopRequest | None = None,
    ) -> None:
        """Starts the thread.

        Args:
            name: The output's flag, for messages.
            consume: Writes one item; False: there was no need to, and it does not
                count as written.
            capacity: How many items may wait.
            lossless: Whether ``put`` waits for space and raises errors.
            stop: After its signal ``put`` does not wait any more.
        """
        self.name, self._lossless, self._capacity = name, lossless, capacity
        self._stop = stop or StopRequest()
        self._consume = consume
        self._items: deque[tuple[Item, bool]] = deque()  # with: has an event
        self._current: bool | None = None  # whether the item being written has one
        self._changed = threading.Condition()
        self._written = 0
        self._dropped = {True: 0, False: 0}
        self._closing = threading.Event()
        self._closing_since_s = 0.0
        self._error: Exception | None = None
        self._failed = False
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._thread.start()

    def put(self, item: Item, *, event: bool = False) -> None:
        """Adds one item; those with an event are dropped last.

        Raises:
            OutputError: Lossless, and it cannot be written.
            BrokenPipeError: The reader has closed the pipe.
        """
        with self._changed:
            self._raise_error()
            while self._must_wait():
                self._changed.wait(POLL_S)
                self._raise_error()
            if self._failed:
                self._count_dropped(event)
                return
            self._items.append((item, event))
            if not self._lossless:
                self._drop_excess()
            self._changed.notify_all()

    def counts(self) -> dict[str, Any]:
        """Returns the items written and dropped, and the present error, JSON-ready."""
        with self._changed:
            return {
                "written": self._written,
                "waiting": len(self._items),
                "dropped_frames": self._dropped[False],
                "dropped_events": self._dropped[True],
                "error": None if self._error is None else _reason(self._error),
            }

    def stop(self) -> None:
        """Lets the thread end after the items that wait; returns at once."""
        with self._changed:
            if not self._closing.is_set():
                self._closing_since_s = time.monotonic()
            self._closing.set()
            self._changed.notify_all()

    def wait(self, seconds: float) -> bool:
        """Returns whether the thread has ended, or ends within so many seconds."""
        self._thread.join(max(0.0, seconds))
        return not self._thread.is_alive()

    def close(self, timeout_s: float = 0.0) -> None:
        """Ends the thread; what is not written in time is dropped and counted.

        Args:
            timeout_s: Seconds from ``stop``, or from a signal after it. Items of a
                file have all the time they need until there is a signal.
        """
        self.stop()
        while self._lossless and self._stop.signal is None and not self.wait(POLL_S):
            pass
        since_s = max(self._closing_since_s, self._stop.signal_s)
        if self.wait(since_s + timeout_s - time.monotonic()):
            return
        with self._changed:
            unwritten = [event for _, event in self._items]
            unwritten += [] if self._current is None else [self._current]
            self._failed = True
            self._items.clear()
            for event in unwritten:
                self._dropped[event] += 1
        if unwritten:
            logger.warning("%s: ended with %d unwritten", self.name, len(unwritten))

    def check(self) -> None:
        """Raises ``OutputError`` if a lossless queue could not write everything."""
        with self._changed, suppress(BrokenPipeError):
            self._raise_error()

    def _must_wait(self) -> bool:
        full = self._lossless and len(self._items) >= self._capacity.frames
        return full and self._stop.signal is None

    def _raise_error(self) -> None:
        error = self._error
        if error is None or not self._failed:
            return
        if isinstance(error, BrokenPipeError):  # "| head" ends the run
            raise error
        if self._lossless:
            raise OutputError(f"{self.name}: {_reason(error)}") from error

    def _drop_excess(self) -> None:
        for event, limit in (
            (False, self._capacity.frames),
            (True, self._capacity.events),
        ):
            waiting = [i for i, item in enumerate(self._items) if item[1] is event]
            if len(waiting) > limit:
                del self._items[waiting[0]]
                self._dropped[event] += 1

    def _run(self) -> None:
        while (entry := self._next()) is not None:
            self._write(*entry)

    def _next(self) -> tuple[Item, bool] | None:
        with self._changed:
            while not self._items and not self._closing.is_set():
                self._changed.wait()
            if not self._items:
                return None
            item, self._current = self._items.popleft()
            self._changed.notify_all()
            return item, self._current

    def _write(self, item: Item, event: bool) -> None:
        """Writes one item, however long the disk is full."""
        pauses = pauses_s()
        while not self._failed:
            try:
                written = self._consume(item) is not False
            except BrokenPipeError as error:
                self._fail(error)
            except OSError as error:
                self._note_error(error)
                if self._closing.wait(next(pauses)):
                    self._fail(error)
            except Exception as error:  # this thread must not end while items come
                self._fail(error)
            else:
                self._note_success(written)
                return
        with self._changed:
            self._current = None
            self._count_dropped(event)

    def _note_success(self, written: bool) -> None:
        with self._changed:
            self._written += written
            self._current = None
            error, self._error = self._error, None
            dropped = sum(self._dropped.values())
        if error is not None:
            logger.warning("%s works again; dropped so far: %d", self.name, dropped)

    def _note_error(self, error: OSError) -> None:
        """Logs an error that may pass, once until it has passed."""
        if self._lossless:
            self._fail(error)
            return
        with self._changed:
            earlier, self._error = self._error, error
        if earlier is None:
            logger.warning("%s: %s; trying again", self.name, _reason(error))

    def _fail(self, error: Exception) -> None:
        """Drops all items, now and from now on."""
        with self._changed:
            first = not self._failed
            self._failed, self._error = True, error
            for _, event in self._items:
                self._count_dropped(event)
            self._items.clear()
            self._changed.notify_all()
        raised = self._lossless or isinstance(error, BrokenPipeError)
        if first and not raised:
            logger.warning("%s: %s; closed", self.name, _reason(error))

    def _count_dropped(self, event: bool) -> None:
        # Where the reader has closed the pipe ("| head") nothing is lost.
        self._dropped[event] += not isinstance(self._error, BrokenPipeError)


class QueuedSink(Generic[Item]):
    """A ``Sink`` that puts an item about each frame into a queue."""

    def __init__(
        self,
        queue: WorkQueue[Item],
        select: Callable[[FrameResult], Item | None] | None = None,
    ) -> None:
        """Takes the queue and what makes its items.

        Args:
            queue: In front of the file or stream.
            select: Returns the item for a frame; None for no item. Without it the
                items are the results.
        """
        self._queue, self._select = queue, select

    def write(self, frame: Frame, result: FrameResult) -> bool:
        """Puts the item of one frame into the queue; returns True."""
        item: Any = self._select(result) if self._select else result
        if item is not None:
            self._queue.put(item, event=bool(result.events))
        return True


def pauses_s() -> Iterator[float]:
    """Yields how many seconds to wait before each next try, without end."""
    pause_s = FIRST_PAUSE_S
    while True:
        yield pause_s
        pause_s = min(2 * pause_s, LONGEST_PAUSE_S)


def _reason(error: Exception) -> str:
    if isinstance(error, (OSError, OutputError)):
        return getattr(error, "strerror", None) or str(error)
    return f"{type(error).__name__}: {error}"  # of a KeyError str() is its key
