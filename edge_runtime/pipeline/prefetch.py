"""Works on the next frames of a video while this one is answered."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from queue import SimpleQueue
from typing import NamedTuple, TypeVar

from edge_runtime.pipeline.frame_classifier import TrackedFrame
from edge_runtime.pipeline.pipeline import Pipeline
from edge_runtime.sources import Frame

ROOM = 2  # frames that wait, beside the one being answered and the one being read
# Of located frames more: the detector takes as long for one as the network for some.
MOST_LOCATED = 4
LOCATED_BYTES = 32 * 2**20  # but of large ones fewer

Item = TypeVar("Item")


class _End(NamedTuple):
    """What comes after the last item; an error in the place of the next one."""

    error: BaseException | None


@contextmanager
def located_ahead(
    frames: Iterable[Frame], pipeline: Pipeline
) -> Iterator[Iterator[TrackedFrame]]:
    """Yields the frames of a video with their faces, found while others are answered.

    Two threads of their own read the frames and find the faces; what is left is
    ``pipeline.answer``, by whoever takes them. Detectors and networks run outside of
    Python's lock: where there are two cores they work at once.

    Args:
        frames: Of a file: nobody waits for the newest one.
        pipeline: One whose frames wait for the detector, and whose faces take no turns.
    """
    with reading_ahead(frames) as read:
        found = (pipeline.locate(frame) for frame in read)
        with reading_ahead(found, room=_room, name="locate ahead") as located:
            yield located


def _room(located: TrackedFrame) -> int:
    """Returns how many frames like this one may wait."""
    size = located.frame.image.nbytes
    return max(1, min(MOST_LOCATED, LOCATED_BYTES // size))


@contextmanager
def reading_ahead(
    items: Iterable[Item],
    *,
    room: Callable[[Item], int] = lambda item: ROOM,
    name: str = "read ahead",
) -> Iterator[Iterator[Item]]:
    """Yields the same items in the same order, taken by a thread of their own.

    Decoding then costs the loop no time where there is a second core. An exception of
    the source is raised where its item would have come. At the end the thread has
    ended too, before the source is closed.

    Args:
        items: Frames of a file, say: nobody waits for the newest one.
        room: Returns for the first of them how many may wait to be taken.
        name: The thread's.
    """
    ready: SimpleQueue[Item | _End] = SimpleQueue()
    over = threading.Event()
    places: SimpleQueue[None] = SimpleQueue()  # one for each item that may come

    def read() -> None:
        error, opened = None, False
        try:
            for item in items:
                if not opened:
                    opened = True
                    for _ in range(room(item)):
                        places.put(None)
                places.get()
                ready.put(item)
                if over.is_set():  # else it would work on one more
                    return
        except BaseException as raised:  # whatever it is, the loop must hear of it
            error = raised
        ready.put(_End(error))

    reader = threading.Thread(target=read, name=name, daemon=True)
    reader.start()
    try:
        yield _taken(ready, places)
    finally:
        over.set()
        places.put(None)
        reader.join()


def _taken(
    ready: SimpleQueue[Item | _End], places: SimpleQueue[None]
) -> Iterator[Item]:
    while True:
        item = ready.get()
        if isinstance(item, _End):
            if item.error is not None:
                raise item.error
            return
        places.put(None)
        yield item
