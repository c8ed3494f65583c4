"""Work in a thread of its own, behind a bounded queue that keeps events longest."""

from __future__ import annotations

import logging
import math
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any, Generic, NamedTuple, TypeVar

from edge_runtime.errors import OutputError
from edge_runtime.utils.signals import StopRequest

logger = logging.getLogger(__name__)
Item = TypeVar("Item")

FIRST_PAUSE_S = 0.5
# However long a disk was full, it is written again within five seconds of having room.
LONGEST_PAUSE_S = 4.0
LOOK_S = 0.1  # how soon a wait for room sees that the run is to end


class QueueCapacity(NamedTuple):
    """How many items may wait.

    Attributes:
        frames: Items without an event; the oldest makes room, before any with one.
        events: Items with an event, counted apart; then the oldest makes room too.
    """

    frames: int
    events: int = 1000


class WorkQueue(Generic[Item]):
    """Hands items to a function in a thread of its own.

    A live source's items are dropped when the function is too slow, and an ``OSError``
    of it is reported once and the item tried again until it works; after any other
    error nothing is written any more. A file's items (``lossless``) are waited for,
    and any error is raised in the loop.
    """

    def __init__(
        self,
        name: str,
        consume: Callable[[Item], None],
        *,
        room: QueueCapacity,
        lossless: bool,
        stop: StopRequest | None = None,
    ) -> None:
        """Starts the thread.

        Args:
            name: The flag that asked for it, for messages and the status.
            consume: Takes one item; an error but ``OSError`` means never again.
            room: The bound.
            lossless: Whether ``put`` waits for room and raises errors.
            stop: After its signal ``put`` waits no more.
        """
        self.name, self._lossless, self._room = name, lossless, room
        self._stop = stop or StopRequest()
        self._consume = consume
        self._items: deque[tuple[Item, bool]] = deque()
        self._changed = threading.Condition()
        self._kept = self._written = 0
        self._in_hand: bool | None = None  # of the item at work: it carries an event
        self._dropped = {True: 0, False: 0}
        self._closing = threading.Event()
        self._error: Exception | None = None
        self._given_up = False
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._thread.start()

    def put(self, item: Item, *, keep: bool = False) -> None:
        """Takes one item.

        Args:
            item: Handed to the function later.
            keep: It carries an event: dropped last.

        Raises:
            OutputError: Lossless, and it cannot be written.
            BrokenPipeError: Nobody reads any more.
        """
        with self._changed:
            self._raise_error()
            while self._must_wait():
                self._changed.wait(LOOK_S)
                self._raise_error()
            if self._given_up:
                self._count_lost(keep)
                return
            self._items.append((item, keep))
            self._kept += keep
            if not self._lossless:
                self._make_room()
            self._changed.notify_all()

    def counts(self) -> dict[str, Any]:
        """Returns what was written and dropped, and what is wrong now, JSON-ready."""
        with self._changed:
            return {
                "written": self._written,
                "waiting": len(self._items),
                "dropped_frames": self._dropped[False],
                "dropped_events": self._dropped[True],
                "error": None if self._error is None else _reason(self._error),
            }

    def stop(self) -> None:
        """Asks the thread to end after what is waiting; returns at once."""
        with self._changed:
            self._closing.set()
            self._changed.notify_all()

    def wait(self, seconds: float) -> bool:
        """Waits for the end, for so long at most; returns whether it has come."""
        self._thread.join(None if math.isinf(seconds) else max(0.0, seconds))
        return not self._thread.is_alive()

    def join(self, deadline_s: float) -> None:
        """Waits for the end, until a ``time.monotonic()``; what is left is dropped."""
        if self.wait(deadline_s - time.monotonic()):
            return
        with self._changed:
            left = [keep for _, keep in self._items]
            left += [] if self._in_hand is None else [self._in_hand]
            self._given_up = True
            self._items.clear()
            for keep in left:
                self._dropped[keep] += 1
        if left:
            logger.warning("%s: ended with %d unwritten", self.name, len(left))

    def check(self) -> None:
        """Raises ``OutputError`` if a lossless queue could not write everything."""
        with self._changed, suppress(BrokenPipeError):  # the reader wanted no more
            self._raise_error()

    def _must_wait(self) -> bool:
        full = self._lossless and len(self._items) >= self._room.frames
        return full and self._stop.signal is None

    def _raise_error(self) -> None:
        error = self._error
        if error is None or not self._given_up:
            return
        if isinstance(error, BrokenPipeError):  # "| head" ends the run
            raise error
        if self._lossless:
            raise OutputError(f"{self.name}: {_reason(error)}") from error

    def _make_room(self) -> None:
        if len(self._items) - self._kept > self._room.frames:
            self._drop_oldest(False)
        if self._kept > self._room.events:
            self._drop_oldest(True)

    def _drop_oldest(self, keep: bool) -> None:
        at = next(i for i, (_, kept) in enumerate(self._items) if kept is keep)
        del self._items[at]
        self._kept -= keep
        self._dropped[keep] += 1

    def _run(self) -> None:
        while (taken := self._take()) is not None:
            self._hand_over(*taken)

    def _take(self) -> tuple[Item, bool] | None:
        with self._changed:
            while not self._items and not self._closing.is_set():
                self._changed.wait()
            if not self._items:
                return None
            item, keep = self._items.popleft()
            self._kept -= keep
            self._in_hand = keep
            self._changed.notify_all()
            return item, keep

    def _hand_over(self, item: Item, keep: bool) -> None:
        """Has one item written, however long the disk is full."""
        pauses = pauses_s()
        while not self._given_up:
            try:
                self._consume(item)
            except BrokenPipeError as error:
                self._give_up(error)
            except OSError as error:
                self._fail(error)
                if self._closing.wait(next(pauses)):
                    self._give_up(error)
            except Exception as error:  # this thread must not end while items come
                self._give_up(error)
            else:
                self._succeed()
                return
        with self._changed:
            self._in_hand = None
            self._count_lost(keep)

    def _succeed(self) -> None:
        with self._changed:
            self._written += 1
            self._in_hand = None
            was, self._error = self._error, None
            dropped = sum(self._dropped.values())
        if was is not None:
            logger.warning("%s works again; dropped so far: %d", self.name, dropped)

    def _fail(self, error: OSError) -> None:
        """Reports an error that may pass, once until it has passed."""
        if self._lossless:
            self._give_up(error)
            return
        with self._changed:
            was, self._error = self._error, error
        if was is None:
            logger.warning("%s: %s; trying again", self.name, _reason(error))

    def _give_up(self, error: Exception) -> None:
        with self._changed:
            first = not self._given_up
            self._given_up, self._error = True, error
            for _, keep in self._items:
                self._count_lost(keep)
            self._items.clear()
            self._kept = 0
            self._changed.notify_all()
        quiet = self._lossless or isinstance(error, BrokenPipeError)
        if first and not quiet:
            logger.warning("%s: %s; closed", self.name, _reason(error))

    def _count_lost(self, keep: bool) -> None:
        # "| head" wanted no more: nothing is lost then.
        self._dropped[keep] += not isinstance(self._error, BrokenPipeError)


def pauses_s() -> Iterator[float]:
    """Yields how many seconds to wait before each next try, for ever."""
    pause_s = FIRST_PAUSE_S
    while True:
        yield pause_s
        pause_s = min(2 * pause_s, LONGEST_PAUSE_S)


def _reason(error: Exception) -> str:
    if isinstance(error, (OSError, OutputError)):
        return getattr(error, "strerror", None) or str(error)
    return f"{type(error).__name__}: {error}"  # of a KeyError str() is its key
