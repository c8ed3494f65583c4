"""Reading ahead changes when a frame is read, and nothing else."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator

import numpy as np
import pytest

from edge_runtime.ahead import ROOM, reading_ahead
from edge_runtime.errors import SourceError
from edge_runtime.sources import Frame

IMAGE = np.zeros((4, 4), np.uint8)


def numbered(count: int, read: list[int] | None = None) -> Iterator[Frame]:
    for index in range(count):
        if read is not None:
            read.append(index)
        yield Frame(IMAGE, index, index / 10, "clip")


def threads() -> list[str]:
    return [one.name for one in threading.enumerate() if one.name == "read ahead"]


def wait_until(true: Callable[[], bool]) -> None:
    end = time.monotonic() + 10
    while not true():
        assert time.monotonic() < end
        time.sleep(0.001)


def test_all_frames_come_once_and_in_order() -> None:
    with reading_ahead(numbered(50)) as frames:
        assert [frame.index for frame in frames] == list(range(50))
    assert threads() == []


def test_next_frames_are_read_while_one_is_answered_but_not_all_of_them() -> None:
    read: list[int] = []
    with reading_ahead(numbered(50, read)) as frames:
        next(frames)
        wait_until(lambda: len(read) == 1 + ROOM + 1)
        time.sleep(0.05)
        assert len(read) == 1 + ROOM + 1


def test_whoever_stops_early_leaves_no_thread() -> None:
    with reading_ahead(numbered(50)) as frames:
        assert next(frames).index == 0
        assert threads() == ["read ahead"]
    assert threads() == []


def test_error_of_the_loop_leaves_no_thread() -> None:
    with pytest.raises(RuntimeError, match="loop"), reading_ahead(numbered(50)):
        raise RuntimeError("loop")
    assert threads() == []


def test_error_of_the_source_comes_where_its_frame_would_have() -> None:
    def breaking() -> Iterator[Frame]:
        yield from numbered(3)
        raise SourceError("cut off")

    with reading_ahead(breaking()) as frames:
        assert [next(frames).index for _ in range(3)] == [0, 1, 2]
        with pytest.raises(SourceError, match="cut off"):
            next(frames)


def test_source_without_a_frame_ends_at_once() -> None:
    with reading_ahead(numbered(0)) as frames:
        assert list(frames) == []
