"""What a source gives: frames, one at a time, each of them a usable picture."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple, Protocol, get_args

import numpy as np

from edge_runtime.preprocessing import Image

Kind = Literal["camera", "video", "pictures"]

FALLBACK_FPS = 25.0


@dataclass(frozen=True, eq=False)
class Frame:
    """One picture of a source.

    Attributes:
        image: uint8 (H, W, 3) BGR or (H, W) grey, 0..255.
        index: Its number in the source, from 0; frames left out are counted.
        timestamp_s: Seconds since the first frame; 0 for pictures.
        name: File name, or the camera's name.
        captured_s: ``time.monotonic()`` when a live source gave it; 0 for files.
    """

    image: Image
    index: int
    timestamp_s: float
    name: str
    captured_s: float = 0.0


class Source(Protocol):
    """An open source: iterate over it once, then close it.

    Attributes:
        name: What the user called it, without a password.
        kind: ``"camera"`` (streams and stdin too), ``"video"`` or ``"pictures"``.
        fps: Frames it yields per second of real time; 25 where it does not say.
        frame_count: Frames it will yield, as far as it knows; None for a camera.
        live: Frames come whether or not anyone takes them: the newest is yielded.
        skipped: Pictures and frames that could not be read so far.
        dropped: Frames passed over so far because a newer one was there.
        reopened: How often it was opened again after a freeze or a loss.
    """

    name: str
    kind: Kind
    frame_count: int | None
    live: bool

    @property
    def fps(self) -> float:
        """Frames per second."""

    @property
    def skipped(self) -> int:
        """Pictures that could not be read."""

    @property
    def dropped(self) -> int:
        """Frames passed over for a newer one."""

    @property
    def reopened(self) -> int:
        """How often it came back."""

    def __iter__(self) -> Iterator[Frame]:
        """Yields its frames, each usable; raises SourceError when it breaks."""

    def close(self) -> None:
        """Gives the device or file back."""


class EndOfSource(Exception):  # noqa: N818  (an end is no error)
    """What a reader raises when there is nothing more to come."""


class Reader(Protocol):
    """An open camera or stream, before anybody watches over it.

    Attributes:
        fps: Pictures per second, as far as it knows.
    """

    fps: float

    def read(self) -> Any:
        """Waits for the next picture and returns it; None for a missed one.

        Raises:
            SourceError: It is lost; opening it again may help.
            EndOfSource: There is nothing more to come.
        """

    def close(self) -> None:
        """Gives the device back."""


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


PixelFormat = Literal["auto", "mjpg", "yuyv", "grey", "bgr"]

PIXEL_FORMATS: tuple[PixelFormat, ...] = get_args(PixelFormat)

# Called a few times a second while no frame comes, with whether that is hopeless (see
# ``LiveSource.stuck``); returns whether to go on waiting.
Waiting = Callable[[bool], bool]


def wait_on(stuck: bool) -> bool:
    """Goes on waiting for a frame as long as it takes."""
    return True


class CameraSettings(NamedTuple):
    """What is asked of a live source.

    Attributes:
        size_wh: Width and height in pixels; None for the camera's own.
        fps: Pictures per second; None for the camera's own.
        pixel_format: ``"mjpg"`` or ``"yuyv"`` of a USB camera, ``"grey"`` or ``"bgr"``
            of picamera2, ``"auto"`` for the camera's own.
        colour: Whether ``"auto"`` is ``"bgr"`` for picamera2, else ``"grey"``.
        stall_s: Without a new picture for so long it is opened again.
        frozen_s: With the same picture for so long it is opened again; 0 for never.
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
