"""The flags that choose a source, and the source they choose."""

from __future__ import annotations

import argparse
import re
from collections.abc import Iterator
from contextlib import contextmanager

from edge_runtime import flags
from edge_runtime.sources.frames import Source
from edge_runtime.sources.opening import open_source
from edge_runtime.sources.settings import (
    PIXEL_FORMATS,
    CameraSettings,
    Waiting,
    wait_on,
)

_DEFAULTS = CameraSettings()


def add_source_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the flags that choose a source."""
    add = parser.add_argument_group("source").add_argument
    add(
        "--source",
        default="0",
        metavar="SOURCE",
        help="camera number or /dev/video path, picamera2, video, picture, folder,"
        " 'pattern*.jpg', rtsp:// or http:// address, - (JPEG pictures on stdin) or"
        " fake:scene (default: 0); see docs/sources.md",
    )
    add("--size", type=size_wh, metavar="WxH", help="ask the camera for this size")
    add(
        "--fps",
        type=rate,
        metavar="N",
        help="ask the camera for this rate; what is sent on stdin has it",
    )
    add(
        "--pixel-format",
        choices=PIXEL_FORMATS,
        default=_DEFAULTS.pixel_format,
        help="mjpg or yuyv of a USB camera; grey or bgr of picamera2 (auto: what the"
        " model takes)",
    )
    add(
        "--every",
        type=flags.positive,
        default=1,
        metavar="N",
        help="take each n-th frame",
    )
    add("--max-frames", type=flags.positive, metavar="N", help="stop after N frames")
    add(
        "--stall-after",
        type=seconds,
        default=_DEFAULTS.stall_s,
        metavar="S",
        help="open the camera again after S seconds without a picture"
        f" ({_DEFAULTS.stall_s:g})",
    )
    add(
        "--frozen-after",
        type=seconds_or_never,
        default=_DEFAULTS.frozen_s,
        metavar="S",
        help="open it again after S seconds of the same picture; 0: never"
        f" ({_DEFAULTS.frozen_s:g})",
    )
    add(
        "--reopen-limit",
        type=lambda text: flags.whole_number(text, 0, 1000),
        default=_DEFAULTS.reopen_limit,
        metavar="N",
        help="give it up after N failures within ten minutes; 0: never"
        f" ({_DEFAULTS.reopen_limit})",
    )


@contextmanager
def open_source_for(
    args: argparse.Namespace, *, colour: bool = False, waiting: Waiting = wait_on
) -> Iterator[Source]:
    """Yields the source that the flags choose, open, and closes it afterwards.

    Args:
        args: Parsed with ``add_source_arguments``.
        colour: Whether the model takes colour.
        waiting: Called while a live source gives no frame; see ``Waiting``.

    Raises:
        SourceError: There is no such thing, or nothing can be read from it.
    """
    settings = CameraSettings(
        size_wh=args.size,
        fps=args.fps,
        pixel_format=args.pixel_format,
        colour=colour,
        stall_s=args.stall_after,
        frozen_s=args.frozen_after,
        reopen_limit=args.reopen_limit,
    )
    with open_source(
        args.source, every=args.every, settings=settings, waiting=waiting
    ) as source:
        yield source


def size_wh(text: str) -> tuple[int, int]:
    """Returns width and height of ``640x480``, for argparse."""
    match = re.fullmatch(r"(\d{1,5})x(\d{1,5})", text)
    if match is None or not int(match[1]) * int(match[2]):
        raise argparse.ArgumentTypeError(
            f"expected a size such as 640x480, got {text[:40]!r}"
        )
    return int(match[1]), int(match[2])


def rate(text: str) -> float:
    """Returns frames per second, 0.1 to 1000, for argparse."""
    return flags.number(text, 0.1, 1000)


def seconds(text: str) -> float:
    """Returns seconds, 0.1 to 3600, for argparse."""
    return flags.number(text, 0.1, 3600)


def seconds_or_never(text: str) -> float:
    """Returns seconds, 0 to 3600, for argparse."""
    return flags.number(text, 0, 3600)
