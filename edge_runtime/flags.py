"""Types for command-line values, with messages that say what was expected."""

from __future__ import annotations

import argparse
import math
from pathlib import Path

MOST_THREADS = 256  # beyond it, libraries hang or overflow instead of failing


def positive(text: str) -> int:
    """Returns a whole number of at least 1, for argparse."""
    return whole_number(text, 1, 2**31 - 1)


def threads(text: str) -> int:
    """Returns a number of CPU threads, 1 to 256, for argparse."""
    return whole_number(text, 1, MOST_THREADS)


def seed(text: str) -> int:
    """Returns a seed, 0 to 2**32 - 1 (what every generator takes), for argparse."""
    return whole_number(text, 0, 2**32 - 1)


def path(text: str) -> Path:
    """Returns a path, for argparse.

    Raises:
        argparse.ArgumentTypeError: The text is empty, which ``Path`` takes for here.
    """
    if not text:
        raise argparse.ArgumentTypeError("expected a path, got ''")
    return Path(text)


def whole_number(text: str, low: int, high: int) -> int:
    """Returns a whole number within bounds, for argparse.

    Raises:
        argparse.ArgumentTypeError: It is not one; the message gives the bounds.
    """
    try:
        value = int(text)
    except ValueError:
        value = low - 1
    if not low <= value <= high:
        raise argparse.ArgumentTypeError(
            f"expected a whole number from {low} to {high}, got {text[:40]!r}"
        )
    return value


def number(text: str, low: float, high: float) -> float:
    """Returns a number within bounds, for argparse.

    Raises:
        argparse.ArgumentTypeError: It is not one; the message gives the bounds.
    """
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not low <= value <= high:
        raise argparse.ArgumentTypeError(
            f"expected a number from {low:g} to {high:g}, got {text[:40]!r}"
        )
    return value
