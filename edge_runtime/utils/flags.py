"""Values of flags: text of a command line, read and kept within bounds."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

from edge_runtime.utils.argparser import InvalidValue
from edge_runtime.utils.pictures import MAX_PIXELS

Number = TypeVar("Number", int, float)

MAX_THREADS = 256  # beyond it, libraries hang or overflow instead of failing


def add_orientation(add: Callable[..., Any]) -> None:
    """Adds ``--rotate`` and ``--mirror``, wherever frames of a source are read.

    Args:
        add: ``add_argument`` of a parser or group.
    """
    add(
        "--rotate",
        type=int,
        choices=(0, 90, 180, 270),
        default=0,
        help="turn the frames clockwise, for a camera that hangs on its side or upside"
        " down (0)",
    )
    add(
        "--hflip",
        "--mirror",
        action="store_true",
        help="then mirror them, left to right",
    )


def positive(text: str) -> int:
    """Returns a whole number of at least 1, for argparse."""
    return whole_number(text, 1, 2**31 - 1)


def threads(text: str) -> int:
    """Returns a number of CPU threads, 1 to 256, for argparse."""
    return whole_number(text, 1, MAX_THREADS)


def seed(text: str) -> int:
    """Returns a seed, 0 to 2**32 - 1 (what every generator takes), for argparse."""
    return whole_number(text, 0, 2**32 - 1)


def path(text: str) -> Path:
    """Returns a path, for argparse.

    Raises:
        InvalidValue: The text is empty; ``Path`` would take the folder.
    """
    if not text:
        raise InvalidValue("expected a path, got ''")
    return Path(text)


def whole_number(text: str, low: int, high: int) -> int:
    """Returns a whole number from ``low`` to ``high``; raises ``InvalidValue``."""
    return _within(int, "a whole number", text, low, high)


def number(text: str, low: float, high: float) -> float:
    """Returns a number from ``low`` to ``high``; raises ``InvalidValue``."""
    return _within(float, "a number", text, low, high)


def _within(
    kind: Callable[[str], Number], name: str, text: str, low: float, high: float
) -> Number:
    try:
        value = kind(text)
    except ValueError:
        value = None
    if value is None or not low <= value <= high:  # NaN is within no bounds
        raise InvalidValue(
            f"expected {name} from {low:.10g} to {high:.10g}, got {text[:40]!r}"
        )
    return value


def size_wh(text: str) -> tuple[int, int]:
    """Returns width and height in pixels of ``640x480``, for argparse.

    Raises:
        InvalidValue: It is not such a text, or too large for OpenCV.
    """
    match = re.fullmatch(r"(\d{1,5})x(\d{1,5})", text)
    width, height = (int(match[1]), int(match[2])) if match else (0, 0)
    if not 0 < width * height <= MAX_PIXELS:
        raise InvalidValue(f"expected a size such as 640x480, got {text[:40]!r}")
    return width, height
