"""How a camera is to be set, and how long its faults are borne."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal, NamedTuple, get_args

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
