"""The image of a crop: its size on the disk, and whether it looks like another."""

from __future__ import annotations

import cv2
import numpy as np

from edge_runtime.preprocessing import Image, resize

NEAR_BITS = 5  # of 64: images that differ by fewer look the same


def reduced(image: Image, most_px: int) -> Image:
    """Returns an image whose shorter side has at most so many pixels.

    Args:
        image: uint8 (H, W, 3) BGR or (H, W) grey.
        most_px: More says nothing to a network with half as many.
    """
    height, width = image.shape[:2]
    shorter = min(height, width)
    if shorter <= most_px:
        return np.ascontiguousarray(image)
    size = round(width * most_px / shorter), round(height * most_px / shorter)
    return resize(np.ascontiguousarray(image), size)


def difference_hash(image: Image) -> int:
    """Returns 64 bits that are nearly the same for images that look the same.

    Whether a pixel of the image at 9x8 is lighter than its right neighbour (dHash,
    N. Krawetz, "Kind of like that", 2013).

    Args:
        image: uint8 (H, W, 3) BGR or (H, W) grey.
    """
    grey = image if image.ndim == 2 else cv2.cvtColor(image, cv2.COLOR_BGR2GRAY)
    small = cv2.resize(grey, (9, 8), interpolation=cv2.INTER_AREA)
    return int.from_bytes(np.packbits(small[:, :-1] > small[:, 1:]).tobytes(), "big")


def look_the_same(a: int, b: int) -> bool:
    """Returns whether two images are near copies, by their ``difference_hash``."""
    return (a ^ b).bit_count() < NEAR_BITS
