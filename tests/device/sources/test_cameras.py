"""Cameras are set as asked for; only hardware that cannot be here is faked."""

from __future__ import annotations

import argparse
import errno
import sys
import threading
import time
from collections.abc import Callable, Iterator
from itertools import islice
from types import ModuleType, SimpleNamespace
from typing import Any

import cv2
import numpy as np
import pytest

from edge_runtime.cli.run import open_run_source
from edge_runtime.cli.run_options import add_source_options
from edge_runtime.errors import FerEdgeError, MissingDependencyError, SourceError
from edge_runtime.sources import CameraSettings, open_source
from edge_runtime.sources.live import LiveSource
from edge_runtime.sources.opencv import CaptureReader, Lateness, _configure, open_camera
from edge_runtime.sources.supervisor import MAX_MISSED_FRAMES

GOOD = np.zeros((4, 6, 3), np.uint8)


class Capture:
    """A ``VideoCapture`` that gives what it is told to, then nothing."""

    def __init__(self, *images: object) -> None:
        self.images, self.wanted, self.released = list(images), [], 0

    def get(self, _: int) -> float:
        return 0.0

    def set(self, what: int, value: float) -> bool:
        self.wanted.append((what, value))
        return True

    def read(self) -> tuple[bool, object]:
        return (True, self.images.pop(0)) if self.images else (False, None)

    def release(self) -> None:
        self.released += 1


def test_camera_that_misses_frames_goes_on_and_is_given_up_when_it_stays_away() -> None:
    empty = np.zeros((0, 6, 3), np.uint8)
    other_shape = np.zeros((8, 2, 3), np.uint8)
    capture = Capture(GOOD, None, empty, GOOD.astype(np.float32), other_shape)
    openings = []

    def opened(_: object) -> CaptureReader:
        openings.append(capture)
        return CaptureReader(capture)  # type: ignore[arg-type]

    source = LiveSource(opened, "0", settings=CameraSettings(reopen_limit=2))
    with pytest.raises(SourceError, match=r"lost 2 times.*--reopen-limit"):
        list(source)
    source.close()
    assert source.skipped == 3
    assert len(openings) == capture.released == 2


def test_camera_without_a_frame_is_released_and_an_error() -> None:
    capture = Capture(*[None] * MAX_MISSED_FRAMES)
    with pytest.raises(SourceError, match="no valid frame"):
        LiveSource(lambda _: CaptureReader(capture), "0")  # type: ignore[arg-type]
    assert capture.released == 1


@pytest.mark.parametrize(
    ("positions_s", "times_s", "late_s"),
    [
        ([0, 1, 2, 3], [5, 6, 7, 8], 0),
        ([0, 1, 2, 3], [5, 5.1, 5.2, 6.2], 0),  # a burst at first
        ([0, 1, 2, 3], [5, 7, 9, 11], 3),
        ([0, 1, 2, 9], [5, 7, 9, 14], 0),  # caught up
        ([0, 9, 1, 2], [5, 14, 16, 17], 0),  # another beginning
        ([0, 0, 0, 0], [5, 6, 7, 8], 0),  # no times
        ([0, 1e4, 2e4], [5, 10005.5, 20006], 0),  # another clock
    ],
)
def test_frames_that_come_later_and_later_are_late(
    positions_s: list[float], times_s: list[float], late_s: float
) -> None:
    lateness = Lateness()
    late = [lateness.add(*each) for each in zip(positions_s, times_s, strict=True)]
    assert late[-1] == pytest.approx(late_s, abs=0.01)
    assert min(late) >= 0


def test_late_frames_are_old_and_it_is_told_once(
    caplog: pytest.LogCaptureFixture,
) -> None:
    class Late:
        fps, late_s = 100.0, 3.0

        def read(self) -> np.ndarray:
            return np.random.default_rng().integers(0, 255, (4, 6, 3), np.uint8)

        def close(self) -> None: ...

    source = LiveSource(lambda _: Late(), "rtsp://cam")
    for frame in islice(source, 3):
        assert time.monotonic() - frame.captured_s >= 3
    source.close()
    assert caplog.text.count("its frames come 3.0 s late") == 1


def test_pixel_format_is_set_before_size_and_rate() -> None:
    capture = Capture()
    settings = CameraSettings(size_wh=(640, 480), fps=15, pixel_format="mjpg")
    _configure(capture, settings, "/dev/video0")  # type: ignore[arg-type]
    assert capture.wanted == [
        (cv2.CAP_PROP_FOURCC, cv2.VideoWriter.fourcc(*"MJPG")),
        (cv2.CAP_PROP_FRAME_WIDTH, 640),
        (cv2.CAP_PROP_FRAME_HEIGHT, 480),
        (cv2.CAP_PROP_FPS, 15),
    ]


def test_size_that_the_camera_refuses_is_logged(
    caplog: pytest.LogCaptureFixture,
) -> None:
    settings = CameraSettings(size_wh=(640, 480))
    _configure(Capture(), settings, "/dev/video0")  # type: ignore[arg-type]
    assert "asked for (640, 480), gives (0, 0)" in caplog.text


def test_grey_is_refused_for_a_usb_camera() -> None:
    with pytest.raises(SourceError, match="picamera2"):
        open_camera("0", CameraSettings(pixel_format="grey"))


class Picamera2:
    """Stands for a camera on a ribbon cable, which only one may hold.

    Its rows are padded to 64 bytes. As in picamera2 0.3.12 (Bookworm's first), a job
    waits in line behind the one before it, and ``wait`` takes no timeout.
    """

    held = threading.Lock()
    stalls_at: int | None = None  # captures of the first that is opened
    failure: Exception | None = None
    opened = 0

    def __init__(self, number: int) -> None:
        if number > 0:
            raise IndexError("list index out of range")
        if not Picamera2.held.acquire(blocking=False):
            raise RuntimeError("Failed to acquire camera: Device or resource busy")
        Picamera2.opened += 1
        self.first, self.stalled = Picamera2.opened == 1, False

    def create_video_configuration(self, **asked: Any) -> dict[str, Any]:
        return asked

    def configure(self, asked: dict[str, Any]) -> None:
        if Picamera2.failure is not None:
            raise Picamera2.failure
        width, height = asked["main"]["size"]
        self.main = {**asked["main"], "size": (width - width % 4, height)}
        self.count = 0

    def camera_configuration(self) -> dict[str, Any]:
        return {"main": self.main}

    def capture_array(
        self, _: str, *, wait: bool, signal_function: Callable[[Any], None]
    ) -> Any:
        assert not wait
        self.count += 1
        self.stalled |= self.first and self.count == self.stalls_at
        if not self.stalled:
            threading.Timer(0.005, signal_function, ["job"]).start()
        return "job"

    def wait(self, job: Any) -> np.ndarray:
        assert job == "job"
        rng = np.random.default_rng(self.count)
        width, height = self.main["size"]
        if self.main["format"] == "RGB888":
            return np.full((height, width, 3), (1, 2, self.count % 256), np.uint8)
        buffer = np.full((height * 3 // 2, -(-width // 64) * 64), 128, np.uint8)
        buffer[:height, :width] = rng.integers(256)
        return buffer

    def start(self) -> None: ...

    def stop(self) -> None:
        assert not self.stalled, "it would wait for ever behind the capture"

    def close(self) -> None:
        Picamera2.held.release()


@pytest.fixture
def pi_camera(monkeypatch: pytest.MonkeyPatch) -> Iterator[type[Picamera2]]:
    module = ModuleType("picamera2")
    module.__dict__.update(SimpleNamespace(Picamera2=Picamera2).__dict__)
    monkeypatch.setitem(sys.modules, "picamera2", module)
    for name, value in {"stalls_at": None, "failure": None, "opened": 0}.items():
        monkeypatch.setattr(Picamera2, name, value)
    yield Picamera2
    assert not Picamera2.held.locked()  # given back


@pytest.mark.usefixtures("pi_camera")
def test_pi_camera_delivers_its_luma_plane_without_padding() -> None:
    settings = CameraSettings(size_wh=(100, 60), fps=10)
    with open_source("picamera2", settings=settings) as source:
        image = next(iter(source)).image
    assert image.shape == (60, 100)
    assert np.ptp(image) == 0
    assert source.fps == 10


@pytest.mark.usefixtures("pi_camera")
def test_pi_camera_delivers_colour_if_configured() -> None:
    settings = CameraSettings(size_wh=(100, 60), pixel_format="bgr")
    with open_source("picamera2:0", settings=settings) as source:
        image = next(iter(source)).image
    assert image.shape == (60, 100, 3)
    assert image[0, 0, :2].tolist() == [1, 2]


@pytest.mark.usefixtures("pi_camera")
@pytest.mark.parametrize("text", ["picamera2:1", "picamera2:x"])
def test_pi_camera_that_is_not_there_is_an_error(text: str) -> None:
    with pytest.raises(SourceError, match=text), open_source(text):
        pass


def test_pi_camera_that_stalls_is_closed_and_opened_again(
    pi_camera: type[Picamera2],
) -> None:
    pi_camera.stalls_at = 4
    settings = CameraSettings(size_wh=(64, 48), stall_s=2.0)
    with open_source("picamera2", settings=settings) as source:
        for _ in zip(range(10), source, strict=False):
            pass
        assert (source.reopened, pi_camera.opened) == (1, 2)
        assert isinstance(source, LiveSource)
        assert not source._abandoned


@pytest.mark.parametrize("colour", [False, True], ids=["grey model", "colour model"])
def test_pi_camera_delivers_the_colours_of_the_model(
    pi_camera: type[Picamera2], colour: bool
) -> None:
    parser = argparse.ArgumentParser()
    add_source_options(parser)
    args = parser.parse_args(["--source", "picamera2"])
    with open_run_source(args, colour=colour) as source:
        assert next(iter(source)).image.ndim == (3 if colour else 2)


def test_size_that_picamera2_adjusts_is_used_and_logged(
    pi_camera: type[Picamera2], caplog: pytest.LogCaptureFixture
) -> None:
    settings = CameraSettings(size_wh=(102, 60))
    with open_source("picamera2", settings=settings) as source:
        image = next(iter(source)).image
    assert image.shape == (60, 100)
    assert np.ptp(image) == 0  # nothing of the padding
    assert "asked for (102, 60), gives (100, 60)" in caplog.text


@pytest.mark.parametrize(
    ("failure", "part"),
    [
        (RuntimeError("width and height should be even"), "should be even"),
        (OSError(errno.ENOMEM, "Cannot allocate memory"), r"smaller --size"),
        (AttributeError("no attribute 'allocator'"), "check the ribbon cable"),
    ],
    ids=["settings", "memory", "half-made"],
)
def test_pi_camera_that_does_not_start_is_closed_and_an_error(
    pi_camera: type[Picamera2], failure: Exception, part: str
) -> None:
    pi_camera.failure = failure
    with pytest.raises(SourceError, match=part), open_source("picamera2"):
        pass


def test_pi_camera_that_fails_while_it_is_read_is_opened_again(
    pi_camera: type[Picamera2], monkeypatch: pytest.MonkeyPatch
) -> None:
    wait = pi_camera.wait

    def fails_at_first(camera: Picamera2, job: Any) -> np.ndarray:
        if camera.first and camera.count == 3:
            raise OSError(errno.EREMOTEIO, "Remote I/O error")
        return wait(camera, job)

    monkeypatch.setattr(pi_camera, "wait", fails_at_first)
    with open_source("picamera2", settings=CameraSettings(frozen_s=0)) as source:
        frames = iter(source)
        while not source.reopened:
            next(frames)


def test_missing_picamera2_is_an_error_with_both_commands() -> None:
    with pytest.raises(MissingDependencyError) as caught, open_source("picamera2"):
        pass
    assert isinstance(caught.value, FerEdgeError)
    assert "apt install python3-picamera2" in str(caught.value)
    assert "--system-site-packages" in str(caught.value)
