"""Whether two thumbnails show one picture, of which one may be cropped or mirrored."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import NamedTuple

import cv2
import numpy as np
import numpy.typing as npt

THUMB_PX = 64
COARSE_PX = 16
FINE_PX = 48
DETAIL_SIGMA_PX = 2.0  # of 48 pixels: what is coarser does not count in the second look
ALIKE = 0.88  # least correlation of the coarse look; see docs/records/experiments.md
SAME = 0.8  # and of the fine one
SIDES = (64, 62, 61, 59, 58)  # crops to nine tenths
STEP_PX = 2
MIN_LENGTH = 1e-6

Thumb = npt.NDArray[np.uint8]
Floats = npt.NDArray[np.float32]


class CropWindow(NamedTuple):
    """A part of a thumbnail, in its pixels."""

    top: int
    left: int
    height: int
    width: int


WHOLE = CropWindow(0, 0, THUMB_PX, THUMB_PX)


class Coarse(NamedTuple):
    """A thumbnail, made ready for the first look.

    Attributes:
        parts: float32 (windows, 256), each of length 1; the first is the whole.
        mirror: float32 (256,), the whole mirrored.
    """

    parts: Floats
    mirror: Floats


@functools.cache
def windows() -> tuple[CropWindow, ...]:
    """Returns the parts that are compared, the whole first."""
    found = []
    for side in SIDES:
        room = THUMB_PX - side
        starts = sorted({*range(0, room + 1, STEP_PX), room})
        found += [
            CropWindow(top, left, side, side) for top in starts for left in starts
        ]
    return tuple(found)


def coarse(thumb: Thumb) -> Coarse:
    """Returns a thumbnail made ready; uint8 (64, 64), 0..255."""
    mirror = _describe(thumb[:, ::-1], (WHOLE,), COARSE_PX)[0]
    return Coarse(_describe(thumb, windows(), COARSE_PX), mirror)


def similarity(
    first: Thumb, second: Thumb, of_first: Coarse, of_second: Coarse, *, mirrored: bool
) -> float:
    """Returns the correlation of two aligned thumbnails, 0 if they are not alike.

    First every part of each is compared with the whole of the other; then details
    alone, at and around the best place.

    Args:
        first: uint8 (64, 64), 0..255.
        second: The same.
        of_first: The first, made ready.
        of_second: The second.
        mirrored: Compare with the mirror image.
    """
    wholes = (
        (of_first.mirror, of_second.mirror)
        if mirrored
        else (of_first.parts[0], of_second.parts[0])
    )
    in_first, in_second = of_first.parts @ wholes[1], of_second.parts @ wholes[0]
    if max(in_first.max(), in_second.max()) < ALIKE:
        return 0.0
    if in_first.max() >= in_second.max():
        part_of, whole, best = first, second, int(in_first.argmax())
    else:
        part_of, whole, best = second, first, int(in_second.argmax())
    around = _around(windows()[best])
    whole = np.ascontiguousarray(whole[:, ::-1]) if mirrored else whole
    details = _describe(part_of, around, FINE_PX, DETAIL_SIGMA_PX)
    return float(
        (details @ _describe(whole, (WHOLE,), FINE_PX, DETAIL_SIGMA_PX)[0]).max()
    )


def _around(window: CropWindow) -> list[CropWindow]:
    """Returns windows that differ by at most a pixel on each edge."""
    steps = (-1, 0, 1)
    near = [
        CropWindow(window.top + t, window.left + s, window.height + h, window.width + w)
        for t in steps
        for s in steps
        for h in steps
        for w in steps
    ]
    return [
        each
        for each in near
        if min(each.top, each.left) >= 0
        and each.top + each.height <= THUMB_PX
        and each.left + each.width <= THUMB_PX
    ]


def _describe(
    thumb: Thumb, parts: Sequence[CropWindow], side_px: int, sigma_px: float = 0.0
) -> Floats:
    """Returns parts as vectors of length 1 and mean 0, float32 (parts, side * side).

    Their product is the correlation, which no change of brightness or contrast changes.

    Args:
        thumb: uint8 (64, 64).
        parts: The windows.
        side_px: To which each is resized.
        sigma_px: Width of the Gaussian mean that is taken away; 0 for nothing.
    """
    image = thumb.astype(np.float32)
    vectors = np.empty((len(parts), side_px, side_px), np.float32)
    for vector, (top, left, height, width) in zip(vectors, parts, strict=True):
        part = image[top : top + height, left : left + width]
        cv2.resize(part, (side_px, side_px), dst=vector, interpolation=cv2.INTER_AREA)
        if sigma_px:
            vector -= cv2.GaussianBlur(vector, (0, 0), sigma_px)
    flat = vectors.reshape(len(parts), -1)
    flat -= flat.mean(axis=1, keepdims=True)
    flat /= np.maximum(np.linalg.norm(flat, axis=1, keepdims=True), MIN_LENGTH)
    return flat
