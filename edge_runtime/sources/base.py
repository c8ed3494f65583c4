"""The interface of sources: frames, one at a time, each of them a valid image."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple, Protocol, get_args

import numpy as np

from edge_runtime.errors import SourceError
from edge_runtime.preprocessing import Image

Kind = Literal["camera", "video", "pictures"]

FALLBACK_FPS = 25.0


@dataclass(frozen=True, eq=False)
class Frame:
    """One image of a source.

    Attributes:
        image: uint8 (H, W, 3) BGR or (H, W) grey, 0..255; of a turned source a
            view, see ``preprocessing.upright``.
        index: Its number in the source, from 0; dropped frames are counted.
        timestamp_s: Seconds since the first frame; 0 for image files.
        name: Name of the file or camera.
        captured_s: ``time.monotonic()`` when a live source delivered it, or would have
            if it were not late; 0 for files.
    """

    image: Image
    index: int
    timestamp_s: float
    name: str
    captured_s: float = 0.0


class Source(Protocol):
    """An open source: iterate over it once, then close it.

    Attributes:
        name: As the user wrote it, without a password.
        kind: ``"camera"`` (streams and stdin too), ``"video"`` or ``"pictures"``.
        frame_count: Frames that it will yield, if known; None for a camera.
        live: Frames arrive at their own rate: only the newest is yielded.
    """

    name: str
    kind: Kind
    frame_count: int | None
    live: bool

    @property
    def fps(self) -> float:
        """Frames per second that it yields, on average; 25 if unknown."""

    @property
    def peak_fps(self) -> float:
        """The same where they come fastest."""

    @property
    def lost(self) -> str | None:
        """Why no frames come at present; None where they do, and for files."""

    @property
    def skipped(self) -> int:
        """Frames so far that could not be read."""

    @property
    def dropped(self) -> int:
        """Frames so far that were dropped for a newer one."""

    @property
    def reopened(self) -> int:
        """How often it was reopened after a freeze or a loss."""

    def __iter__(self) -> Iterator[Frame]:
        """Yields its frames; raises ``SourceError`` if it fails for good."""

    def close(self) -> None:
        """Closes the device or file."""


class EndOfSource(Exception):  # noqa: N818  (an end is not an error)
    """Raised by a reader that has no more frames."""


class FileAtAddress(SourceError):  # noqa: N818  (a file is not an error)
    """An address has a video file, which is not a camera: it has an end."""


class Clock:
    """Real time, until ``stop`` is called.

    Attributes:
        deadline_s: When a call into the device must have returned; infinity if there
            is no such call.
    """

    def __init__(self) -> None:
        self.deadline_s = math.inf
        self._stopped = threading.Event()

    @property
    def running(self) -> bool:
        """Whether the source is to go on; False is final."""
        return not self._stopped.is_set()

    def now(self) -> float:
        """Returns monotonic time in seconds."""
        return time.monotonic()

    def sleep(self, seconds: float) -> None:
        """Waits; returns early if the clock is stopped."""
        if seconds > 0:
            self._stopped.wait(min(seconds, threading.TIMEOUT_MAX))

    def stop(self) -> None:
        """Ends every ``sleep``, from any thread."""
        self._stopped.set()


class VirtualClock(Clock):
    """Time that passes only in ``sleep``, at once: every run is the same."""

    def __init__(self) -> None:
        super().__init__()
        self._now_s = 0.0

    def now(self) -> float:
        """Returns the seconds slept so far."""
        return self._now_s

    def sleep(self, seconds: float) -> None:
        """Advances the time."""
        self._now_s += max(0.0, seconds)


class Reader(Protocol):
    """An open camera or stream, without supervision.

    Optional attributes: ``polled`` (True: each image is requested), ``invalid`` (why
    images may be unusable, for the message), ``passed_over`` (images that the last
    ``read`` left out for a newer one) and ``late_s`` (seconds by which it was late).

    Attributes:
        fps: Frames per second, if known, else 25.
    """

    fps: float

    def read(self) -> Any:
        """Waits for the next image and returns it; None for a missed one.

        Raises:
            SourceError: It is lost; reopening it may help.
            EndOfSource: There are no more frames.
        """

    def close(self) -> None:
        """Closes the device."""


def usable(image: Any) -> Image | None:
    """Returns a library's result if it is a valid image, else None.

    Args:
        image: Of any type; valid are uint8 (H, W), (H, W, 1) and (H, W, 3), not empty.
    """
    if not isinstance(image, np.ndarray) or image.dtype != np.uint8:
        return None
    if image.ndim == 3 and image.shape[2] == 1:
        image = image[..., 0]
    grey_or_bgr = image.ndim == 2 or (image.ndim == 3 and image.shape[2] == 3)
    return image if grey_or_bgr and image.size else None


PixelFormat = Literal["auto", "mjpg", "yuyv", "grey", "bgr"]

PIXEL_FORMATS: tuple[PixelFormat, ...] = get_args(PixelFormat)

# Called a few times a second while there is no frame, with ``LiveSource.stuck``;
# returns whether to go on waiting.
KeepWaiting = Callable[[bool], bool]


def wait_forever(stuck: bool) -> bool:
    """Returns True: waits on for a frame."""
    return True


class CameraSettings(NamedTuple):
    """Settings of a camera or stream.

    Attributes:
        size_wh: Width and height in pixels; None for the camera's own.
        fps: Frames per second; None for the camera's own.
        pixel_format: ``"mjpg"`` or ``"yuyv"`` of a USB camera, ``"grey"`` or ``"bgr"``
            of picamera2, ``"auto"`` for the camera's own.
        colour: Whether ``"auto"`` is ``"bgr"`` for picamera2, else ``"grey"``.
        stall_s: Seconds without a frame after which it is reopened.
        frozen_s: Seconds with the same image after which it is reopened; 0 for never.
        reopen_limit: Failures within ten minutes after which it is given up; 0 for
            never.
    """

    size_wh: tuple[int, int] | None = None
    fps: float | None = None
    pixel_format: PixelFormat = "auto"
    colour: bool = False
    stall_s: float = 3.0
    frozen_s: float = 5.0
    reopen_limit: int = 40
