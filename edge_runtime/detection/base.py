"""Where the faces are: YuNet, the Haar cascade, or the whole picture as one face.

Detectors frame a face more or less tightly. A model is trained with one framing, so
each detector's box is turned into the same canonical square: FER2013's framing, which
is what a model's ``crop_margin_frac`` of 0 means.

Measured on 300 random FER2013 training images (48 px crops, enlarged to 192 px, a
replicated border of 60 % around them), the detected box's longer side relative to the
crop and the vertical offset of its centre, medians:

    YuNet  n = 284  side 1.023 (quartiles' distance 0.235)  offset -0.016
    Haar   n = 234  side 0.984 (quartiles' distance 0.118)  offset +0.003

YuNet was measured with face_detection_yunet_2026may.onnx. That is the network of the
2023mar file, which ``fetch-detector`` gets, exported again with a free input size
(opencv_zoo, pull request 310); the 2023mar file itself was not measured.

Enlarged to 96 or 144 px instead, or with other borders, the side moves by up to 0.06
(YuNet) and 0.03 (Haar), and YuNet's offset lies between -0.016 and +0.022, on both
sides of zero: no shift is applied. On the same images YuNet's longer side is 1.06
times Haar's.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple, Protocol

import cv2
import numpy as np

from edge_runtime.detection.boxes import RawBox, clip_box, standard_box
from edge_runtime.preprocessing import Image
from edge_runtime.results import Box

DETECT_WIDTH_PX = 320
DETECT_EVERY = 5  # frames; chosen by measurement, see docs/decisions.md


class Face(NamedTuple):
    """A face in a frame.

    Attributes:
        box_xywh: The canonical square as left, top, width, height in pixels, cut off
            at the frame's edge.
        score: 0..1; 1 for detectors that give none.
        whole: The frame is the face: crop nothing.
    """

    box_xywh: Box
    score: float = 1.0
    whole: bool = False


class FaceDetector(Protocol):
    """Finds faces.

    Attributes:
        name: ``"yunet"``, ``"haar"`` or ``"none"``.
    """

    name: str

    def detect(self, frame: Image) -> list[Face]:
        """Returns the faces in uint8 (H, W, 3) BGR or (H, W) grey, largest first."""


def to_faces(
    found: Iterable[tuple[RawBox, float]],
    *,
    frame_wh: tuple[int, int],
    shrink: float,
    scale: float,
) -> list[Face]:
    """Returns faces, largest first, from what a detector found in a smaller frame.

    Args:
        found: Boxes in the smaller frame's pixels, with scores.
        frame_wh: Width and height of the frame.
        shrink: Smaller frame's width over the frame's.
        scale: See ``standard_box``.
    """
    faces = []
    for (x, y, width, height), score in found:
        raw = (x / shrink, y / shrink, width / shrink, height / shrink)
        box = clip_box(standard_box(raw, scale=scale), frame_wh)
        if box is not None:
            faces.append(Face(box, score))
    return sorted(faces, key=lambda face: (-_area(face.box_xywh), face.box_xywh))


def _area(box: Box) -> int:
    return box[2] * box[3]


def shrunk(frame: Image, width_px: int) -> tuple[Image, float]:
    """Returns the frame at most ``width_px`` wide, and its width over the original's.

    Args:
        frame: uint8 (H, W) or (H, W, 3).
        width_px: Widest allowed; narrower frames stay as they are.
    """
    height, width = frame.shape[:2]
    if width <= width_px:
        return frame, 1.0
    size_wh = (width_px, max(1, round(height * width_px / width)))
    small = cv2.resize(frame, size_wh, interpolation=cv2.INTER_AREA)
    return np.asarray(small, dtype=np.uint8), width_px / width


class WholeImage:
    """Takes each frame as one face, for pictures that are already cut out."""

    name = "none"

    def detect(self, frame: Image) -> list[Face]:
        """Returns one face, the frame."""
        return [Face((0, 0, frame.shape[1], frame.shape[0]), whole=True)]
