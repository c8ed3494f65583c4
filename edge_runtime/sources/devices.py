"""USB and other cameras that the Linux kernel knows (V4L2), through OpenCV."""

from __future__ import annotations

import logging
import os
import sys
from pathlib import Path
from typing import Any

import cv2

from edge_runtime.errors import SourceError
from edge_runtime.sources.capture import fps_of, quiet_opencv
from edge_runtime.sources.settings import CameraSettings

logger = logging.getLogger(__name__)


class CameraReader:
    """An open camera in OpenCV's ``VideoCapture``."""

    def __init__(self, capture: cv2.VideoCapture) -> None:
        """Takes an open capture."""
        self.fps = fps_of(capture)
        self._capture = capture

    def read(self) -> Any:
        """Returns the next picture; None for one that was missed or is damaged."""
        try:
            return self._capture.read()[1]
        except cv2.error as error:
            logger.debug("%s", error)
            return None

    def close(self) -> None:
        """Gives the device back."""
        self._capture.release()


def open_camera(text: str, settings: CameraSettings) -> CameraReader:
    """Returns an open camera.

    Args:
        text: Its number, or its path such as ``/dev/video0``.
        settings: Size, rate and pixel format; what it cannot do, it does not.

    Raises:
        SourceError: There is none, it may not be used, or gives no pictures.
    """
    device = f"/dev/video{int(text)}" if text.isdecimal() else text
    if settings.pixel_format in ("grey", "bgr"):
        raise SourceError(
            f"expected --pixel-format auto, mjpg or yuyv for {device}, got"
            f" {settings.pixel_format!r}: that one is for  --source picamera2"
        )
    on_linux = sys.platform == "linux"
    if on_linux:
        # OpenCV would try every driver first; the kernel already knows.
        _check_device(Path(device))
    quiet_opencv()
    # A read returns at least so often; 10 s, OpenCV's own, would outlast --stall-after.
    os.environ.setdefault("OPENCV_VIDEOIO_V4L_SELECT_TIMEOUT", "1")
    wanted = int(text) if text.isdecimal() else text
    capture = cv2.VideoCapture(wanted, cv2.CAP_V4L2 if on_linux else cv2.CAP_ANY)
    if not capture.isOpened():
        raise SourceError(
            f"expected a camera at {device}, got a device that gives no pictures:"
            " check that no other program uses it, try another --source number, or"
            " --source picamera2 for a camera on a Raspberry Pi's ribbon cable"
        )
    _set(capture, settings, device)
    return CameraReader(capture)


def _set(capture: cv2.VideoCapture, settings: CameraSettings, device: str) -> None:
    # The format first: sizes and rates depend on it.
    if settings.pixel_format != "auto":
        code = cv2.VideoWriter.fourcc(*settings.pixel_format.upper())
        capture.set(cv2.CAP_PROP_FOURCC, code)
    if settings.size_wh:
        capture.set(cv2.CAP_PROP_FRAME_WIDTH, settings.size_wh[0])
        capture.set(cv2.CAP_PROP_FRAME_HEIGHT, settings.size_wh[1])
        got = tuple(
            int(capture.get(one))
            for one in (cv2.CAP_PROP_FRAME_WIDTH, cv2.CAP_PROP_FRAME_HEIGHT)
        )
        if got != settings.size_wh:
            logger.warning("%s: asked for %s, gives %s", device, settings.size_wh, got)
    if settings.fps:
        capture.set(cv2.CAP_PROP_FPS, settings.fps)


def _check_device(device: Path) -> None:
    if not device.exists():
        present = sorted(str(path) for path in Path("/dev").glob("video[0-9]*"))
        raise SourceError(
            f"expected a camera at {device}, got no such device (present:"
            f" {', '.join(present) or 'none'}): plug it in, name a video or picture,"
            " or try  --source fake:scene"
        )
    if not os.access(device, os.R_OK | os.W_OK):
        raise SourceError(
            f"no permission to use {device}: run  sudo usermod -aG video $USER"
            "  and log in again"
        )
