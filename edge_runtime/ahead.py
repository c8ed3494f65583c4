"""Reads the next frame of a video while this one is answered."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from queue import SimpleQueue

from edge_runtime.sources import Frame

ROOM = 2  # frames that wait, beside the one being answered and the one being read

_Item = Frame | BaseException | None  # None: there are no more


@contextmanager
def reading_ahead(frames: Iterable[Frame]) -> Iterator[Iterator[Frame]]:
    """Yields the same frames in the same order, read by a thread of their own.

    Decoding then costs the loop no time where there is a second core. An exception of
    the source is raised where its frame would have come. At the end the thread has
    ended too, before the source is closed.

    Args:
        frames: Of a file: nobody waits for the newest one.
    """
    ready: SimpleQueue[_Item] = SimpleQueue()
    over = threading.Event()
    room: SimpleQueue[None] = SimpleQueue()  # an item for each frame that may come
    for _ in range(ROOM):
        room.put(None)

    def read() -> None:
        end: BaseException | None = None
        try:
            for frame in frames:
                room.get()
                if over.is_set():
                    return
                ready.put(frame)
        except BaseException as error:  # whatever it is, the loop must hear of it
            end = error
        ready.put(end)

    reader = threading.Thread(target=read, name="read ahead", daemon=True)
    reader.start()
    try:
        yield _taken(ready, room)
    finally:
        over.set()
        room.put(None)
        reader.join()


def _taken(ready: SimpleQueue[_Item], room: SimpleQueue[None]) -> Iterator[Frame]:
    while True:
        item = ready.get()
        room.put(None)
        if isinstance(item, BaseException):
            raise item
        if item is None:
            return
        yield item
