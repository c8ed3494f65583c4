"""Looks at some images of a set, to choose what suits all."""

from __future__ import annotations

from collections.abc import Sequence

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


def probe_kind(entries: Sequence[Entry]) -> tuple[bool, bool]:
    """Returns whether most of some images are above 64 pixels, and any is in colour.

    The shorter side counts.
    """
    step = max(1, len(entries) // PROBED_IMAGES)
    images = [image for e in entries[::step] if (image := _pixels(e)) is not None]
    sides = [min(image.shape[:2]) for image in images]
    large = bool(sides) and float(np.median(sides)) > LARGEST_ICON_PX
    return large, not all(_is_grey(image) for image in images)


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
