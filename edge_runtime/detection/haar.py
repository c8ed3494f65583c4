"""The Haar cascade that comes with OpenCV 4 (Viola and Jones 2001)."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from edge_runtime.detection.base import (
    DETECT_WIDTH_PX,
    YUNET_INSTALL,
    DetectWidth,
    Face,
)
from edge_runtime.detection.boxes import RawBox, same_face, shrink, to_faces
from edge_runtime.errors import MissingDependencyError
from edge_runtime.preprocessing import Image

HAAR_SCALE = 1 / 0.984  # see edge_runtime.detection.boxes
# The smallest face, as a fraction of the frame's shorter side: half of it would take
# about three times as long.
HAAR_MIN_FACE_FRAC = 0.12
HAAR_WINDOW_PX = 24  # of the cascade
_HAAR_FILE = "haarcascade_frontalface_default.xml"


class HaarDetector:
    """The Haar cascade that comes with OpenCV 4 (Viola and Jones 2001)."""

    name = "haar"

    def __init__(self, *, width_px: DetectWidth = DETECT_WIDTH_PX) -> None:
        """Loads the cascade.

        Args:
            width_px: Frames are shrunk to this width before detection; ``"auto"``:
                see ``detection.boxes``.

        Raises:
            MissingDependencyError: This OpenCV has no cascades.
        """
        self._width_px = width_px
        self._cascade = load_cascade()

    def detect(self, frame: Image) -> list[Face]:
        """Returns the faces in uint8 (H, W, 3) BGR or (H, W) grey, largest first."""
        small, shrunk_by = shrink(frame, self._width_px)
        if small.ndim == 3:
            small = np.asarray(cv2.cvtColor(small, cv2.COLOR_BGR2GRAY), dtype=np.uint8)
        min_side = round(HAAR_MIN_FACE_FRAC * min(small.shape))
        boxes, neighbours = self._cascade.detectMultiScale2(
            small, scaleFactor=1.1, minNeighbors=4, minSize=(min_side, min_side)
        )
        return to_faces(
            [(box, 1.0) for box in remove_duplicates(boxes, neighbours)],
            frame_wh=(frame.shape[1], frame.shape[0]),
            shrunk_by=shrunk_by,
            scale=HAAR_SCALE,
        )


def remove_duplicates(
    boxes: Iterable[Sequence[int]], neighbours: Iterable[int]
) -> list[RawBox]:
    """Returns one box per face, those with the most neighbours first.

    Args:
        boxes: The cascade's, as left, top, width and height; often several per face.
        neighbours: How many of its windows were merged into each box.
    """
    pairs = zip(neighbours, boxes, strict=True)
    ordered = sorted(((-int(n), tuple(map(int, box))) for n, box in pairs))
    kept: list[RawBox] = []
    for _, (x, y, width, height) in ordered:
        box = (float(x), float(y), float(width), float(height))
        if not any(same_face(box, other) for other in kept):
            kept.append(box)
    return kept


def load_cascade() -> Any:
    """Returns OpenCV's cascade for frontal faces.

    Raises:
        MissingDependencyError: This OpenCV has no cascades.
    """
    # OpenCV 5 wheels have neither the class nor the files.
    classifier_class = getattr(cv2, "CascadeClassifier", None)
    folder = getattr(getattr(cv2, "data", None), "haarcascades", "")
    if classifier_class is not None and (Path(folder) / _HAAR_FILE).is_file():
        cascade = classifier_class(str(Path(folder) / _HAAR_FILE))
        if not cascade.empty():
            return cascade
    raise MissingDependencyError(
        f"OpenCV {cv2.__version__} has no Haar cascade: run  {YUNET_INSTALL}  (YuNet,"
        " the better detector) or  pip install 'opencv-python-headless<5'; for"
        " the whole picture instead of faces add  --faces none"
    )
