"""Boxes as left, top, width and height in pixels; a detector's boxes become faces.

Detectors frame a face more or less tightly. A model is trained with one framing, so
each detector's box is turned into the same canonical square: FER2013's framing, which
is what a model's ``crop_margin_frac`` of 0 means.

Measured on 300 random FER2013 training images (48 px crops, enlarged to 192 px, a
replicated border of 60 % around them): the longer side of the detected box relative to
the crop, and the vertical offset of its centre, medians:

    YuNet  n = 284  side 1.023 (interquartile range 0.235)  offset -0.016
    Haar   n = 234  side 0.984 (interquartile range 0.118)  offset +0.003

YuNet was measured with face_detection_yunet_2026may.onnx. That is the network of the
2023mar file, which fer-edge[yunet] installs, exported again with a free input size
(opencv_zoo, pull request 310); the 2023mar file itself was not measured.

Enlarged to 96 or 144 px instead, or with other borders, the side changes by up to 0.06
(YuNet) and 0.03 (Haar), and YuNet's offset lies between -0.016 and +0.022, on both
sides of zero: no shift is applied. On the same images YuNet's longer side is 1.06
times Haar's.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any, cast

import cv2

from edge_runtime.detection.base import AUTO_WIDTHS_PX, DetectWidth, Face
from edge_runtime.preprocessing import Image, resize_upright, upright
from edge_runtime.results import Box

RawBox = tuple[float, float, float, float]

# Two boxes of one detector that overlap more than this are the same face.
DUPLICATE_IOU = 0.4
DUPLICATE_INSIDE = 0.7  # part of the smaller box that lies in the other


def detect_width_px(width: DetectWidth, frame_width: int) -> int:
    """Returns the width in pixels that a frame is shrunk to for the detector.

    ``"auto"`` is half of the frame's own, within ``AUTO_WIDTHS_PX``: smaller faces than
    are found then have fewer pixels than most networks take.
    """
    if width != "auto":
        return width
    least, most = AUTO_WIDTHS_PX
    return min(most, max(least, frame_width // 2))


def shrink(frame: Image, detect_width: DetectWidth) -> tuple[Image, float]:
    """Returns the frame at most so wide, and its width over the original's.

    Args:
        frame: uint8 (H, W) or (H, W, 3).
        detect_width: Maximum width; narrower frames keep their size.
    """
    height, width = frame.shape[:2]
    width_px = detect_width_px(detect_width, width)
    if width <= width_px:
        return upright(frame), 1.0
    size_wh = (width_px, max(1, round(height * width_px / width)))
    return resize_upright(frame, size_wh, _halve_and_shrink), width_px / width


def _halve_and_shrink(image: Image, size_wh: tuple[int, int]) -> Any:
    """Returns a smaller image, for a detector as good as ``INTER_AREA`` makes it.

    That one is fast only where sides are halved. Interpolation is fast and exact, but
    skips pixels where much is left to shrink: a detector then finds fewer faces.
    """
    width, height = size_wh
    while image.shape[1] >= 2 * width and image.shape[0] >= 2 * height:
        half_wh = image.shape[1] // 2, image.shape[0] // 2
        image = cast(Image, cv2.resize(image, half_wh, interpolation=cv2.INTER_AREA))
    if image.shape[1::-1] == size_wh:
        return image
    # One pixel more: sizes are rounded. Both sides alike: a turned frame has them so.
    little = image.shape[1] <= 1.5 * width + 1 and image.shape[0] <= 1.5 * height + 1
    how = cv2.INTER_LINEAR_EXACT if little else cv2.INTER_AREA
    return cv2.resize(image, size_wh, interpolation=how)


def to_faces(
    detections: Iterable[tuple[RawBox, float]],
    *,
    frame_wh: tuple[int, int],
    shrunk_by: float,
    scale: float,
) -> list[Face]:
    """Returns faces, largest first, from the boxes that a detector found.

    Args:
        detections: Boxes in the pixels of a shrunk frame, with scores.
        frame_wh: Width and height of the original frame.
        shrunk_by: The shrunk frame's width over the original's.
        scale: See ``canonical_box``.
    """
    faces = []
    for raw_box, score in detections:
        x, y, width, height = (value / shrunk_by for value in raw_box)
        box = clip_box(canonical_box((x, y, width, height), scale=scale), frame_wh)
        if box is not None:
            faces.append(Face(box, score))
    return sorted(faces, key=lambda face: (-_area(face.box_xywh), face.box_xywh))


def canonical_box(raw_xywh: RawBox, *, scale: float) -> RawBox:
    """Returns the canonical square for a detector's box, around the same centre.

    Args:
        raw_xywh: The detector's box.
        scale: The square's side over the box's longer side.
    """
    x, y, width, height = raw_xywh
    side = max(width, height) * scale
    return x + (width - side) / 2, y + (height - side) / 2, side, side


def clip_box(raw_xywh: RawBox, frame_wh: tuple[int, int]) -> Box | None:
    """Returns the part of a box inside the frame, in whole pixels; None where empty.

    Args:
        raw_xywh: The box in the frame's pixels.
        frame_wh: Width and height of the frame.
    """
    x, y, width, height = raw_xywh
    if not all(map(math.isfinite, raw_xywh)):
        return None
    # Round the size, not the far edge, so that a square stays one.
    left, top = round(x), round(y)
    right = min(frame_wh[0], left + round(width))
    bottom = min(frame_wh[1], top + round(height))
    left, top = max(0, left), max(0, top)
    if right <= left or bottom <= top:
        return None
    return left, top, right - left, bottom - top


def intersection(first: RawBox, second: RawBox) -> float:
    """Returns the area that two boxes have in common, in square pixels."""
    left, top = max(first[0], second[0]), max(first[1], second[1])
    width = min(first[0] + first[2], second[0] + second[2]) - left
    height = min(first[1] + first[3], second[1] + second[3]) - top
    return width * height if width > 0 and height > 0 else 0.0


def iou(first: RawBox, second: RawBox) -> float:
    """Returns the intersection of two boxes over their union, 0..1."""
    common = intersection(first, second)
    return common / (_area(first) + _area(second) - common) if common > 0 else 0.0


def same_face(first: RawBox, second: RawBox) -> bool:
    """Returns whether two boxes of one detector must be the same face.

    They overlap much, or one lies inside the other: two heads never do.
    """
    common = intersection(first, second)
    if common <= 0:
        return False
    inside = common / min(_area(first), _area(second))
    return iou(first, second) > DUPLICATE_IOU or inside > DUPLICATE_INSIDE


def _area(box: RawBox) -> float:
    return box[2] * box[3]
