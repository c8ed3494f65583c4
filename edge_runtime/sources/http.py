"""Cameras behind ``http://``: JPEG images in a stream, or one image that is polled.

What an address is, its answer says. What is neither is left to FFmpeg: a video file, or
a stream of another kind.
"""

from __future__ import annotations

import contextlib
import http.client
import io
import ssl
from functools import partial
from typing import TYPE_CHECKING, Any
from urllib import request
from urllib.error import HTTPError
from urllib.parse import urlsplit

from edge_runtime.errors import SourceError
from edge_runtime.sources.address import by_proxy, diagnose, without_secrets
from edge_runtime.sources.base import CameraSettings, Clock, FileAtAddress
from edge_runtime.sources.http_login import opener_of
from edge_runtime.sources.http_still import StillReader
from edge_runtime.sources.mjpeg import MjpegReader
from edge_runtime.utils.picture_kinds import (
    START_BYTES,
    picture_kind,
    why_unreadable,
)

if TYPE_CHECKING:
    from edge_runtime.sources.hls import PacedReader

OPEN_TIMEOUT_S = 5.0
_JPEG_TYPES = frozenset(("image/jpeg", "image/jpg", "image/pjpeg"))
_LEAST_START = 3  # bytes: less, from a server that sends byte by byte, tells nothing
_LEAST_OF_TEXT = 9  # a tabulator: what has less is a video, not a list of some
_PAGES = frozenset(("text/html", "application/json"))
_PLAYLIST = b"#EXTM3U"
_MANUAL = "look up the path of its picture or stream in the camera's manual"
_REFUSED = {
    401: "a refusal (401): check user and password, as in  http://USER:PASSWORD@HOST/",
    403: "a refusal (403): this user may not see it, or the camera has locked it out",
    404: "no such path (404): look it up in the camera's manual",
    **dict.fromkeys(
        (301, 302, 303, 307, 308),
        "a redirect in a circle, or to something other than an http:// address",
    ),
}


def open_http(
    url: str, settings: CameraSettings, clock: Clock
) -> MjpegReader | StillReader | PacedReader | None:
    """Returns an open camera; None for anything but MJPEG, image, live playlist.

    Args:
        url: ``http://`` or ``https://``, perhaps with user and password. Certificates
            are not checked, as FFmpeg does not: cameras sign their own.
        settings: ``stall_s`` limits each read; ``fps`` is the rate of a still.
        clock: For waiting.

    Raises:
        FileAtAddress: It is a video that has an end.
        SourceError: There is no answer within 5 s, or ``stall_s``, or it is a refusal.
    """
    try:
        opener, plain = opener_of(url)
    except ValueError as error:
        raise _not_opened(url, diagnose(url)) from error
    ask = partial(_ask, opener, plain, url)
    patience_s = max(OPEN_TIMEOUT_S, settings.stall_s)
    try:
        response = ask(patience_s)
    except http.client.HTTPException:  # FFmpeg may understand it
        return None
    kind = response.headers.get_content_type()
    try:
        start = bytes(response.peek(START_BYTES)[:START_BYTES])
    except TimeoutError as error:
        response.close()
        reason = f"no picture within {patience_s:g} s (--stall-after is for slow ones)"
        raise _not_opened(url, reason) from error
    except (OSError, http.client.HTTPException):
        start = b""
    _set_timeout(response, settings.stall_s)
    if kind.startswith("multipart/") or start.lstrip()[:2] == b"--":
        return MjpegReader(response, settings)
    has_end = response.length is not None
    picture = picture_kind(start)
    if picture is None and kind in _JPEG_TYPES and len(start) < _LEAST_START:
        picture = "JPEG"
    if kind.startswith("image/") or picture:
        if start and picture in (None, "HEIC"):
            response.close()
            raise _not_opened(url, f"{why_unreadable(start, '')}; {_MANUAL}")
        if picture == "JPEG" and not (has_end and kind.startswith("image/")):
            reader = MjpegReader(response, settings)
            only = reader.only_image()
            if only is None and not has_end:
                return reader
            reader.close()
            if only is None:
                raise FileAtAddress(f"{without_secrets(url)} is a file")
            response = io.BytesIO(only)
        return StillReader(response, partial(ask, settings.stall_s), settings, clock)
    response.close()
    if start.startswith(_PLAYLIST):
        from edge_runtime.sources.hls import open_playlist  # rarely needed

        return open_playlist(url, settings, clock)
    if start and kind in _PAGES:
        raise _not_opened(url, f"a page ({kind}), no video: {_MANUAL}")
    if has_end and start and min(start) < _LEAST_OF_TEXT:
        raise FileAtAddress(f"{without_secrets(url)} is a file")
    return None


def _ask(opener: request.OpenerDirector, plain: str, url: str, timeout_s: float) -> Any:
    """Returns the answer of an address; ``url`` is the same with its password."""
    try:
        return opener.open(plain, timeout=timeout_s)
    except HTTPError as error:
        error.close()
        status = f"HTTP status {error.code} ({error.reason})"
        reason = _REFUSED.get(error.code, status)
        if error.code == 401 and _place(error.url) != _place(plain):
            there = without_secrets(error.url)
            reason = f"a redirect to {there}, where its password is not sent: give that"
        raise _not_opened(url, reason) from error
    except TimeoutError as error:
        reason = f"no answer within {timeout_s:g} s: check that the camera is on"
        raise _not_opened(url, reason) from error
    except (OSError, ValueError) as error:
        cause = getattr(error, "reason", None)
        if isinstance(cause, ssl.SSLError):
            reason = f"no TLS ({cause.reason}): write http:// where it has none"
            raise _not_opened(url, reason) from error
        raise _not_opened(url, diagnose(url)) from error


def _place(url: str) -> tuple[str, str]:
    parts = urlsplit(url)
    return parts.scheme, parts.netloc


def _not_opened(url: str, reason: str) -> SourceError:
    place = f"expected a stream at {without_secrets(url)}"
    return SourceError(f"{place}, got {reason}{by_proxy(url)}")


def _set_timeout(response: Any, timeout_s: float) -> None:
    """Sets the timeout of each read; that of the opening was another."""
    with contextlib.suppress(AttributeError):
        response.fp.raw._sock.settimeout(timeout_s)
