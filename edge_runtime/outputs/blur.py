"""Faces made unrecognizable, for good."""

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
LEAST_IOU = 0.5  # of two places of a face that are hidden as one


def blurred(image: Image, boxes: Iterable[Box]) -> Image:
    """Returns a copy in which no face can be recognized.

    Each box, widened by ``MARGIN_FRAC``, is reduced to the means of at most
    ``CELLS`` x ``CELLS`` cells, which no method undoes, and interpolated between them
    so that the cells' edges do not distract.

    Args:
        image: uint8 (H, W, 3) BGR or (H, W) grey, 0..255; not changed.
        boxes: Left, top, width, height in pixels; may reach over the edge.
    """
    result = image.copy()
    for box in boxes:
        left, top, right, bottom = _widened(box, image.shape[1], image.shape[0])
        if right > left and bottom > top:
            # From the copy: where boxes overlap, nothing sharp comes back.
            face = result[top:bottom, left:right]
            result[top:bottom, left:right] = _unrecognizable(face)
    return result


def _unrecognizable(face: Image) -> Image:
    height, width = face.shape[:2]
    scale = CELLS / max(height, width, CELLS)
    cells = max(1, round(width * scale)), max(1, round(height * scale))
    if cells == (width, height):  # smaller than the cells: one colour
        cells = (1, 1)
    small = cv2.resize(face, cells, interpolation=cv2.INTER_AREA)
    # Not a Gaussian blur of large cells: that takes a hundred times as long.
    smooth = cv2.resize(small, (width, height), interpolation=cv2.INTER_CUBIC)
    return np.asarray(smooth, dtype=np.uint8)


def _widened(box: Box, width: int, height: int) -> tuple[int, int, int, int]:
    x, y, w, h = box
    dx, dy = round(MARGIN_FRAC * w), round(MARGIN_FRAC * h)
    left, top = max(0, x - dx), max(0, y - dy)
    return left, top, min(width, x + w + dx), min(height, y + h + dy)


class RecentBoxes:
    """Where a video's faces were in the last second: a blink reveals nobody."""

    def __init__(self) -> None:
        """Remembers none."""
        self._seen: deque[tuple[float, tuple[Box, ...]]] = deque()

    def add(self, result: FrameResult) -> tuple[Box, ...]:
        """Takes an answer; returns where faces were in the last ``MEMORY_S`` seconds.

        And where those may be that are not to be seen just now.
        Boxes that are nearly the same are one, which contains them.
        """
        now = result.timestamp_s
        places = *(face.box_xywh for face in result.faces), *result.hidden
        self._seen.append((now, places))
        while not 0 <= now - self._seen[0][0] <= MEMORY_S:
            self._seen.popleft()
        return _united(box for _, boxes in reversed(self._seen) for box in boxes)


def _united(boxes: Iterable[Box]) -> tuple[Box, ...]:
    """Returns few boxes that together contain all of some."""
    found: list[Box] = []
    for box in boxes:
        for index, other in enumerate(found):
            if iou(box, other) >= LEAST_IOU:
                found[index] = _around(box, other)
                break
        else:
            found.append(box)
    return tuple(found)


def _around(box: Box, other: Box) -> Box:
    """Returns the smallest box that contains two."""
    left, top = min(box[0], other[0]), min(box[1], other[1])
    right = max(box[0] + box[2], other[0] + other[2])
    bottom = max(box[1] + box[3], other[1] + other[3])
    return left, top, right - left, bottom - top
