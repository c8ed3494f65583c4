"""Blurs faces so that nobody can be recognized, and nothing undoes it."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable

import cv2
import numpy as np

from edge_runtime.detection.boxes import iou
from edge_runtime.preprocessing import Image
from edge_runtime.results import Box, FrameResult

CELLS = 6  # of the longer side of a face: at most 36 mean values of it remain
MARGIN_FRAC = 0.3  # of the box, on each side: hair, ears and chin
MEMORY_S = 1.0
MIN_IOU = 0.5  # boxes that overlap so much are blurred as one


def blur(image: Image, boxes: Iterable[Box]) -> Image:
    """Returns a copy in which no face can be recognized.

    Each box, widened by ``MARGIN_FRAC``, is reduced to the means of at most
    ``CELLS`` x ``CELLS`` cells (no method undoes that), and then interpolated so that
    the edges of the cells do not distract.

    Args:
        image: uint8 (H, W, 3) BGR or (H, W) grey, 0..255; not changed.
        boxes: Left, top, width, height in pixels; may reach over the edge.
    """
    result = image.copy()
    for box in boxes:
        left, top, right, bottom = _widen(box, image.shape[1], image.shape[0])
        if right > left and bottom > top:
            # From the copy: where boxes overlap, nothing becomes sharp again.
            face = result[top:bottom, left:right]
            result[top:bottom, left:right] = _pixelate(face)
    return result


def blur_outside(image: Image, boxes: Iterable[Box]) -> Image:
    """Returns a copy in which only the pixels inside of the boxes are left.

    Args:
        image: uint8 (H, W, 3) BGR or (H, W) grey, 0..255; not changed.
        boxes: Left, top, width, height in pixels, inside the image.
    """
    result = _pixelate(image)
    for x, y, width, height in boxes:
        inside = slice(y, y + height), slice(x, x + width)
        result[inside] = image[inside]
    return result


def _pixelate(face: Image) -> Image:
    height, width = face.shape[:2]
    scale = CELLS / max(height, width, CELLS)
    cells = max(1, round(width * scale)), max(1, round(height * scale))
    if cells == (width, height):  # smaller than the cells: one colour
        cells = (1, 1)
    small = cv2.resize(face, cells, interpolation=cv2.INTER_AREA)
    # Not a Gaussian blur of large cells: that takes a hundred times as long.
    smooth = cv2.resize(small, (width, height), interpolation=cv2.INTER_CUBIC)
    return np.asarray(smooth, dtype=np.uint8)


def _widen(box: Box, width: int, height: int) -> tuple[int, int, int, int]:
    x, y, w, h = box
    dx, dy = round(MARGIN_FRAC * w), round(MARGIN_FRAC * h)
    left, top = max(0, x - dx), max(0, y - dy)
    return left, top, min(width, x + w + dx), min(height, y + h + dy)


class RecentBoxes:
    """Where a video's faces were in the last second.

    A face that the detector misses for a moment stays blurred.
    """

    def __init__(self) -> None:
        self._recent: deque[tuple[float, tuple[Box, ...]]] = deque()

    def add(self, result: FrameResult) -> tuple[Box, ...]:
        """Adds a frame; returns the boxes of the last ``MEMORY_S`` seconds.

        Tracked faces that cannot be found in the frame are among them. Boxes that are
        nearly the same are merged into one that contains them.
        """
        now_s = result.timestamp_s
        boxes = *(face.box_xywh for face in result.faces), *result.hidden
        self._recent.append((now_s, boxes))
        while not 0 <= now_s - self._recent[0][0] <= MEMORY_S:
            self._recent.popleft()
        return _merge(box for _, boxes in reversed(self._recent) for box in boxes)


def _merge(boxes: Iterable[Box]) -> tuple[Box, ...]:
    """Returns fewer boxes that contain all of the given ones."""
    merged: list[Box] = []
    for box in boxes:
        for index, other in enumerate(merged):
            if iou(box, other) >= MIN_IOU:
                merged[index] = _union(box, other)
                break
        else:
            merged.append(box)
    return tuple(merged)


def _union(box: Box, other: Box) -> Box:
    """Returns the smallest box that contains two."""
    left, top = min(box[0], other[0]), min(box[1], other[1])
    right = max(box[0] + box[2], other[0] + other[2])
    bottom = max(box[1] + box[3], other[1] + other[3])
    return left, top, right - left, bottom - top
