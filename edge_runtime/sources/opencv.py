"""Cameras (V4L2 on Linux) and network streams, through OpenCV."""

from __future__ import annotations

import logging
import math
import os
import sys
import time
from pathlib import Path
from typing import Any

import cv2

from edge_runtime.errors import SourceError
from edge_runtime.sources.address import diagnose, without_secrets
from edge_runtime.sources.base import FALLBACK_FPS, CameraSettings
from edge_runtime.utils.pictures import too_many_pixels

logger = logging.getLogger(__name__)

OPEN_TIMEOUT_S = 5.0
MAX_DRIFT = 2e-4  # of two clocks, the camera's and this one's
_AV_LOG_QUIET = "-8"
_CV_LOG_SILENT = 0


class Lateness:
    """How much later than the first frames a stream's frames come.

    Where decoding is too slow, they wait in the kernel, and FFmpeg leaves none out.
    """

    def __init__(self) -> None:
        """Has seen none."""
        self._now_s = self._position_s = 0.0
        self._least_s = math.inf  # from a frame's own time to its arrival

    def add(self, position_s: float, now_s: float) -> float:
        """Returns the seconds by which a frame is late.

        Args:
            position_s: Its own time; one that does not grow is none.
            now_s: The time of its arrival.
        """
        offset_s, drift_s = now_s - position_s, MAX_DRIFT * (now_s - self._now_s)
        if position_s <= self._position_s:
            self._least_s = math.inf
        self._least_s = min(offset_s, self._least_s + drift_s)
        self._now_s, self._position_s = now_s, position_s
        return offset_s - self._least_s


class CaptureReader:
    """An open camera or stream in OpenCV's ``VideoCapture``.

    Attributes:
        late_s: Seconds by which the last frame of a stream was late.
    """

    def __init__(
        self, capture: cv2.VideoCapture, *, stall_s: float | None = None
    ) -> None:
        """Takes an open capture.

        Args:
            capture: Of a camera or stream.
            stall_s: Of a stream: the timeout of its reads. The first frame that it
                misses is its end.
        """
        self.fps = fps_of(capture)
        self.capture, self._stall_s = capture, stall_s
        self.late_s, self._lateness = 0.0, Lateness()

    @property
    def frame_count(self) -> int:
        """Frames of a file; 0 for a camera or stream."""
        return max(0, int(self.capture.get(cv2.CAP_PROP_FRAME_COUNT)))

    def read(self) -> Any:
        """Returns the next image; None for one that was missed or is damaged.

        Raises:
            SourceError: The stream ended, or delivered nothing in time.
        """
        started_s = time.monotonic()
        try:
            received, image = self.capture.read()
        except cv2.error as error:
            logger.debug("%s", error)
            return None
        if self._stall_s is not None and not received:
            elapsed_s = time.monotonic() - started_s
            raise SourceError(
                f"no frame for {elapsed_s:.1f} s"
                if elapsed_s > 0.9 * self._stall_s
                else "the stream ended"
            )
        if self._stall_s is not None:
            position_s = self.capture.get(cv2.CAP_PROP_POS_MSEC) / 1000
            self.late_s = self._lateness.add(position_s, time.monotonic())
        return image

    def close(self) -> None:
        """Closes the device or connection."""
        self.capture.release()


def open_camera(text: str, settings: CameraSettings) -> CaptureReader:
    """Returns an open camera.

    Args:
        text: Its number, or its path such as ``/dev/video0``.
        settings: Size, rate and pixel format; the camera may ignore them.

    Raises:
        SourceError: There is none, access is denied, or it delivers no frames.
    """
    device = f"/dev/video{int(text)}" if text.isdecimal() else text
    if settings.pixel_format in ("grey", "bgr"):
        raise SourceError(
            f"expected --pixel-format auto, mjpg or yuyv for {device}, got"
            f" {settings.pixel_format!r}: that one is for  --source picamera2"
        )
    on_linux = sys.platform == "linux"
    if on_linux:
        # Without OpenCV, which would try every driver first.
        _check_device(Path(device))
    quiet_opencv()
    # Timeout of a read in seconds; OpenCV's own, 10 s, is longer than --stall-after.
    os.environ.setdefault("OPENCV_VIDEOIO_V4L_SELECT_TIMEOUT", "1")
    camera = int(text) if text.isdecimal() else text
    capture = cv2.VideoCapture(camera, cv2.CAP_V4L2 if on_linux else cv2.CAP_ANY)
    if not capture.isOpened():
        raise SourceError(
            f"expected a camera at {device}, got a device that delivers no frames:"
            " check that no other program uses it, try another --source number, or"
            " --source picamera2 for a camera on a Raspberry Pi's ribbon cable"
        )
    _configure(capture, settings, device)
    return CaptureReader(capture)


def _configure(
    capture: cv2.VideoCapture, settings: CameraSettings, device: str
) -> None:
    # The format first: the possible sizes and rates depend on it.
    if settings.pixel_format != "auto":
        code = cv2.VideoWriter.fourcc(*settings.pixel_format.upper())
        capture.set(cv2.CAP_PROP_FOURCC, code)
    if settings.size_wh:
        capture.set(cv2.CAP_PROP_FRAME_WIDTH, settings.size_wh[0])
        capture.set(cv2.CAP_PROP_FRAME_HEIGHT, settings.size_wh[1])
        size_wh = size_of(capture)
        if size_wh != settings.size_wh:
            logger.warning(
                "%s: asked for %s, gives %s", device, settings.size_wh, size_wh
            )
    if settings.fps:
        capture.set(cv2.CAP_PROP_FPS, settings.fps)


def _check_device(device: Path) -> None:
    if not device.exists():
        present = sorted(str(path) for path in Path("/dev").glob("video[0-9]*"))
        raise SourceError(
            f"expected a camera at {device}, got no such device (present:"
            f" {', '.join(present) or 'none'}): plug it in, name a video or image,"
            " or try  --source fake:scene"
        )
    if not os.access(device, os.R_OK | os.W_OK):
        raise SourceError(
            f"no permission to use {device}: run  sudo usermod -aG video $USER"
            "  and log in again"
        )


def open_stream(url: str, settings: CameraSettings) -> CaptureReader:
    """Returns an open stream; RTSP uses TCP where the camera can.

    Args:
        url: ``rtsp://``, ``rtsps://``, ``http://`` or ``https://``, perhaps with user
            and password.
        settings: ``stall_s`` limits each read; size and rate are the sender's.

    Raises:
        SourceError: There is no answer within 5 s, or it is not a stream.
    """
    quiet_opencv()
    # With UDP, a lost packet damages all images until the next key frame.
    # But some cameras have nothing else.
    os.environ.setdefault("OPENCV_FFMPEG_CAPTURE_OPTIONS", "rtsp_flags;prefer_tcp")
    limits = [
        cv2.CAP_PROP_OPEN_TIMEOUT_MSEC,
        int(1000 * OPEN_TIMEOUT_S),
        cv2.CAP_PROP_READ_TIMEOUT_MSEC,
        int(1000 * settings.stall_s),
    ]
    capture = cv2.VideoCapture(url, cv2.CAP_FFMPEG, limits)
    if capture.isOpened():
        if reason := too_many_pixels(size_of(capture)):
            capture.release()
            raise SourceError(f"{without_secrets(url)}: {reason} a frame")
        turn_upright(capture)
        return CaptureReader(capture, stall_s=settings.stall_s)
    raise SourceError(
        f"expected a stream at {without_secrets(url)}, got {diagnose(url)}"
    )


def fps_of(capture: cv2.VideoCapture) -> float:
    """Returns a capture's frames per second; 25 if its own value is implausible.

    Browsers record without a rate: it is then that of the file's clock, 1000 or more.
    """
    fps = capture.get(cv2.CAP_PROP_FPS)
    return fps if math.isfinite(fps) and 0.1 <= fps < 1000 else FALLBACK_FPS


def turn_upright(capture: cv2.VideoCapture) -> None:
    """Has a capture turn frames as a phone was held; 4.11 does not by itself."""
    capture.set(cv2.CAP_PROP_ORIENTATION_AUTO, 1)


def size_of(capture: cv2.VideoCapture) -> tuple[int, int]:
    """Returns width and height of a capture's frames, in pixels."""
    width = int(capture.get(cv2.CAP_PROP_FRAME_WIDTH))
    return width, int(capture.get(cv2.CAP_PROP_FRAME_HEIGHT))


def quiet_opencv() -> None:
    """Stops OpenCV and FFmpeg from writing to stderr, until the process ends.

    They would write at each attempt to open a lost camera, which is logged once here.
    Set FER_EDGE_VERBOSE=1 to see everything.
    """
    if not os.environ.get("FER_EDGE_VERBOSE"):
        os.environ.setdefault("OPENCV_FFMPEG_LOGLEVEL", _AV_LOG_QUIET)
        # OpenCV 4.11, the last one for NumPy 1, has it elsewhere.
        getattr(cv2.utils, "logging", cv2).setLogLevel(_CV_LOG_SILENT)
