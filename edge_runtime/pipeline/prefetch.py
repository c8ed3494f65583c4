"""Works on the next frames of a file while this one is classified."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from queue import SimpleQueue
from typing import NamedTuple, TypeVar

from edge_runtime.pipeline.base import AnyTracked, FramePipeline, Tracked
from edge_runtime.sources import Frame

# Frames that wait, besides the one that is processed and the one that is read.
READ_AHEAD = 2
# Tracked frames: one detection takes as long as several classifications.
TRACK_AHEAD = 4
TRACK_AHEAD_BYTES = 32 * 2**20  # of large frames fewer

Item = TypeVar("Item")


class _End(NamedTuple):
    """Follows the last item; with an error if there is one."""

    error: BaseException | None


@contextmanager
def prefetch_tracked(
    frames: Iterable[Frame], pipeline: FramePipeline[AnyTracked]
) -> Iterator[Iterator[AnyTracked]]:
    """Yields the frames of a file with their faces, for ``pipeline.classify``.

    One thread reads the frames, another finds the faces. Detectors and networks run
    outside of Python's lock: with two cores they run at the same time.

    Args:
        frames: Of a file, not of a live source: that would be late.
        pipeline: Its frames wait for the detector, and it has no scheduler.
    """
    with prefetch(frames) as read:
        found = (pipeline.detect_and_track(frame) for frame in read)
        with prefetch(found, depth=_tracked_depth, name="track ahead") as tracked:
            yield tracked


def _tracked_depth(tracked: Tracked) -> int:
    """Returns how many frames of this size may wait."""
    size = tracked.frame.image.nbytes
    return max(1, min(TRACK_AHEAD, TRACK_AHEAD_BYTES // size))


@contextmanager
def prefetch(
    items: Iterable[Item],
    *,
    depth: Callable[[Item], int] = lambda item: READ_AHEAD,
    name: str = "read ahead",
) -> Iterator[Iterator[Item]]:
    """Yields the same items in the same order, read by a thread of their own.

    An exception of the source is raised where its item would have come. The thread ends
    with the ``with`` block, before the source is closed.

    Args:
        items: Such as the frames of a file.
        depth: Returns, for the first item, how many may wait.
        name: The thread's.
    """
    ready: SimpleQueue[Item | _End] = SimpleQueue()
    closing = threading.Event()
    permits: SimpleQueue[None] = SimpleQueue()  # one for each item that may wait

    def read() -> None:
        error, first = None, True
        try:
            for item in items:
                if first:
                    first = False
                    for _ in range(depth(item)):
                        permits.put(None)
                permits.get()
                ready.put(item)
                if closing.is_set():  # before it works on one more
                    return
        except BaseException as raised:  # whatever it is, the consumer raises it
            error = raised
        ready.put(_End(error))

    reader = threading.Thread(target=read, name=name, daemon=True)
    reader.start()
    try:
        yield _consume(ready, permits)
    finally:
        closing.set()
        permits.put(None)
        reader.join()


def _consume(
    ready: SimpleQueue[Item | _End], permits: SimpleQueue[None]
) -> Iterator[Item]:
    while True:
        item = ready.get()
        if isinstance(item, _End):
            if item.error is not None:
                raise item.error
            return
        permits.put(None)
        yield item
