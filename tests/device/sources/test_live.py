"""The newest frame is handed on; a camera that freezes or hangs is opened again."""

from __future__ import annotations

import logging
import socket
import threading
import time
import zlib
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import numpy as np
import pytest

from edge_runtime.cli.run import _keep_waiting
from edge_runtime.errors import SourceError
from edge_runtime.sources import (
    CameraSettings,
    Frame,
    freeze_detection,
    live,
    supervisor,
)
from edge_runtime.sources.base import Clock, EndOfSource, VirtualClock
from edge_runtime.sources.freeze_detection import FreezeDetector
from edge_runtime.sources.live import LiveSource
from edge_runtime.sources.supervisor import MAX_PAUSE_S, STEADY_S, Recovery
from edge_runtime.systemd.notify import Notifier
from edge_runtime.utils.signals import StopRequest

QUICK = CameraSettings(stall_s=0.3, frozen_s=0.5)


def picture(number: int) -> np.ndarray:
    rng = np.random.default_rng(number)
    return rng.integers(0, 256, (32, 48, 3), dtype=np.uint8)


class Camera:
    """A reader that calls ``give`` for each picture."""

    fps = 100.0

    def __init__(self, give: Callable[[int], Any]) -> None:
        self.count, self.give, self.closed = 0, give, threading.Event()

    def read(self) -> Any:
        self.count += 1
        return self.give(self.count - 1)

    def close(self) -> None:
        self.closed.set()


def at_100_per_second(number: int) -> np.ndarray:
    time.sleep(0.01)
    return picture(number)


# --- the newest frame --------------------------------------------------------------


class TurnedCamera(Camera):
    """Gives pictures only as somebody turns it on, so that no test depends on speed."""

    def __init__(self) -> None:
        super().__init__(self.give_when_turned)
        self.turns = threading.Semaphore(1)

    def give_when_turned(self, number: int) -> np.ndarray:
        assert self.turns.acquire(timeout=20)
        return picture(number)

    def turn(self, pictures: int) -> None:
        """Returns when so many more pictures have been handed on."""
        self.turns.release(pictures)
        until = self.count + pictures
        while self.count < until:
            time.sleep(0.001)


PATIENT = CameraSettings(stall_s=30)


def test_slow_loop_gets_the_newest_frame_and_the_rest_is_counted() -> None:
    camera, indices = TurnedCamera(), []
    source = LiveSource(lambda _: camera, "cam", settings=PATIENT)
    for frame in source:
        indices.append(frame.index)
        if len(indices) == 4:
            break
        turned = time.monotonic()
        camera.turn(5)
    source.close()
    assert indices == [0, 5, 10, 15]
    assert source.dropped == 12
    assert frame.captured_s >= turned


def test_loop_that_keeps_up_gets_every_frame() -> None:
    camera, frames = TurnedCamera(), []
    source = LiveSource(lambda _: camera, "cam", settings=PATIENT)
    for frame in source:
        frames.append(frame)
        if len(frames) == 20:
            break
        camera.turn(1)
    source.close()
    assert [frame.index for frame in frames] == list(range(20))
    times = [frame.timestamp_s for frame in frames]
    assert times[0] == 0.0 and times == sorted(times)
    assert (source.fps, source.dropped) == (100, 0)


def test_every_third_frame_keeps_its_own_number() -> None:
    camera, indices = TurnedCamera(), []
    source = LiveSource(lambda _: camera, "cam", every=3, settings=PATIENT)
    for frame in source:
        indices.append(frame.index)
        if len(indices) == 4:
            break
        camera.turn(3)
    source.close()
    assert indices == [0, 3, 6, 9]


def test_shape_may_change_from_one_frame_to_the_next() -> None:
    shapes = [(8, 8, 3), (6, 4), (9, 9, 3)]
    turns = threading.Semaphore(1)

    def give(number: int) -> np.ndarray:
        assert turns.acquire(timeout=20)
        if number == len(shapes):
            raise EndOfSource
        return np.zeros(shapes[number], np.uint8)

    seen = []
    for frame in LiveSource(lambda _: Camera(give), "cam", settings=PATIENT):
        seen.append(frame.image.shape)
        turns.release()
    assert seen == shapes


def test_bug_in_a_reader_reaches_the_loop() -> None:
    def give(number: int) -> np.ndarray:
        if number == 2:
            raise ZeroDivisionError
        return at_100_per_second(number)

    source = LiveSource(lambda _: Camera(give), "cam")
    with pytest.raises(ZeroDivisionError):
        list(source)


# --- cameras that hang, vanish and freeze ------------------------------------------


def test_read_that_hangs_is_left_behind_and_the_camera_opened_again() -> None:
    release = threading.Event()

    def hang_at_5(number: int) -> np.ndarray:
        if number == 5:
            release.wait(20)
        return at_100_per_second(number)

    cameras = [Camera(hang_at_5), Camera(at_100_per_second)]
    waiting = iter(cameras)
    source = LiveSource(lambda _: next(waiting), "cam", settings=QUICK)
    frames = [frame for frame, _ in zip(source, range(20), strict=False)]
    source.close()
    assert not cameras[0].closed.is_set()  # its call hangs still
    assert (source.reopened, len(frames)) == (1, 20)
    release.set()
    assert cameras[0].closed.wait(2)  # by its own thread, when the call returned


def test_thread_is_used_again_once_its_call_has_returned(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(supervisor, "MAX_PAUSE_S", 0.05)
    cameras: list[Camera] = []
    threads = set()

    def hang_at_5(number: int) -> np.ndarray:
        threads.add(threading.current_thread())
        last = len(cameras)
        if number == 4 and last > 1:
            assert cameras[-2].closed.wait(20)
            time.sleep(0.05)  # until its thread is idle
        while number == 5 and last < 5 and len(cameras) == last:
            time.sleep(0.01)
        return at_100_per_second(number)

    def open_camera(_: Clock) -> Camera:
        cameras.append(Camera(hang_at_5))
        return cameras[-1]

    source = LiveSource(open_camera, "cam", settings=QUICK)
    for _ in source:
        if len(cameras) == 5 and cameras[-1].count > 8:
            break
    source.close()
    assert len(threads) == 2


def test_watchdog_hears_nothing_while_a_call_that_hangs_keeps_the_camera(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(live, "STUCK_S", 1.0)
    release, held = threading.Event(), threading.Lock()

    class Exclusive(Camera):
        def close(self) -> None:
            held.release()

    def hang_at_5(number: int) -> np.ndarray:
        if number == 5:
            release.wait(60)
        return at_100_per_second(number)

    def open_camera(_: Clock) -> Camera:
        if not held.acquire(blocking=False):
            raise SourceError("Device or resource busy")
        return Exclusive(at_100_per_second if release.is_set() else hang_at_5)

    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as systemd:
        systemd.bind(str(tmp_path / "notify"))
        systemd.settimeout(1.0)
        told = {"NOTIFY_SOCKET": str(tmp_path / "notify"), "WATCHDOG_USEC": "400000"}
        notifier, stop = Notifier(told), StopRequest()
        settings = CameraSettings(stall_s=0.3, reopen_limit=0)
        keep_waiting = partial(_keep_waiting, notifier, stop)
        source = LiveSource(
            open_camera, "cam", settings=settings, keep_waiting=keep_waiting
        )
        frames: list[Frame] = []
        loop = threading.Thread(target=lambda: frames.extend(source))
        loop.start()
        beats = 0
        with pytest.raises(TimeoutError):  # a second of silence: systemd would kill
            while True:
                systemd.recv(100)
                beats += 1
        assert beats >= 3  # it was borne for a while
        assert source.stuck
        release.set()  # the driver returns after all
        assert systemd.recv(100) == b"WATCHDOG=1"
        before = len(frames)
        until = time.monotonic() + 5
        while len(frames) < before + 3 and time.monotonic() < until:
            time.sleep(0.01)
        assert len(frames) >= before + 3
        stop.signal = 15
        source._latest.finish(None)
        loop.join(5)
        source.close()
        notifier.close()


def test_close_does_not_wait_for_a_read_that_hangs() -> None:
    release = threading.Event()

    def give(number: int) -> np.ndarray:
        if number:
            release.wait(20)
        return picture(number)

    camera = Camera(give)
    source = LiveSource(lambda _: camera, "cam")
    next(iter(source))
    source.close()
    assert not camera.closed.is_set()
    release.set()


def test_keep_waiting_is_called_while_a_camera_hangs() -> None:
    calls: list[bool] = []
    release = threading.Event()

    def give(number: int) -> np.ndarray:
        if number:
            release.wait(60)
        return picture(number)

    def go_on(stuck: bool) -> bool:
        calls.append(stuck)
        return len(calls) < 3

    camera = Camera(give)
    source = LiveSource(lambda _: camera, "cam", keep_waiting=go_on)
    assert len(list(source)) == 1
    assert len(calls) == 3
    assert camera.count == 2  # the second call has not returned
    source.close()
    release.set()


def test_camera_that_vanishes_is_logged_once_and_reopened(
    caplog: pytest.LogCaptureFixture,
) -> None:
    opened, refused = [], []

    def give(number: int) -> np.ndarray:
        if len(opened) == 1 and number == 3:
            raise SourceError("unplugged")
        return at_100_per_second(number)

    def open_camera(_: Clock) -> Camera:
        if opened and len(refused) < 2:
            refused.append(True)
            raise SourceError("no such device")
        opened.append(len(refused))
        return Camera(give)

    source = LiveSource(open_camera, "cam", settings=QUICK)
    with caplog.at_level(logging.WARNING):
        for _ in zip(source, range(10), strict=False):
            pass
    source.close()
    assert opened == [0, 2]
    assert source.reopened == 1
    lost, back = caplog.messages
    assert lost == "cam: unplugged: opening it again"
    assert back.startswith("cam: frames again after")


def test_absent_camera_is_an_error_at_once() -> None:
    def open_camera(_: Clock) -> Camera:
        raise SourceError("no such device")

    with pytest.raises(SourceError, match="no such device"):
        LiveSource(open_camera, "cam")


# --- which pictures are frozen -----------------------------------------------------


def check(
    detector: FreezeDetector, images: list[np.ndarray], *, fps: float = 10
) -> int:
    """Returns how many were looked at before one was called frozen."""
    for number, image in enumerate(images):
        try:
            detector.check(image, number / fps)
        except SourceError:
            return number
    return len(images)


def test_same_picture_for_some_time_is_frozen() -> None:
    assert check(FreezeDetector("cam", 2.0), [picture(1)] * 50) == 20


def test_buffers_in_rotation_are_frozen() -> None:
    turns = [picture(number % 4) for number in range(50)]
    assert check(FreezeDetector("cam", 2.0), turns, fps=8) == 3 + 2 * 8


@pytest.mark.parametrize("buffers", [1, 8])
def test_of_a_fast_camera_only_some_frames_are_checked(
    buffers: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    digests = Mock(wraps=zlib.crc32)
    monkeypatch.setattr(freeze_detection, "zlib", Mock(crc32=digests))
    pictures = [picture(number) for number in range(buffers)]
    frozen_at = check(FreezeDetector("cam", 2.0), pictures * 5000, fps=1000)
    assert 2000 <= frozen_at <= 2500
    assert digests.call_count <= 1 + frozen_at / 20


def test_pictures_with_noise_alone_are_not_frozen() -> None:
    rng = np.random.default_rng(1)
    wall = np.full((48, 64, 3), 120, np.uint8)
    noisy = [wall + rng.integers(0, 2, wall.shape, np.uint8) for _ in range(100)]
    assert check(FreezeDetector("cam", 2.0), noisy) == 100


def test_frozen_after_0_never_calls_it_frozen() -> None:
    assert check(FreezeDetector("cam", 0.0), [picture(1)] * 500) == 500


@pytest.mark.parametrize(("patience_s", "minutes"), [(5.0, 5), (400.0, 7), (0.0, 10)])
def test_image_that_is_polled_is_frozen_after_minutes(
    patience_s: float, minutes: int
) -> None:
    detector = FreezeDetector("cam", patience_s)
    detector.start(0.0, polled=True)
    seconds = check(detector, [picture(1)] * 600, fps=1)
    assert 60 * (minutes - 1) < seconds <= 60 * minutes


@pytest.mark.parametrize("renewed_s", [10, 60, 200])
def test_image_that_is_renewed_rarely_is_not_frozen(renewed_s: int) -> None:
    detector = FreezeDetector("cam", 5.0)
    detector.start(0.0, polled=True)
    images = [picture(second // renewed_s) for second in range(600)]
    assert check(detector, images, fps=1) == 600


def test_still_stream_is_opened_again_less_and_less_often() -> None:
    detector, counts = FreezeDetector("cam", 2.0), []
    for _ in range(3):
        detector.start(0.0)
        counts.append(check(detector, [picture(1)] * 200))
    assert counts == [20, 40, 80]


def test_black_pictures_are_reported_once_and_never_called_frozen(
    caplog: pytest.LogCaptureFixture,
) -> None:
    detector = FreezeDetector("cam", 2.0)
    black = np.zeros((48, 64, 3), np.uint8)
    assert check(detector, [picture(1)] + [black] * 500 + [picture(2)]) == 502
    assert len(caplog.messages) == 2
    assert "black" in caplog.messages[0]
    assert "again" in caplog.messages[1]


# --- how often a lost one is tried -------------------------------------------------


def test_waits_grow_to_a_limit_and_begin_anew_after_steady_pictures() -> None:
    recovery = Recovery("cam", 0)
    recovery.delivered(0.0)
    waits = [recovery.lost("gone", 1.0 + number) for number in range(6)]
    assert waits == [0.25, 0.5, 1.0, 2.0, MAX_PAUSE_S, MAX_PAUSE_S]
    recovery.delivered(10.0)
    assert recovery.lost("gone", 11.0) == MAX_PAUSE_S  # back for a second only
    recovery.delivered(20.0)
    assert recovery.lost("gone", 20.0 + STEADY_S) == 0.25
    assert recovery.reopened == 2


def test_too_many_failures_in_a_short_time_break_the_circuit() -> None:
    recovery = Recovery("cam", 3)
    recovery.lost("gone", 0.0)
    recovery.lost("gone", 1.0)
    with pytest.raises(SourceError, match="lost 3 times within 2 s, at last: gone"):
        recovery.lost("gone", 2.0)


def test_failures_spread_over_days_do_not() -> None:
    recovery = Recovery("cam", 3)
    for day in range(100):
        recovery.lost("gone", 86_400.0 * day)


def test_virtual_time_passes_only_in_sleep() -> None:
    clock = VirtualClock()
    clock.sleep(2.5)
    clock.sleep(-1)
    assert clock.now() == 2.5
