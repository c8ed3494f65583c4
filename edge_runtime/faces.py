"""Where the faces are: YuNet, the Haar cascade, or the whole picture as one face.

Detectors frame a face more or less tightly. A model is trained with one framing, so
each detector's box is turned into the same canonical square: FER2013's framing, which
is what a model's ``crop_margin_frac`` of 0 means.

Measured on 300 random FER2013 training images (48 px crops, enlarged to 192 px, a
replicated border of 60 % around them), the detected box's longer side relative to the
crop and the vertical offset of its centre, medians:

    YuNet 2026may  n = 284  side 1.023 (quartiles' distance 0.235)  offset -0.016
    Haar           n = 234  side 0.984 (quartiles' distance 0.118)  offset +0.003

Enlarged to 96 or 144 px instead, or with other borders, the side moves by up to 0.06
(YuNet) and 0.03 (Haar), and YuNet's offset lies between -0.016 and +0.022, on both
sides of zero: no shift is applied. On the same images YuNet's longer side is 1.06
times Haar's.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import cv2
import numpy as np

from edge_runtime.errors import MissingDependencyError, ModelError
from edge_runtime.preprocess import Image
from edge_runtime.quiet import quiet_stderr

Box = tuple[int, int, int, int]
RawBox = tuple[float, float, float, float]

DETECT_WIDTH_PX = 320
YUNET_LEAST_PX = 64
YUNET_SCALE = 1 / 1.023
HAAR_SCALE = 1 / 0.984
# The smallest face looked for, as a fraction of the frame's shorter side: halving it
# makes the cascade's scan about three times as long.
HAAR_SMALLEST_FRAC = 0.12
_HAAR_FILE = "haarcascade_frontalface_default.xml"


@dataclass(frozen=True)
class Face:
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
    if not np.isfinite(raw_xywh).all():
        return None
    # Round the size, not the far edge: a square stays one.
    left, top = round(x), round(y)
    right = min(frame_wh[0], left + round(width))
    bottom = min(frame_wh[1], top + round(height))
    left, top = max(0, left), max(0, top)
    if right <= left or bottom <= top:
        return None
    return left, top, right - left, bottom - top


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


class YuNetDetector:
    """OpenCV's YuNet (Wu et al. 2023), the better and faster of the two detectors."""

    name = "yunet"

    def __init__(
        self, model: Path, *, width_px: int = DETECT_WIDTH_PX, threshold: float = 0.7
    ) -> None:
        """Loads the network.

        Args:
            model: The detector's ONNX file (face_detection_yunet_*.onnx).
            width_px: Frames are made this wide before detection.
            threshold: Smallest score of a face, 0..1.

        Raises:
            ModelError: The file is missing or is no YuNet model.
            MissingDependencyError: This OpenCV has no ``FaceDetectorYN``.
        """
        self._width_px = width_px
        self._network = _load_yunet(model, threshold)
        self._size_wh = (0, 0)
        try:
            with quiet_stderr():
                self.detect(np.zeros((64, 64, 3), np.uint8))
        except (cv2.error, ValueError, IndexError) as error:
            raise _no_yunet(model) from error

    def detect(self, frame: Image) -> list[Face]:
        """Returns the faces in uint8 (H, W, 3) BGR or (H, W) grey, largest first."""
        small, shrink = shrunk(frame, self._width_px)
        if small.ndim == 2:
            small = np.asarray(cv2.cvtColor(small, cv2.COLOR_GRAY2BGR), dtype=np.uint8)
        small = _padded(small)
        size_wh = (small.shape[1], small.shape[0])
        if size_wh != self._size_wh:
            self._network.setInputSize(size_wh)
            self._size_wh = size_wh
        rows = self._network.detect(small)[1]
        found = [] if rows is None else [_yunet_row(row) for row in rows]
        frame_wh = (frame.shape[1], frame.shape[0])
        return to_faces(found, frame_wh=frame_wh, shrink=shrink, scale=YUNET_SCALE)


def _padded(frame: Image) -> Image:
    """Returns uint8 (H, W, 3) with black added below and to the right, if need be.

    On frames of up to 32 pixels YuNet's last maps have one row or column, and OpenCV
    4.14 gives faces there that come from memory nobody wrote.
    """
    height, width = frame.shape[:2]
    below, right = max(0, YUNET_LEAST_PX - height), max(0, YUNET_LEAST_PX - width)
    if not below and not right:
        return frame
    padded = cv2.copyMakeBorder(frame, 0, below, 0, right, cv2.BORDER_CONSTANT)
    return np.asarray(padded, dtype=np.uint8)


def _yunet_row(row: Any) -> tuple[RawBox, float]:
    # x, y, w, h, five landmarks of two numbers, score
    x, y, width, height = (float(value) for value in row[:4])
    return (x, y, width, height), float(row[14])


def _load_yunet(model: Path, threshold: float) -> Any:
    if not hasattr(cv2, "FaceDetectorYN"):
        raise MissingDependencyError(
            f"YuNet needs OpenCV 4.5.4 or later, got {cv2.__version__}:"
            " run  pip install -U 'opencv-python-headless<5'"
        )
    if not model.is_file():
        raise ModelError(
            f"expected a YuNet file (face_detection_yunet_*.onnx), got {str(model)!r},"
            " which does not exist"
        )
    try:
        with quiet_stderr():
            return cv2.FaceDetectorYN.create(str(model), "", (64, 64), threshold)
    except cv2.error as error:
        raise _no_yunet(model) from error


def _no_yunet(model: Path) -> ModelError:
    return ModelError(
        f"expected a YuNet file (face_detection_yunet_*.onnx), got {str(model)!r},"
        f" which OpenCV {cv2.__version__} cannot use: download it again"
    )


class HaarDetector:
    """The Haar cascade that comes with OpenCV 4 (Viola and Jones 2001)."""

    name = "haar"

    def __init__(self, *, width_px: int = DETECT_WIDTH_PX) -> None:
        """Loads the cascade.

        Args:
            width_px: Frames are made this wide before detection.

        Raises:
            MissingDependencyError: This OpenCV has no cascades.
        """
        self._width_px = width_px
        self._cascade = _load_cascade()

    def detect(self, frame: Image) -> list[Face]:
        """Returns the faces in uint8 (H, W, 3) BGR or (H, W) grey, largest first."""
        small, shrink = shrunk(frame, self._width_px)
        if small.ndim == 3:
            small = np.asarray(cv2.cvtColor(small, cv2.COLOR_BGR2GRAY), dtype=np.uint8)
        smallest = round(HAAR_SMALLEST_FRAC * min(small.shape))
        boxes = self._cascade.detectMultiScale(
            small, scaleFactor=1.1, minNeighbors=4, minSize=(smallest, smallest)
        )
        found = [
            ((float(x), float(y), float(w), float(h)), 1.0) for x, y, w, h in boxes
        ]
        frame_wh = (frame.shape[1], frame.shape[0])
        return to_faces(found, frame_wh=frame_wh, shrink=shrink, scale=HAAR_SCALE)


def _load_cascade() -> Any:
    # OpenCV 5 wheels have neither the class nor the files.
    maker = getattr(cv2, "CascadeClassifier", None)
    folder = getattr(getattr(cv2, "data", None), "haarcascades", "")
    if maker is not None and (Path(folder) / _HAAR_FILE).is_file():
        cascade = maker(str(Path(folder) / _HAAR_FILE))
        if not cascade.empty():
            return cascade
    raise MissingDependencyError(
        f"OpenCV {cv2.__version__} has no Haar cascade: run"
        "  pip install 'opencv-python-headless<5'"
        "  or give a YuNet file with --detector-model"
    )


class WholeImage:
    """Takes each frame as one face, for pictures that are already cut out."""

    name = "none"

    def detect(self, frame: Image) -> list[Face]:
        """Returns one face, the frame."""
        return [Face((0, 0, frame.shape[1], frame.shape[0]), whole=True)]


def open_detector(
    name: str = "auto",
    model: Path | None = None,
    *,
    width_px: int = DETECT_WIDTH_PX,
    threshold: float = 0.7,
) -> FaceDetector:
    """Returns a face detector.

    Args:
        name: ``"yunet"``, ``"haar"``, ``"none"``, or ``"auto"``: YuNet where its file
            is given, else Haar.
        model: YuNet's file.
        width_px: Frames are made this wide before detection.
        threshold: Smallest score of YuNet's faces, 0..1.

    Raises:
        ModelError: YuNet is wanted and its file is not given or not usable.
        MissingDependencyError: This OpenCV lacks the detector.
    """
    if name == "none":
        return WholeImage()
    if name == "yunet" or (name == "auto" and model is not None):
        if model is None:
            raise ModelError(
                "YuNet needs its file: give  --detector-model"
                " face_detection_yunet_2023mar.onnx  (from OpenCV Zoo), or --faces haar"
            )
        return YuNetDetector(model, width_px=width_px, threshold=threshold)
    return HaarDetector(width_px=width_px)
