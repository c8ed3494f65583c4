"""Frames from a camera, a video file, a picture or a folder of pictures."""

from __future__ import annotations

import logging
import math
import os
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Protocol

import cv2
import numpy as np

from edge_runtime.errors import SourceError
from edge_runtime.preprocess import Image
from edge_runtime.quiet import quiet_stderr

logger = logging.getLogger(__name__)

Kind = Literal["camera", "video", "pictures"]

PICTURE_SUFFIXES = frozenset(
    {".bmp", ".jpeg", ".jpg", ".pgm", ".png", ".ppm", ".tif", ".tiff", ".webp"}
)
FALLBACK_FPS = 25.0
# A camera may miss a frame (a loose cable, a mode change) and come back.
MOST_MISSED_FRAMES = 30
_EXPECTED = "expected a camera number, a video, a picture or a folder of pictures"


@dataclass(frozen=True, eq=False)
class Frame:
    """One picture of a source.

    Attributes:
        image: uint8 (H, W, 3) BGR or (H, W) grey, 0..255.
        index: Its number in the source, from 0; frames left out are counted.
        timestamp_s: Seconds since the first frame; 0 for pictures.
        name: File name, or the camera's name.
    """

    image: Image
    index: int
    timestamp_s: float
    name: str


class Source(Protocol):
    """An open source: iterate over it once, then close it.

    Attributes:
        name: What the user called it.
        kind: ``"camera"``, ``"video"`` or ``"pictures"``.
        fps: Frames it yields per second of real time; 25 where it does not say.
        frame_count: Frames it will yield, as far as it knows; None for a camera.
        skipped: Pictures and frames that could not be read so far.
    """

    name: str
    kind: Kind
    fps: float
    frame_count: int | None
    skipped: int

    def __iter__(self) -> Iterator[Frame]:
        """Yields its frames, each usable; raises SourceError when it breaks."""

    def close(self) -> None:
        """Gives the device or file back."""


@contextmanager
def open_source(text: str, *, every: int = 1) -> Iterator[Source]:
    """Yields an open source that has proved to deliver, and closes it afterwards.

    Args:
        text: A camera number (``"0"``), a device (``"/dev/video0"``), a video file,
            a picture, or a folder whose pictures are read in the order of their names.
        every: Take each n-th frame only.

    Raises:
        SourceError: There is no such thing, or nothing can be read from it.
    """
    source = _open(text, every)
    try:
        yield source
    finally:
        source.close()


def _open(text: str, every: int) -> Source:
    # Not everything under /dev is a camera: clips often lie in /dev/shm.
    if text.isdecimal() or text.startswith("/dev/video"):
        return CaptureSource(_open_camera(text), text, "camera", every)
    path = _existing(text)
    if path.is_dir():
        return PictureSource(_pictures_in(path), text, every)
    if path.suffix.lower() in PICTURE_SUFFIXES:
        return PictureSource([path], text, every)
    return CaptureSource(_open_video(path), text, "video", every)


def _existing(text: str) -> Path:
    if "://" in text:
        raise SourceError(f"{_EXPECTED}, got the address {text!r}: record it to a file")
    try:
        if text and Path(text).exists():
            return Path(text)
    except OSError:  # such as a name that is too long
        pass
    raise SourceError(f"{_EXPECTED}, got {text!r}, which does not exist")


class PictureSource:
    """Picture files, decoded one at a time; unreadable ones are skipped and counted."""

    kind: Kind = "pictures"

    def __init__(self, paths: Sequence[Path], name: str, every: int = 1) -> None:
        """Takes at least one path; with one alone, an unreadable file is an error."""
        self.name, self.fps, self.skipped = name, FALLBACK_FPS, 0
        self._paths = list(enumerate(paths))[::every]
        self.frame_count: int | None = len(self._paths)

    def __iter__(self) -> Iterator[Frame]:
        """Yields the pictures that can be decoded."""
        for index, path in self._paths:
            image = read_picture(path)
            if image is not None:
                yield Frame(image, index, 0.0, path.name)
                continue
            self.skipped += 1
            if len(self._paths) > 1:
                logger.warning("%s cannot be decoded: skipped", path)
        if self.skipped == len(self._paths):
            raise SourceError(
                f"expected a picture that can be decoded, got {self.name!r}:"
                " open it in a viewer, or save it again as PNG or JPEG"
            )

    def close(self) -> None:
        """Does nothing: no file stays open."""


def read_picture(path: Path) -> Image | None:
    """Returns a picture as uint8 (H, W, 3) BGR, turned upright; None if unreadable."""
    try:
        with quiet_stderr():
            data = np.frombuffer(path.read_bytes(), dtype=np.uint8)
            image = cv2.imdecode(data, cv2.IMREAD_COLOR)
    except (OSError, cv2.error):
        return None
    return usable(image)


def _pictures_in(folder: Path) -> list[Path]:
    try:
        names = sorted(path for path in folder.iterdir() if _is_picture(path))
    except OSError as error:
        raise SourceError(f"cannot read {str(folder)!r}: {error.strerror}") from error
    if not names:
        raise SourceError(
            f"expected pictures ({', '.join(sorted(PICTURE_SUFFIXES))}) in"
            f" {str(folder)!r}, got none: subfolders are not searched"
        )
    return names


def _is_picture(path: Path) -> bool:
    hidden = path.name.startswith(".")  # "._face.jpg" of a Mac is no picture
    return path.suffix.lower() in PICTURE_SUFFIXES and not hidden and path.is_file()


class CaptureSource:
    """A camera or a video file in OpenCV's ``VideoCapture``."""

    def __init__(
        self, capture: cv2.VideoCapture, name: str, kind: Kind, every: int = 1
    ) -> None:
        """Takes an open capture and reads its first frame.

        Raises:
            SourceError: It opens, but gives no frame.
        """
        self.name, self.kind, self.skipped = name, kind, 0
        self._capture, self._every = capture, every
        self._label = name if kind == "camera" else Path(name).name
        self._native_fps = _fps(capture)
        self.fps = self._native_fps / every
        frames = capture.get(cv2.CAP_PROP_FRAME_COUNT) if kind == "video" else 0
        self.frame_count = math.ceil(frames / every) if frames > 0 else None
        self._first = self._read()
        if self._first is None:
            capture.release()
            raise SourceError(f"{name!r} opens but gives no frame: {self._remedy()}")

    def __iter__(self) -> Iterator[Frame]:
        """Yields frames until a video ends; a camera's do not end."""
        started, index, image = time.monotonic(), 0, self._first
        self._first = None
        while image is not None:
            since = time.monotonic() - started
            at = since if self.kind == "camera" else index / self._native_fps
            yield Frame(image, index, at, self._label)
            index += self._every
            image = self._read() if self._pass_over(self._every - 1) else None
        if self.kind == "camera":
            raise SourceError(f"{self.name!r} stopped giving frames: {self._remedy()}")

    def close(self) -> None:
        """Gives the device or file back."""
        self._capture.release()

    def _pass_over(self, count: int) -> bool:
        # grab() without retrieve() saves the conversion to BGR.
        grabbed = [self._capture.grab() for _ in range(count)]
        return self.kind == "camera" or all(grabbed)

    def _read(self) -> Image | None:
        attempts = MOST_MISSED_FRAMES if self.kind == "camera" else 1
        for _ in range(attempts):
            try:
                image = usable(self._capture.read()[1])
            except cv2.error as error:
                logger.debug("%s: %s", self.name, error)
                image = None
            if image is not None:
                return image
            self.skipped += self.kind == "camera"
        return None

    def _remedy(self) -> str:
        if self.kind == "camera":
            return "check the cable, and that no other program uses the camera"
        return "play it in a video player, or copy it again"


def usable(image: Any) -> Image | None:
    """Returns what a library gave as a frame if it is an image, else None.

    Args:
        image: Anything; an image is uint8 (H, W), (H, W, 1) or (H, W, 3), not empty.
    """
    if not isinstance(image, np.ndarray) or image.dtype != np.uint8:
        return None
    if image.ndim == 3 and image.shape[2] == 1:
        image = image[..., 0]
    grey_or_bgr = image.ndim == 2 or (image.ndim == 3 and image.shape[2] == 3)
    return image if grey_or_bgr and image.size else None


def _fps(capture: cv2.VideoCapture) -> float:
    fps = capture.get(cv2.CAP_PROP_FPS)
    return fps if math.isfinite(fps) and 0.1 <= fps <= 1000 else FALLBACK_FPS


def _open_camera(text: str) -> cv2.VideoCapture:
    device = f"/dev/video{int(text)}" if text.isdecimal() else text
    on_linux = sys.platform == "linux"
    if on_linux:
        # OpenCV would try every driver first; the kernel already knows.
        _check_device(Path(device))
    wanted = int(text) if text.isdecimal() else text
    with quiet_stderr():
        capture = cv2.VideoCapture(wanted, cv2.CAP_V4L2 if on_linux else cv2.CAP_ANY)
    if capture.isOpened():
        return capture
    raise SourceError(
        f"expected a camera at {device}, got a device that gives no pictures:"
        " check that no other program uses it, or try another --source number"
    )


def _check_device(device: Path) -> None:
    if not device.exists():
        present = sorted(str(path) for path in Path("/dev").glob("video[0-9]*"))
        raise SourceError(
            f"expected a camera at {device}, got no such device (present:"
            f" {', '.join(present) or 'none'}): plug it in, or name a video or picture"
        )
    if not os.access(device, os.R_OK | os.W_OK):
        raise SourceError(
            f"no permission to use {device}: run  sudo usermod -aG video $USER"
            "  and log in again"
        )


def _open_video(path: Path) -> cv2.VideoCapture:
    with quiet_stderr():
        capture = cv2.VideoCapture(str(path), cv2.CAP_FFMPEG)
        if not capture.isOpened():
            # Boards' own OpenCV builds may have GStreamer and no FFmpeg.
            capture = cv2.VideoCapture(str(path))
    if capture.isOpened():
        return capture
    raise SourceError(
        f"expected a video, a picture or a folder of pictures, got {str(path)!r},"
        " which OpenCV cannot read: convert it, as with  ffmpeg -i IN out.mp4"
    )
