"""Rectangles: left, top, width and height in pixels."""

from __future__ import annotations

import math

from edge_runtime.results import Box

RawBox = tuple[float, float, float, float]


def standard_box(raw_xywh: RawBox, *, scale: float) -> RawBox:
    """Returns the canonical square for a detector's box: same centre, scaled side.

    Args:
        raw_xywh: Left, top, width and height as the detector gave them.
        scale: Canonical side over the box's longer side.
    """
    x, y, width, height = raw_xywh
    side = max(width, height) * scale
    return x + (width - side) / 2, y + (height - side) / 2, side, side


def clip_box(raw_xywh: RawBox, frame_wh: tuple[int, int]) -> Box | None:
    """Returns the part of a box inside the frame, in whole pixels; None where empty.

    Args:
        raw_xywh: Left, top, width and height in the frame's pixels.
        frame_wh: Width and height of the frame.
    """
    x, y, width, height = raw_xywh
    if not all(map(math.isfinite, raw_xywh)):
        return None
    # Round the size, not the far edge: a square stays one.
    left, top = round(x), round(y)
    right = min(frame_wh[0], left + round(width))
    bottom = min(frame_wh[1], top + round(height))
    left, top = max(0, left), max(0, top)
    if right <= left or bottom <= top:
        return None
    return left, top, right - left, bottom - top


def intersection(one: RawBox, other: RawBox) -> float:
    """Returns the area that two boxes have in common, in square pixels."""
    across = min(one[0] + one[2], other[0] + other[2]) - max(one[0], other[0])
    down = min(one[1] + one[3], other[1] + other[3]) - max(one[1], other[1])
    return across * down if across > 0 and down > 0 else 0.0


def iou(one: RawBox, other: RawBox) -> float:
    """Returns the intersection of two boxes over their union, 0..1."""
    common = intersection(one, other)
    if common <= 0:
        return 0.0
    return common / (one[2] * one[3] + other[2] * other[3] - common)


def same_face(one: RawBox, other: RawBox) -> bool:
    """Returns whether two boxes of one detector must be the same face.

    They overlap much, or one lies inside the other: two heads never do.
    """
    common = intersection(one, other)
    if common <= 0:
        return False
    smaller = min(one[2] * one[3], other[2] * other[3])
    return iou(one, other) > 0.4 or common / smaller > 0.7
