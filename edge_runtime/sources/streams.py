"""Network cameras: ``rtsp://`` and ``http://`` (MJPEG) addresses, through FFmpeg."""

from __future__ import annotations

import logging
import os
import socket
from typing import Any
from urllib.parse import SplitResult, urlsplit

import cv2

from edge_runtime.errors import SourceError
from edge_runtime.sources.capture import fps_of, quiet_opencv
from edge_runtime.sources.settings import CameraSettings

logger = logging.getLogger(__name__)

SCHEMES = ("rtsp", "rtsps", "http", "https")
OPEN_TIMEOUT_S = 5.0
_PORTS = {"rtsp": 554, "rtsps": 322, "http": 80, "https": 443}
_PROBE_S = 2.0


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


def without_password(url: str) -> str:
    """Returns an address fit for logs: ``rtsp://user:***@host/path``."""
    before, at, host = _authority(url).rpartition("@")
    if not at or ":" not in before:
        return url
    user = before.partition(":")[0]
    return url.replace(f"{before}@{host}", f"{user}:***@{host}", 1)


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
    raise SourceError(f"expected a stream at {without_password(url)}, got {_why(url)}")


def _why(url: str) -> str:
    """Returns what is wrong with an address that does not open, and what to do."""
    parts = urlsplit(url)
    try:
        port = parts.port or _PORTS[parts.scheme]
        socket.create_connection((parts.hostname or "", port), _PROBE_S).close()
    except ValueError:
        return "a port that is no number: write  rtsp://host:554/path"
    except socket.gaierror:
        return f"no host named {parts.hostname!r}: check the spelling and the network"
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        return f"no answer ({reason}): check that the camera is on, and the port"
    return (
        "an answer that is no video: check path, user and password, as with"
        f"  ffplay {_example(parts)}"
    )


def _example(parts: SplitResult) -> str:
    return f"{parts.scheme}://USER:PASSWORD@{parts.hostname}{parts.path}"


def _authority(url: str) -> str:
    return url.partition("://")[2].partition("/")[0]
