"""Looks at some images of a set, to choose what suits all."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from edge_runtime.preprocessing import Colour
from train.data.decoding import decode
from train.data.listing.entries import Entry

LARGEST_AUTO_SIZE_PX = 224
FALLBACK_SIZE_PX = 96
PROBED_IMAGES = 64
LARGEST_ICON_PX = 64


def probe_format(entries: Sequence[Entry]) -> tuple[int, Colour]:
    """Returns the side in pixels and the colour that suit some of the images."""
    step = max(1, len(entries) // PROBED_IMAGES)
    images = [image for e in entries[::step] if (image := _pixels(e)) is not None]
    shapes = {image.shape[:2] for image in images}
    height, width = next(iter(shapes)) if len(shapes) == 1 else (0, 1)
    own_size = height == width and height <= LARGEST_AUTO_SIZE_PX
    size_px = height if own_size else FALLBACK_SIZE_PX
    grey = all(_is_grey(image) for image in images)
    return size_px, "grey" if grey else "rgb"


class PictureKind(NamedTuple):
    """What some images of a set are.

    Attributes:
        large: The shorter side of most is above 64 pixels.
        colour: Any is in colour.
        aspect: Longer by shorter side, at least 1: the median.
    """

    large: bool
    colour: bool
    aspect: float


def probe_kind(entries: Sequence[Entry]) -> PictureKind:
    """Returns what some of the images are."""
    step = max(1, len(entries) // PROBED_IMAGES)
    images = [image for e in entries[::step] if (image := _pixels(e)) is not None]
    sides = [min(image.shape[:2]) for image in images]
    aspects = [max(image.shape[:2]) / min(image.shape[:2]) for image in images]
    large = bool(sides) and float(np.median(sides)) > LARGEST_ICON_PX
    colour = not all(_is_grey(image) for image in images)
    return PictureKind(large, colour, float(np.median(aspects or [1.0])))


def _pixels(entry: Entry) -> npt.NDArray[np.uint8] | None:
    try:
        return decode(entry).pixels
    except ValueError:
        return None


def _is_grey(image: npt.NDArray[np.uint8]) -> bool:
    if image.ndim == 2:
        return True
    blue, green, red = image[..., 0], image[..., 1], image[..., 2]
    return bool(np.array_equal(blue, green) and np.array_equal(green, red))
