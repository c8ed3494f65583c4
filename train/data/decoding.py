"""Decodes listed images into arrays."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import cv2
import numpy as np
import numpy.typing as npt

from edge_runtime.preprocessing import CHANNELS, Colour, to_model_input
from edge_runtime.utils.pictures import decode_picture
from train.data.entries import Entry
from train.data.splits import SPLITS, Split
from train.progress import progress_bar

LARGEST_AUTO_SIZE_PX = 224
FALLBACK_SIZE_PX = 96
PROBED_IMAGES = 64


def decode(entry: Entry) -> npt.NDArray[np.uint8] | None:
    """Returns the pixels of an entry, or None where they cannot be read.

    Returns:
        uint8 (H, W) grey or (H, W, 3) BGR, 0..255.
    """
    try:
        return decode_picture(entry.read(), cv2.IMREAD_ANYCOLOR)
    except (OSError, ValueError):
        return None


def probe_format(entries: Sequence[Entry]) -> tuple[int, Colour]:
    """Returns the side in pixels and the colour that suit some of the images."""
    step = max(1, len(entries) // PROBED_IMAGES)
    images = [image for e in entries[::step] if (image := decode(e)) is not None]
    shapes = {image.shape[:2] for image in images}
    height, width = next(iter(shapes)) if len(shapes) == 1 else (0, 1)
    own_size = height == width and height <= LARGEST_AUTO_SIZE_PX
    size_px = height if own_size else FALLBACK_SIZE_PX
    grey = all(_is_grey(image) for image in images)
    return size_px, "grey" if grey else "rgb"


def _is_grey(image: npt.NDArray[np.uint8]) -> bool:
    if image.ndim == 2:
        return True
    blue, green, red = image[..., 0], image[..., 1], image[..., 2]
    return bool(np.array_equal(blue, green) and np.array_equal(green, red))


def decode_splits(
    entries: Sequence[Entry], labels: tuple[str, ...], size_px: int, colour: Colour
) -> tuple[dict[str, Split], tuple[str, ...]]:
    """Returns every split's images, and the names of files that are no images."""
    index = {label: i for i, label in enumerate(labels)}
    shape = (size_px, size_px, CHANNELS[colour])
    counts = Counter(entry.split for entry in entries)
    images = {s: np.empty((counts[s], *shape), np.uint8) for s in SPLITS}
    classes: dict[str, list[int]] = {s: [] for s in SPLITS}
    names: dict[str, list[str]] = {s: [] for s in SPLITS}
    unreadable = []
    for entry in progress_bar(entries, "reading images", unit="image"):
        image = decode(entry)
        if image is None:
            unreadable.append(entry.name)
            continue
        row = len(names[entry.split])
        images[entry.split][row] = to_model_input(image, size_px, colour)
        classes[entry.split].append(index[entry.label])
        names[entry.split].append(entry.name)
    splits = {
        s: Split(
            images[s][: len(names[s])],
            np.array(classes[s], dtype=np.int64),
            tuple(names[s]),
        )
        for s in SPLITS
    }
    return splits, tuple(unreadable)
