"""A Raspberry Pi's own camera (ribbon cable), through picamera2."""

from __future__ import annotations

import os
from typing import Any

import numpy as np

from edge_runtime.errors import MissingDependencyError, SourceError
from edge_runtime.preprocess import Image
from edge_runtime.sources.settings import CameraSettings

DEFAULT_SIZE_WH = (640, 480)
DEFAULT_FPS = 30.0
_BUFFERS = 4


class PiCameraReader:
    """An open camera: grey pictures straight from its brightness plane, or colour."""

    def __init__(self, camera: Any, settings: CameraSettings) -> None:
        """Sets a ``Picamera2`` up and starts it."""
        self.fps = settings.fps or DEFAULT_FPS
        self._camera = camera
        self._size_wh = settings.size_wh or DEFAULT_SIZE_WH
        self._grey = settings.pixel_format != "bgr"
        # picamera2 names formats after the order in a register: RGB888 is BGR in
        # memory. YUV420 begins with the brightness of each pixel, row by row.
        name = "YUV420" if self._grey else "RGB888"
        camera.configure(
            camera.create_video_configuration(
                main={"format": name, "size": self._size_wh},
                controls={"FrameRate": self.fps},
                buffer_count=_BUFFERS,
            )
        )
        camera.start()

    def read(self) -> Image:
        """Returns the next picture: uint8 (H, W) grey, or (H, W, 3) BGR.

        Raises:
            SourceError: The camera gives an error.
        """
        try:
            buffer = self._camera.capture_array("main")
        except RuntimeError as error:
            raise SourceError(f"the camera stopped: {error}") from error
        width, height = self._size_wh
        # Rows may be padded, and after the brightness comes the colour.
        return np.ascontiguousarray(buffer[:height, :width])

    def close(self) -> None:
        """Gives the camera back."""
        self._camera.stop()
        self._camera.close()


def open_pi_camera(text: str, settings: CameraSettings) -> PiCameraReader:
    """Returns an open Raspberry Pi camera.

    Args:
        text: ``"picamera2"``, or ``"picamera2:1"`` for the second one.
        settings: Size (640x480), rate (30) and ``grey`` or ``bgr``.

    Raises:
        MissingDependencyError: picamera2 is not there.
        SourceError: There is no such camera, or it cannot be set so.
    """
    number = text.partition(":")[2] or "0"
    if not number.isdecimal() or settings.pixel_format in ("mjpg", "yuyv"):
        raise SourceError(
            "expected picamera2 or picamera2:N, with --pixel-format auto, grey or bgr,"
            f" got {text!r} with {settings.pixel_format!r}"
        )
    os.environ.setdefault("LIBCAMERA_LOG_LEVELS", "*:ERROR")
    try:
        from picamera2 import Picamera2
    except ImportError as error:
        raise MissingDependencyError(
            "picamera2 is not there: run  sudo apt install python3-picamera2  and make"
            " the environment of the system's Python, as in"
            "  python3 -m venv --system-site-packages .venv"
        ) from error
    try:
        return PiCameraReader(Picamera2(int(number)), settings)
    except (RuntimeError, IndexError) as error:
        raise SourceError(
            f"expected a camera as {text!r}, got {error}: see"
            "  rpicam-hello --list-cameras  and check the ribbon cable"
        ) from error
