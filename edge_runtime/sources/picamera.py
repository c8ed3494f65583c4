"""The camera on a Raspberry Pi's ribbon cable, through picamera2."""

from __future__ import annotations

import errno
import logging
import os
import threading
from typing import Any

import numpy as np

from edge_runtime.errors import MissingDependencyError, SourceError, why_not_loaded
from edge_runtime.preprocessing import Image
from edge_runtime.sources.base import CameraSettings

logger = logging.getLogger(__name__)

DEFAULT_SIZE_WH = (640, 480)
DEFAULT_FPS = 30.0
FIRST_TIMEOUT_S = 10.0  # of the first frame; before the supervisor's
_BUFFERS = 4
# What picamera2 raises where a camera does not start or stops: of a half-made object,
# of an empty list of cameras, of settings, and of memory and devices.
_FAILURES = (RuntimeError, LookupError, AttributeError, TypeError, ValueError, OSError)


class PiCameraReader:
    """An open camera: grey frames from the luma plane, or colour frames."""

    def __init__(self, camera: Any, settings: CameraSettings) -> None:
        """Configures and starts a ``Picamera2``."""
        self.fps = settings.fps or DEFAULT_FPS
        self._camera = camera
        self._stall_s = settings.stall_s
        self._wait_s = max(FIRST_TIMEOUT_S, self._stall_s)
        size_wh = settings.size_wh or DEFAULT_SIZE_WH
        # picamera2 names formats after the order in a register: RGB888 is BGR in
        # memory. YUV420 begins with the luma of each pixel, row by row.
        pixel_format = "RGB888" if _colour(settings) else "YUV420"
        camera.configure(
            camera.create_video_configuration(
                main={"format": pixel_format, "size": size_wh},
                controls={"FrameRate": self.fps},
                buffer_count=_BUFFERS,
            )
        )
        self._size_wh = tuple(camera.camera_configuration()["main"]["size"])
        if self._size_wh != size_wh:
            logger.warning("picamera2: asked for %s, gives %s", size_wh, self._size_wh)
        camera.start()

    def read(self) -> Image:
        """Returns the next frame: uint8 (H, W) grey, or (H, W, 3) BGR.

        Raises:
            SourceError: The camera reports an error, or delivers no frame in time.
        """
        try:
            buffer = self._capture()
        except _FAILURES as error:
            raise SourceError(f"the camera stopped: {error}") from error
        width, height = self._size_wh
        # Rows are padded to the camera's stride, and chroma follows luma.
        return np.ascontiguousarray(buffer[:height, :width])

    def close(self) -> None:
        """Closes the camera.

        Not with ``stop``, which would queue behind a capture that never ends; ``close``
        ends picamera2's thread first and then stops.
        """
        if hasattr(self._camera, "cancel_all_and_flush"):  # since 0.3.19
            self._camera.cancel_all_and_flush()  # ends captures that are waiting
        try:
            self._camera.close()
        except _FAILURES as error:
            logger.debug("picamera2: %s", error)

    def _capture(self) -> Any:
        # Not wait(job, timeout=...), which older versions do not have.
        done = threading.Event()
        job = self._camera.capture_array(
            "main", wait=False, signal_function=lambda _: done.set()
        )
        if not done.wait(self._wait_s):
            raise SourceError(f"no frame for {self._wait_s:.1f} s")
        self._wait_s = self._stall_s
        return self._camera.wait(job)


def open_pi_camera(text: str, settings: CameraSettings) -> PiCameraReader:
    """Returns an open Raspberry Pi camera.

    Args:
        text: ``"picamera2"``, or ``"picamera2:1"`` for the second one.
        settings: Size (640x480), rate (30), ``grey`` or ``bgr``; ``stall_s`` limits
            each read.

    Raises:
        MissingDependencyError: picamera2 is not installed.
        SourceError: There is no such camera, or it refuses the settings.
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
        if reason := why_not_loaded(error):
            raise MissingDependencyError(
                f"picamera2 cannot be loaded: {reason}"
            ) from error
        raise MissingDependencyError(
            "picamera2 is not installed: run  sudo apt install python3-picamera2  and"
            " make the environment of the system's Python, as in"
            "  python3 -m venv --system-site-packages .venv"
        ) from error
    try:
        camera = Picamera2(int(number))
        try:
            return PiCameraReader(camera, settings)
        except BaseException:
            camera.close()  # else it could not be opened again
            raise
    except _FAILURES as error:
        way_out = "see  rpicam-hello --list-cameras  and check the ribbon cable"
        if getattr(error, "errno", None) == errno.ENOMEM:
            way_out = "the memory for cameras (CMA) is full: ask for a smaller --size"
        raise SourceError(
            f"expected a camera as {text!r}, got {error}: {way_out}"
        ) from error


def _colour(settings: CameraSettings) -> bool:
    if settings.pixel_format == "auto":
        return settings.colour
    return settings.pixel_format == "bgr"
