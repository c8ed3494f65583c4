"""What ``--source`` may be: each kind of text, and what opens it.

What opens one is imported when it is wanted: a picture's label waits for each import.
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
from edge_runtime.sources.base import CameraSettings, Source, Waiting, wait_on
from edge_runtime.sources.images import (
    PICTURE_SUFFIXES,
    PictureSource,
    pictures_in,
    pictures_like,
)

if TYPE_CHECKING:
    from edge_runtime.sources.supervisor import OpenReader

_EXPECTED = (
    "expected a camera number, picamera2, a video, a picture, a folder of pictures,"
    " an rtsp:// or http:// address, - or fake:scene"
)
_STREAMS = ("rtsp://", "rtsps://", "http://", "https://")
_NO_SETTINGS = CameraSettings()


@contextmanager
def open_source(
    text: str,
    *,
    every: int = 1,
    settings: CameraSettings = _NO_SETTINGS,
    waiting: Waiting = wait_on,
) -> Iterator[Source]:
    """Yields an open source that has proved to deliver, and closes it afterwards.

    Args:
        text: A camera number (``"0"``), a device (``"/dev/video0"``), ``"picamera2"``,
            a video file, a picture, a folder or a pattern whose pictures are read in
            the order of their names, an ``rtsp://`` or ``http://`` address, ``"-"`` for
            JPEG pictures on stdin, or ``"fake:..."`` (see ``fake_script``).
        every: Take each n-th frame only.
        settings: Of a camera or stream.
        waiting: Called while a live source gives no frame; see ``Waiting``.

    Raises:
        SourceError: There is no such thing, or nothing can be read from it.
    """
    source = _open(text, every, settings, waiting)
    try:
        yield source
    finally:
        source.close()


def _open(text: str, every: int, settings: CameraSettings, waiting: Waiting) -> Source:
    if text.startswith("fake:"):
        return _open_fake(text, every, settings, waiting)
    if text == "-":
        return _open_stdin(every, settings, waiting)
    opener = _live(text, settings)
    if opener is not None:
        from edge_runtime.sources.live import LiveSource

        name = shown(text)
        return LiveSource(opener, name, settings=settings, every=every, waiting=waiting)
    return _open_files(text, every)


def _live(text: str, settings: CameraSettings) -> OpenReader | None:
    """Returns what opens a camera or stream; None where the text names neither."""
    # Not everything under /dev is a camera: clips often lie in /dev/shm.
    if text.isdecimal() or text.startswith("/dev/video"):
        from edge_runtime.sources.opencv import open_camera

        return lambda clock: open_camera(text, settings)
    if text == "picamera2" or text.startswith("picamera2:"):
        from edge_runtime.sources.picamera import open_pi_camera

        return lambda clock: open_pi_camera(text, settings)
    if text.startswith(_STREAMS):
        from edge_runtime.sources.opencv import open_stream

        return lambda clock: open_stream(text, settings)
    return None


def shown(text: str) -> str:
    """Returns what to call a source: itself, an address without its secrets."""
    if "://" not in text:
        return text
    from edge_runtime.sources.opencv import without_secrets

    return without_secrets(text)


def _open_fake(
    text: str, every: int, settings: CameraSettings, waiting: Waiting
) -> Source:
    from edge_runtime.sources.fake.camera import FakeCamera
    from edge_runtime.sources.fake.script import parse_config
    from edge_runtime.sources.live import LiveSource
    from edge_runtime.sources.stepped import SequentialSource

    config = parse_config(text, settings)
    opener, name = FakeCamera(config).open, text.partition("?")[0]
    if config.virtual:
        return SequentialSource(opener, name, settings=settings, every=every)
    return LiveSource(opener, name, settings=settings, every=every, waiting=waiting)


def _open_stdin(every: int, settings: CameraSettings, waiting: Waiting) -> Source:
    from edge_runtime.sources.live import LiveSource
    from edge_runtime.sources.stdin import PacedReader, PipeReader, is_file
    from edge_runtime.sources.stepped import SequentialSource

    if sys.stdin is None or sys.stdin.isatty():
        raise SourceError(
            "expected JPEG pictures on stdin, got a terminal: pipe them in, as with"
            "  rpicam-vid -t 0 --codec mjpeg -o - | edge-runtime run --source -"
        )
    reader = PipeReader(sys.stdin.fileno(), settings.fps)
    if is_file(sys.stdin.fileno()):
        return SequentialSource(
            lambda clock: PacedReader(reader, clock), "-", every=every
        )
    # A pipe cannot be opened again: a slow sender is waited for. Another thread would
    # read the second half of a picture whose first half this one has.
    patient = settings._replace(stall_s=math.inf, frozen_s=0.0)
    return LiveSource(
        lambda clock: reader, "-", settings=patient, every=every, waiting=waiting
    )


def _open_files(text: str, every: int) -> Source:
    path = _existing(text)
    if path is None:
        return PictureSource(pictures_like(text), text, every)
    if not os.access(path, os.R_OK):
        raise SourceError(f"cannot read {text!r}: {os.strerror(errno.EACCES)}")
    if path.is_dir():
        return PictureSource(pictures_in(path), text, every)
    if path.suffix.lower() in PICTURE_SUFFIXES:
        return PictureSource([path], text, every)
    from edge_runtime.sources.video import CaptureSource, open_video

    return CaptureSource(open_video(path), text, every)


def _existing(text: str) -> Path | None:
    """Returns the path of what is there; None for a pattern."""
    if "://" in text:
        raise SourceError(
            f"{_EXPECTED}, got the address {shown(text)!r}: record it to a file"
        )
    try:
        if text and Path(text).exists():
            return Path(text)
    except OSError:  # such as a name that is too long
        pass
    if any(one in text for one in "*?["):
        return None
    raise SourceError(f"{_EXPECTED}, got {text!r}, which does not exist")
