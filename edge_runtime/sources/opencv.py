"""USB and other cameras that the Linux kernel knows (V4L2), through OpenCV."""

from __future__ import annotations

import logging
import math
import os
import re
import socket
import sys
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import cv2

from edge_runtime.errors import SourceError
from edge_runtime.sources.base import FALLBACK_FPS, CameraSettings

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


SCHEMES = ("rtsp", "rtsps", "http", "https")

OPEN_TIMEOUT_S = 5.0

_PORTS = {"rtsp": 554, "rtsps": 322, "http": 80, "https": 443}

_PROBE_S = 2.0

_HOST = re.compile(r"(?:[\w.-]+|\[[0-9A-Fa-f:.%]+\])(?::\d+)?")


class StreamReader:
    """An open network stream."""

    def __init__(self, capture: cv2.VideoCapture) -> None:
        """Takes an open capture."""
        self.fps = fps_of(capture)
        self._capture = capture

    def read(self) -> Any:
        """Returns the next picture.

        Raises:
            SourceError: The stream ended, or nothing came in time.
        """
        try:
            there, image = self._capture.read()
        except cv2.error as error:
            logger.debug("%s", error)
            return None
        if not there:
            raise SourceError("the stream broke off")
        return image

    def close(self) -> None:
        """Ends the connection."""
        self._capture.release()


def without_secrets(url: str) -> str:
    """Returns an address fit for logs: ``rtsp://host:554/...``.

    Cameras take passwords before the host, in the query and in the path: nothing but
    scheme, host and port is told. Where a password may stand in the host's place (it
    has a ``/`` in it), the host is left out, too.
    """
    scheme, _, rest = url.partition("://")
    authority, *after = re.split(r"[/?#]", rest, maxsplit=1)
    host = authority.rpartition("@")[2]
    tail = after[0] if after else ""
    if "@" in tail or not _HOST.fullmatch(host):
        return f"{scheme}://..."
    return f"{scheme}://{host}" + ("/..." if tail else "")


def open_stream(url: str, settings: CameraSettings) -> StreamReader:
    """Returns an open stream; RTSP comes over TCP.

    Args:
        url: ``rtsp://``, ``rtsps://``, ``http://`` or ``https://``; may hold a user and
            password.
        settings: ``stall_s`` limits each read; size and rate are the sender's.

    Raises:
        SourceError: Nothing answers there within 5 s, or what answers is no stream.
    """
    quiet_opencv()
    # Over UDP, a lost packet smears the picture until the next key frame.
    os.environ.setdefault("OPENCV_FFMPEG_CAPTURE_OPTIONS", "rtsp_transport;tcp")
    limits = [
        cv2.CAP_PROP_OPEN_TIMEOUT_MSEC,
        int(1000 * OPEN_TIMEOUT_S),
        cv2.CAP_PROP_READ_TIMEOUT_MSEC,
        # Sooner than the watch over all sources, which would leave a thread behind.
        int(800 * settings.stall_s),
    ]
    capture = cv2.VideoCapture(url, cv2.CAP_FFMPEG, limits)
    if capture.isOpened():
        return StreamReader(capture)
    raise SourceError(f"expected a stream at {without_secrets(url)}, got {_why(url)}")


def _why(url: str) -> str:
    """Returns what is wrong with an address that does not open, and what to do."""
    parts = urlsplit(url)
    try:
        port = parts.port or _PORTS[parts.scheme]
        socket.create_connection((parts.hostname or "", port), _PROBE_S).close()
    except ValueError:
        return (
            "a port that is no number: write  rtsp://host:554/path  and in a password"
            " %2F for / and %40 for @"
        )
    except socket.gaierror:
        return "no host of that name: check the spelling and the network"
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        return f"no answer ({reason}): check that the camera is on, and the port"
    return (
        "an answer that is no video: check path, user and password, as with"
        f"  ffplay {parts.scheme}://USER:PASSWORD@{parts.hostname}/PATH"
    )


_AV_LOG_QUIET = "-8"

_CV_LOG_SILENT = 0


def fps_of(capture: cv2.VideoCapture) -> float:
    """Returns a capture's frames per second; 25 where it says nothing sensible."""
    fps = capture.get(cv2.CAP_PROP_FPS)
    return fps if math.isfinite(fps) and 0.1 <= fps <= 1000 else FALLBACK_FPS


def quiet_opencv() -> None:
    """Stops OpenCV and FFmpeg from writing to stderr, for the life of the process.

    A camera that is gone would make them write at each attempt to open it; what went
    wrong is said once, by us. Set FER_EDGE_VERBOSE=1 to see everything.
    """
    if not os.environ.get("FER_EDGE_VERBOSE"):
        os.environ.setdefault("OPENCV_FFMPEG_LOGLEVEL", _AV_LOG_QUIET)
        # OpenCV 4.11, the last for NumPy 1, has it in another place.
        getattr(cv2.utils, "logging", cv2).setLogLevel(_CV_LOG_SILENT)
