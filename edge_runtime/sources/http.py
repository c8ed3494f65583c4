"""Cameras behind ``http://``: JPEG images in a stream, or one image that is polled.

What an address is, its answer says. What is neither is left to FFmpeg: a video file, or
a stream of another kind.
"""

from __future__ import annotations

import contextlib
import http.client
import io
import select
import ssl
import time
from collections import deque
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any
from urllib import request
from urllib.error import HTTPError
from urllib.parse import urlsplit

from edge_runtime.errors import SourceError
from edge_runtime.preprocessing import Image
from edge_runtime.sources.address import by_proxy, diagnose, without_secrets
from edge_runtime.sources.base import (
    FALLBACK_FPS,
    CameraSettings,
    Clock,
    FileAtAddress,
)
from edge_runtime.sources.http_login import opener_of
from edge_runtime.sources.images import decode_image
from edge_runtime.sources.stdin import MAX_IMAGE_BYTES, JpegSplitter
from edge_runtime.utils.picture_kinds import (
    START_BYTES,
    picture_kind,
    why_unreadable,
)

if TYPE_CHECKING:
    from edge_runtime.sources.hls import PacedReader

OPEN_TIMEOUT_S = 5.0
POLL_FPS = 1.0  # of a still; --fps sets it
_INVALID = "its pictures are empty, damaged or cut off"
_CHUNK_BYTES = 64 * 1024
_MOST_WAITING = 256  # chunks: more than the kernel keeps
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
        "a redirect that leads in a circle, or to what is no http:// address",
    ),
}


class MjpegReader:
    """An answer with one JPEG image after the other, in parts or without.

    Attributes:
        passed_over: Images that the last ``read`` left out for a newer one.
    """

    fps = FALLBACK_FPS
    invalid = _INVALID
    passed_over = 0

    def __init__(self, response: Any, settings: CameraSettings) -> None:
        """Takes an open answer, of which nothing was read."""
        self._response, self._stall_s = response, settings.stall_s
        self._splitter = JpegSplitter()
        self._ready: deque[bytes] = deque()

    def read(self) -> Image | None:
        """Returns the newest image; None for a damaged one.

        Where images come faster than they are decoded, megabytes of them would wait in
        the kernel, and each would be seconds old.

        Raises:
            SourceError: The stream ended, or has no image for too long.
        """
        started_s = time.monotonic()
        while not self._ready:
            if not self._receive():
                raise SourceError("the stream ended")
            if time.monotonic() - started_s > self._stall_s:
                raise SourceError(
                    "no JPEG image in it, or none that is whole, for"
                    f" {self._stall_s:g} s"
                )
        for _ in range(_MOST_WAITING):
            if not (_has_arrived(self._response) and self._receive()):
                break
        self.passed_over = len(self._ready) - 1
        newest = self._ready.pop()
        self._ready.clear()
        return decode_image(newest)

    def only_image(self) -> bytes | None:
        """Returns the image of an answer that has one; None once another one begins.

        Raises:
            SourceError: The answer ends before that.
        """
        late_s = time.monotonic() + self._stall_s
        while len(self._ready) + self._splitter.inside < 2:
            try:
                more = self._receive() and time.monotonic() < late_s
            except SourceError:
                more = False  # some servers leave the connection open
            if not more and not self._ready:
                self.close()
                raise SourceError("the picture is cut off")
            if not more:
                return self._ready[0]
        return None

    def _receive(self) -> bool:
        """Returns whether there was more of the answer."""
        try:
            chunk = self._response.read1(_CHUNK_BYTES)
        except (OSError, http.client.HTTPException) as error:
            raise _lost(error, self._stall_s) from error
        self._ready.extend(self._splitter.feed(chunk))
        return bool(chunk)

    def close(self) -> None:
        """Closes the connection."""
        self._response.close()


class StillReader:
    """An address that answers each request with one image."""

    polled = True
    invalid = _INVALID

    def __init__(
        self,
        response: Any,
        ask: Callable[[], Any],
        settings: CameraSettings,
        clock: Clock,
    ) -> None:
        """Takes the first response, and a function that requests another one."""
        self.fps = settings.fps or POLL_FPS
        self._response, self._ask = response, ask
        self._stall_s, self._clock = settings.stall_s, clock
        self._next_s = clock.now()

    def read(self) -> Image | None:
        """Waits until it is time, and returns the next image; None for a damaged one.

        Raises:
            SourceError: It was refused, or did not come in time.
        """
        self._clock.deadline_s += 1 / self.fps  # waiting is not hanging
        self._clock.sleep(self._next_s - self._clock.now())
        self._next_s = max(self._next_s + 1 / self.fps, self._clock.now())
        response, self._response = self._response, None
        try:
            with contextlib.closing(response or self._ask()) as answer:
                return decode_image(_read_image(answer, self._stall_s))
        except (OSError, http.client.HTTPException) as error:
            raise _lost(error, self._stall_s) from error

    def close(self) -> None:
        """Closes a connection that was not used."""
        if self._response is not None:
            self._response.close()


def open_http(
    url: str, settings: CameraSettings, clock: Clock
) -> MjpegReader | StillReader | PacedReader | None:
    """Returns an open camera; None for what is no MJPEG, image or live playlist.

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


def _read_image(answer: Any, within_s: float) -> bytes:
    """Returns the image file of an answer.

    Without a length a JPEG ends where it ends: some servers leave the connection open.

    Raises:
        TimeoutError: It comes too slowly.
    """
    data, splitter, late_s = bytearray(), JpegSplitter(), time.monotonic() + within_s
    while len(data) < MAX_IMAGE_BYTES and (chunk := answer.read1(_CHUNK_BYTES)):
        data += chunk
        if getattr(answer, "length", None) is None:
            for image in splitter.feed(chunk):
                return image
        if time.monotonic() > late_s:
            raise TimeoutError
    return bytes(data)


def _lost(error: Exception, stall_s: float) -> SourceError:
    """Returns the error for a read that failed."""
    if isinstance(error, TimeoutError):
        return SourceError(
            f"no frame for {stall_s:.1f} s (--stall-after is for slower cameras)"
        )
    return SourceError(f"the stream ended ({str(error) or type(error).__name__})")


def _not_opened(url: str, reason: str) -> SourceError:
    place = f"expected a stream at {without_secrets(url)}"
    return SourceError(f"{place}, got {reason}{by_proxy(url)}")


def _has_arrived(response: Any) -> bool:
    """Returns whether there is more of an answer already."""
    try:
        return bool(select.select([response.fp.raw._sock], [], [], 0)[0])
    except (AttributeError, OSError, ValueError):  # it has ended
        return False


def _set_timeout(response: Any, timeout_s: float) -> None:
    """Sets the timeout of each read; that of the opening was another."""
    with contextlib.suppress(AttributeError):
        response.fp.raw._sock.settimeout(timeout_s)
