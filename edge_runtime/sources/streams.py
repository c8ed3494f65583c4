"""Network cameras: ``rtsp://`` and ``http://`` (MJPEG) addresses, through FFmpeg."""

from __future__ import annotations

import logging
import os
import re
import socket
from typing import Any
from urllib.parse import urlsplit

import cv2

from edge_runtime.errors import SourceError
from edge_runtime.sources.capture import fps_of, quiet_opencv
from edge_runtime.sources.settings import CameraSettings

logger = logging.getLogger(__name__)

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
