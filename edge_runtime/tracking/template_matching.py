"""Finds a face in the next frame by its appearance in an earlier one.

A detector takes tens of milliseconds on a small board. Between two of its runs a face
changes and moves little, so it is enough to search for a small image of it around its
predicted place: normalised cross-correlation (Lewis 1995) of 20x20 pixels in 37x37, a
fraction of a millisecond.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from edge_runtime.detection.boxes import RawBox, clip_box
from edge_runtime.preprocessing import Image
from edge_runtime.results import Box

PATCH_PX = 20
SEARCH_SIDES = 1.85  # side of the searched square over that of the face
MIN_CORRELATION = 0.6
# Of two images of one face. Of FER2013's faces 0.4 % of the pairs of two persons reach
# it (6.5 % reach 0.6), and 81 % of the faces that are turned by 10 degrees.
MIN_SAME_CORRELATION = 0.7
MIN_CONTRAST = 4.0  # grey levels: a flat patch matches anything

_Grey = npt.NDArray[np.uint8]


@dataclass(frozen=True, eq=False)
class Patch:
    """The appearance of a face.

    Attributes:
        grey: uint8 (h, w), the longer side about ``PATCH_PX``.
        scale: Patch pixels per pixel of the frame.
        offset_xy: From the face's centre to the patch's, in the frame's pixels: not
            zero where the frame's edge cuts the face.
    """

    grey: _Grey
    scale: float
    offset_xy: tuple[float, float]


def extract_patch(image: Image, box: RawBox) -> Patch | None:
    """Returns the appearance of a face; None where it has too little contrast.

    Args:
        image: uint8 (H, W, 3) BGR or (H, W) grey, 0..255.
        box: The face in this image.
    """
    scale = PATCH_PX / max(box[2], box[3], 1.0)
    inside = clip_box(box, (image.shape[1], image.shape[0]))
    if inside is None:
        return None
    grey = _small_grey(image, inside, scale)
    contrast = cv2.meanStdDev(grey)[1].item()
    if min(grey.shape) < PATCH_PX // 3 or contrast < MIN_CONTRAST:
        return None
    (x, y), (face_x, face_y) = _centre(inside), _centre(box)
    return Patch(grey, scale, (x - face_x, y - face_y))


def find_patch(image: Image, patch: Patch, box: RawBox) -> RawBox | None:
    """Returns the box of a face, of unchanged size; None where nothing matches.

    Args:
        image: uint8 (H, W, 3) BGR or (H, W) grey, 0..255.
        patch: The face's appearance.
        box: Where it is expected.
    """
    searched = _searched(image, patch, box)
    if searched is None:
        return None
    inside, grey = searched
    height, width = patch.grey.shape
    correlation = cv2.matchTemplate(grey, patch.grey, cv2.TM_CCOEFF_NORMED)
    _, best, _, (left, top) = cv2.minMaxLoc(correlation)
    if not best >= MIN_CORRELATION:
        return None
    # A pixel here is up to a tenth of a face, so the peak lies between two of them.
    x = left + _peak_offset(correlation[top], left) + width / 2
    y = top + _peak_offset(correlation[:, left], top) + height / 2
    # The true scale differs a little from the patch's: sides are whole pixels.
    centre_x = inside[0] + x * inside[2] / grey.shape[1]
    centre_y = inside[1] + y * inside[3] / grey.shape[0]
    x = centre_x - patch.offset_xy[0] - box[2] / 2
    y = centre_y - patch.offset_xy[1] - box[3] / 2
    return x, y, box[2], box[3]


def looks_alike(image: Image, patch: Patch, box: RawBox) -> bool:
    """Returns whether a face looks like an earlier one, perhaps of another size.

    Args:
        image: uint8 (H, W, 3) BGR or (H, W) grey, 0..255.
        patch: The earlier face's appearance.
        box: The face in this image.
    """
    scale = PATCH_PX / max(box[2], box[3], 1.0)
    searched = _searched(image, replace(patch, scale=scale), box)
    if searched is None:
        return False
    correlation = cv2.matchTemplate(searched[1], patch.grey, cv2.TM_CCOEFF_NORMED)
    return bool(correlation.max() >= MIN_SAME_CORRELATION)


def _searched(image: Image, patch: Patch, box: RawBox) -> tuple[Box, _Grey] | None:
    """Returns where a patch is searched, and this part of the image in its scale."""
    inside = clip_box(_grown(box, SEARCH_SIDES), (image.shape[1], image.shape[0]))
    if inside is None:
        return None
    grey = _small_grey(image, inside, patch.scale)
    height, width = patch.grey.shape
    too_small = grey.shape[0] < height or grey.shape[1] < width
    return None if too_small else (inside, grey)


def _peak_offset(values: npt.NDArray[Any], at: int) -> float:
    """Returns the offset of a peak from its highest sample, -0.5..0.5 samples.

    It is the vertex of the parabola through the sample and its two neighbours; 0 at the
    edge.
    """
    if not 0 < at < len(values) - 1:
        return 0.0
    before, peak, after = values[at - 1 : at + 2].tolist()
    curvature = before - 2 * peak + after
    return float(0.5 * (before - after) / curvature) if curvature < 0 else 0.0


def _small_grey(image: Image, box: Box, scale: float) -> _Grey:
    """Returns part of an image in grey, scaled down, uint8 (h, w)."""
    x, y, width, height = box
    # Taking every k-th pixel first is nearly free, averaging all of them is not. The
    # green channel is most of the luminance, and a fifth of the work of all three.
    step = max(1, int(0.75 / scale))
    green = image if image.ndim == 2 else image[..., 1]
    part = green[y : y + height : step, x : x + width : step]
    size_wh = (max(1, round(width * scale)), max(1, round(height * scale)))
    small = cv2.resize(part, size_wh, interpolation=cv2.INTER_AREA)
    return np.asarray(small, dtype=np.uint8)


def _grown(box: RawBox, factor: float) -> RawBox:
    x, y, width, height = box
    wide, tall = factor * width, factor * height
    return x - (wide - width) / 2, y - (tall - height) / 2, wide, tall


def _centre(box: RawBox | Box) -> tuple[float, float]:
    return box[0] + box[2] / 2, box[1] + box[3] / 2
