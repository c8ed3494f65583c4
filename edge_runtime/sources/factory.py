"""Opens the source given with ``--source``.

Each kind of source is imported only when it is opened: imports delay the first label.
"""

from __future__ import annotations

import errno
import math
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from edge_runtime.errors import SourceError
from edge_runtime.sources.base import (
    CameraSettings,
    Clock,
    FileAtAddress,
    KeepWaiting,
    Reader,
    Source,
    wait_forever,
)
from edge_runtime.sources.images import (
    ImageSource,
    fixed_part,
    images_in,
    images_matching,
    is_image,
)
from edge_runtime.utils.picture_kinds import SUFFIXES

if TYPE_CHECKING:
    from edge_runtime.sources.orientation import Rotation
    from edge_runtime.sources.supervisor import OpenReader

_EXPECTED = (
    "expected a camera number, picamera2, a video, an image, a folder of images,"
    " an rtsp:// or http:// address, - or fake:scene"
)
# Below these there are no cameras, but perhaps videos.
_NO_CAMERAS = ("/dev/shm/", "/dev/fd/")
_NO_SETTINGS = CameraSettings()


@contextmanager
def open_source(
    text: str,
    *,
    every: int = 1,
    settings: CameraSettings = _NO_SETTINGS,
    keep_waiting: KeepWaiting = wait_forever,
    rotate: Rotation = 0,
    hflip: bool = False,
) -> Iterator[Source]:
    """Yields an open source that delivers frames, and closes it afterwards.

    Args:
        text: A camera number (``"0"``), a device (``"/dev/video0"`` or any name of it,
            as below ``/dev/v4l/by-id``), ``"picamera2"``, a video file, an image file,
            a folder or a pattern whose images are read in the order of their names, an
            ``rtsp://`` or ``http://`` address, ``"-"`` for JPEG images on stdin, or
            ``"fake:..."`` (see ``sources.fake.script``).
        every: Yield every n-th frame only.
        settings: Of a camera or stream.
        keep_waiting: Called while a live source delivers no frame; see ``KeepWaiting``.
        rotate: Degrees by which its images are turned clockwise.
        hflip: Whether they are then mirrored, left and right exchanged.

    Raises:
        SourceError: There is no such thing, or nothing can be read from it.
    """
    source = _open(text, every, settings, keep_waiting)
    try:
        if rotate or hflip:  # else a start-up does without the import
            from edge_runtime.sources.orientation import orient

            source = orient(source, rotate, hflip=hflip)
        yield source
    finally:
        source.close()


def _open(
    text: str, every: int, settings: CameraSettings, keep_waiting: KeepWaiting
) -> Source:
    if text.startswith("fake:"):
        return _open_fake(text, every, settings, keep_waiting)
    if text in ("-", "/dev/stdin"):
        return _open_stdin(every, settings, keep_waiting)
    text = _plain_address(text)
    open_reader = _camera_opener(text, settings)
    if open_reader is None:
        return _open_files(text, every)
    from edge_runtime.sources.live import LiveSource

    try:
        return LiveSource(
            open_reader,
            display_name(text),
            settings=settings,
            every=every,
            keep_waiting=keep_waiting,
        )
    except FileAtAddress:
        from edge_runtime.sources.opencv import open_stream
        from edge_runtime.sources.video import VideoSource

        capture = open_stream(text, settings).capture
        return VideoSource(capture, display_name(text), every)


def _plain_address(text: str) -> str:
    """Returns an address with its scheme in lower case; the path of ``file://``."""
    if "://" not in text:
        return text
    text = text.strip(" \t\r\n<>\"'")  # as it was copied from a text
    from urllib.parse import unquote, urlsplit

    from edge_runtime.sources.address import scheme_of, with_plain_scheme

    if scheme_of(text) == "file":
        try:
            return unquote(urlsplit(text).path)
        except ValueError:  # brackets are for IPv6
            raise SourceError(f"{_EXPECTED}, got {text!r}: write its path") from None
    return with_plain_scheme(text)


def _camera_opener(text: str, settings: CameraSettings) -> OpenReader | None:
    """Returns a function that opens a camera or stream; None for another source."""
    if text.isdecimal() or _is_device(text):
        from edge_runtime.sources.opencv import open_camera

        return lambda clock: open_camera(text, settings)
    if text == "picamera2" or text.startswith("picamera2:"):
        from edge_runtime.sources.picamera import open_pi_camera

        return lambda clock: open_pi_camera(text, settings)
    if text.startswith(("http://", "https://")):
        return lambda clock: _open_http(text, settings, clock)
    if text.startswith(("rtsp://", "rtsps://")):
        from edge_runtime.sources.opencv import open_stream

        return lambda clock: open_stream(text, settings)
    return None


def _is_device(text: str) -> bool:
    """Returns whether a path is a device, under any name, or would be one."""
    try:
        if text.startswith("/dev/") and not text.startswith(_NO_CAMERAS):
            return not Path(text).is_file()
        return Path(text).is_char_device()
    except OSError:  # such as a name that is too long
        return False


def _open_http(text: str, settings: CameraSettings, clock: Clock) -> Reader:
    """Returns the camera at an address, or raises ``FileAtAddress``."""
    from edge_runtime.sources.http import open_http
    from edge_runtime.sources.opencv import open_stream

    camera = open_http(text, settings, clock)
    if camera is not None:
        return camera
    stream = open_stream(text, settings)
    if stream.frame_count:
        stream.close()
        raise FileAtAddress(f"{display_name(text)} is a file")
    return stream


def display_name(text: str) -> str:
    """Returns the name of a source for messages: an address without its password."""
    if "://" not in text:
        return text
    from edge_runtime.sources.address import without_secrets

    return without_secrets(text)


def _open_fake(
    text: str, every: int, settings: CameraSettings, keep_waiting: KeepWaiting
) -> Source:
    from edge_runtime.sources.fake.camera import FakeCamera
    from edge_runtime.sources.fake.script import parse_config
    from edge_runtime.sources.live import LiveSource
    from edge_runtime.sources.sequential import SequentialSource

    config = parse_config(text, settings)
    open_reader, name = FakeCamera(config).open, text.partition("?")[0]
    if config.virtual:
        return SequentialSource(open_reader, name, settings=settings, every=every)
    return LiveSource(
        open_reader,
        name,
        settings=settings,
        every=every,
        keep_waiting=keep_waiting,
    )


def _open_stdin(
    every: int, settings: CameraSettings, keep_waiting: KeepWaiting
) -> Source:
    from edge_runtime.sources.live import LiveSource
    from edge_runtime.sources.sequential import SequentialSource
    from edge_runtime.sources.stdin import PipeReader, is_file

    if sys.stdin is None or sys.stdin.isatty():
        raise SourceError(
            "expected JPEG images on stdin, got a terminal: pipe them in, as with"
            "  rpicam-vid -t 0 --codec mjpeg -o - | edge-runtime run --source -"
        )
    reader = PipeReader(sys.stdin.fileno(), settings.fps)
    if is_file(sys.stdin.fileno()):
        return SequentialSource(reader.paced, "-", every=every)
    # A pipe cannot be reopened: no timeouts. A second thread would read the rest of an
    # image that the first one has begun.
    return LiveSource(
        lambda clock: reader,
        "-",
        settings=settings._replace(stall_s=math.inf, frozen_s=0.0),
        every=every,
        keep_waiting=keep_waiting,
    )


def _open_files(text: str, every: int) -> Source:
    path = _find(text)
    if path is None:
        return ImageSource(images_matching(text), text, every, root=fixed_part(text))
    if not os.access(path, os.R_OK):
        raise SourceError(f"cannot read {text!r}: {os.strerror(errno.EACCES)}")
    if path.is_dir():
        return ImageSource(images_in(path), text, every)
    if not path.is_file():  # reading it might never end
        raise SourceError(
            f"{_EXPECTED}, got {text!r}, which is not a regular file: of a pipe, give"
            f"  --source - < {text}"
        )
    if is_image(path):
        return ImageSource([path], text, every)
    from edge_runtime.sources.video import VideoSource, open_video, warn_if_timeless

    try:
        source = VideoSource(open_video(path), text, every)
    except SourceError:
        if path.suffix.lower() in SUFFIXES:  # then say what it should be
            return ImageSource([path], text, every)
        raise
    warn_if_timeless(path, every * source.fps)
    return source


def _find(text: str) -> Path | None:
    """Returns the path of a file or folder that exists; None for a pattern."""
    if "://" in text:
        raise SourceError(
            f"{_EXPECTED}, got the address {display_name(text)!r}: send it as JPEG"
            " images, as with  ffmpeg -i ADDRESS -f mjpeg - | edge-runtime run"
            " --source -"
        )
    try:
        if text and Path(text).exists():
            return Path(text)
    except OSError:  # such as a name that is too long
        pass
    if any(char in text for char in "*?["):
        return None
    hint = ": write the whole path, only a shell knows ~" * text.startswith("~")
    if text.count(".") >= 3 and text.partition(".")[0].isdecimal():
        hint = f": of a network camera write  http://{text}  or  rtsp://{text}"
    raise SourceError(f"{_EXPECTED}, got {text!r}, which does not exist{hint}")
