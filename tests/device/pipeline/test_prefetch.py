"""Reading ahead changes when a frame is read, and nothing else."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator

import numpy as np
import pytest

from edge_runtime.errors import SourceError
from edge_runtime.pipeline.pipeline import TrackedFrame
from edge_runtime.pipeline.prefetch import (
    READ_AHEAD,
    TRACK_AHEAD,
    prefetch,
    prefetch_tracked,
)
from edge_runtime.sources import Frame
from edge_runtime.tracking.face_tracker import TrackedFaces

IMAGE = np.zeros((4, 4), np.uint8)


def numbered(count: int, read: list[int] | None = None) -> Iterator[Frame]:
    for index in range(count):
        if read is not None:
            read.append(index)
        yield Frame(IMAGE, index, index / 10, "clip")


def threads() -> list[str]:
    names = ("read ahead", "track ahead")
    return [one.name for one in threading.enumerate() if one.name in names]


def wait_until(true: Callable[[], bool]) -> None:
    end = time.monotonic() + 10
    while not true():
        assert time.monotonic() < end
        time.sleep(0.001)


def test_all_frames_come_once_and_in_order() -> None:
    with prefetch(numbered(50)) as frames:
        assert [frame.index for frame in frames] == list(range(50))
    assert threads() == []


def test_next_frames_are_read_while_one_is_processed_but_not_all_of_them() -> None:
    read: list[int] = []
    with prefetch(numbered(50, read)) as frames:
        next(frames)
        wait_until(lambda: len(read) == 1 + READ_AHEAD + 1)
        time.sleep(0.05)
        assert len(read) == 1 + READ_AHEAD + 1


def test_whoever_stops_early_leaves_no_thread() -> None:
    with prefetch(numbered(50)) as frames:
        assert next(frames).index == 0
        assert threads() == ["read ahead"]
    assert threads() == []


def test_error_of_the_loop_leaves_no_thread() -> None:
    with pytest.raises(RuntimeError, match="loop"), prefetch(numbered(50)):
        raise RuntimeError("loop")
    assert threads() == []


def test_error_of_the_source_comes_where_its_frame_would_have() -> None:
    def breaking() -> Iterator[Frame]:
        yield from numbered(3)
        raise SourceError("cut off")

    with prefetch(breaking()) as frames:
        assert [next(frames).index for _ in range(3)] == [0, 1, 2]
        with pytest.raises(SourceError, match="cut off"):
            next(frames)


def test_source_without_a_frame_ends_at_once() -> None:
    with prefetch(numbered(0)) as frames:
        assert list(frames) == []


def test_depth_is_that_of_the_first_item() -> None:
    read: list[int] = []
    with prefetch(numbered(50, read), depth=lambda frame: 4 + frame.index) as items:
        wait_until(lambda: len(read) == 4 + 1)
        assert [next(items).index for _ in range(20)] == list(range(20))
        wait_until(lambda: len(read) == 20 + 4 + 1)


class Faceless:
    """A pipeline that finds no face; it may break at a frame."""

    def __init__(self, breaks_at: int | None = None, takes_s: float = 0.0) -> None:
        self.begun, self.tracked = 0, []
        self._breaks_at, self._takes_s = breaks_at, takes_s

    def detect_and_track(self, frame: Frame) -> TrackedFrame:
        self.begun += 1
        time.sleep(self._takes_s)
        if frame.index == self._breaks_at:
            raise RuntimeError("detector")
        self.tracked.append(frame.index)
        batch = frame.image[np.newaxis]
        return TrackedFrame(frame, TrackedFaces([], (), []), [], batch)


def test_faces_are_tracked_in_order_while_a_frame_is_classified() -> None:
    pipeline = Faceless()
    with prefetch_tracked(numbered(50), pipeline) as tracked:
        assert next(tracked).frame.index == 0
        wait_until(lambda: len(pipeline.tracked) == 1 + TRACK_AHEAD + 1)
        assert [one.frame.index for one in tracked] == list(range(1, 50))
    assert pipeline.tracked == list(range(50))
    assert threads() == []


def test_few_large_frames_are_kept() -> None:
    pipeline = Faceless()
    large = np.broadcast_to(np.uint8(0), (5000, 5000, 3))  # one pixel of memory
    frames = (Frame(large, index, 0.0, "clip") for index in range(50))
    with prefetch_tracked(frames, pipeline) as tracked:
        next(tracked)
        wait_until(lambda: len(pipeline.tracked) == 1 + 1 + 1)
        time.sleep(0.05)
        assert len(pipeline.tracked) == 1 + 1 + 1


def test_error_of_the_detector_comes_where_its_frame_would_have() -> None:
    with prefetch_tracked(numbered(50), Faceless(breaks_at=3)) as tracked:
        assert [next(tracked).frame.index for _ in range(3)] == [0, 1, 2]
        with pytest.raises(RuntimeError, match="detector"):
            next(tracked)
    assert threads() == []


def test_whoever_stops_early_leaves_no_thread_that_tracks() -> None:
    with prefetch_tracked(numbered(50), Faceless()) as tracked:
        next(tracked)
        assert sorted(threads()) == ["read ahead", "track ahead"]
    assert threads() == []


def test_at_the_end_the_frame_in_progress_is_the_last() -> None:
    pipeline = Faceless(takes_s=0.5)
    with prefetch_tracked(numbered(50), pipeline) as tracked:
        next(tracked)
        wait_until(lambda: pipeline.begun == 2)
    assert pipeline.begun == 2
