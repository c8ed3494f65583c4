"""The YuNet face detector (Wu et al. 2023), run by OpenCV."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import cv2
import numpy as np

from edge_runtime.detection.base import DETECT_WIDTH_PX, DetectWidth, Face
from edge_runtime.detection.boxes import RawBox, shrink, to_faces
from edge_runtime.errors import MissingDependencyError, ModelError
from edge_runtime.preprocessing import Image
from edge_runtime.utils.stderr import suppress_stderr

YUNET_SCALE = 1 / 1.023  # see edge_runtime.detection.boxes
YUNET_MIN_PX = 64
YUNET_THRESHOLD = 0.7
YUNET_SMALLEST_PX = 15  # side of a face in the shrunk frame; measured


class YuNetDetector:
    """OpenCV's YuNet (Wu et al. 2023), the better and faster of the two detectors."""

    name = "yunet"

    def __init__(
        self,
        model: Path,
        *,
        width_px: DetectWidth = DETECT_WIDTH_PX,
        threshold: float = YUNET_THRESHOLD,
    ) -> None:
        """Loads the network.

        Args:
            model: The detector's ONNX file (face_detection_yunet_*.onnx).
            width_px: Frames are shrunk to this width before detection; ``"auto"``:
                see ``detection.boxes``.
            threshold: Minimum score of a face, 0..1.

        Raises:
            ModelError: The file is missing or is not a YuNet model.
            MissingDependencyError: This OpenCV has no ``FaceDetectorYN``.
        """
        self._width_px = width_px
        self._network = _load_yunet(model, threshold)
        self._size_wh = (0, 0)
        try:
            with suppress_stderr():
                self.detect(np.zeros((64, 64, 3), np.uint8))
        except (cv2.error, ValueError, IndexError) as error:
            raise _not_yunet(model) from error

    def detect(self, frame: Image) -> list[Face]:
        """Returns the faces in uint8 (H, W, 3) BGR or (H, W) grey, largest first."""
        small, shrunk_by = shrink(frame, self._width_px)
        if small.ndim == 2:
            small = np.asarray(cv2.cvtColor(small, cv2.COLOR_GRAY2BGR), dtype=np.uint8)
        small = _pad(small)
        size_wh = (small.shape[1], small.shape[0])
        if size_wh != self._size_wh:
            self._network.setInputSize(size_wh)
            self._size_wh = size_wh
        rows = self._network.detect(small)[1]
        return to_faces(
            [] if rows is None else [_box_and_score(row) for row in rows],
            frame_wh=(frame.shape[1], frame.shape[0]),
            shrunk_by=shrunk_by,
            scale=YUNET_SCALE,
        )


def _pad(frame: Image) -> Image:
    """Returns uint8 (H, W, 3), padded with black below and to the right if too small.

    On frames of up to 32 pixels YuNet's last feature maps have one row or column, and
    OpenCV 4.14 returns faces there that come from uninitialized memory.
    """
    height, width = frame.shape[:2]
    below, right = max(0, YUNET_MIN_PX - height), max(0, YUNET_MIN_PX - width)
    if not below and not right:
        return frame
    padded = cv2.copyMakeBorder(frame, 0, below, 0, right, cv2.BORDER_CONSTANT)
    return np.asarray(padded, dtype=np.uint8)


def _box_and_score(row: Any) -> tuple[RawBox, float]:
    # x, y, w, h, five landmarks of two numbers, score
    x, y, width, height = (float(value) for value in row[:4])
    return (x, y, width, height), float(row[14])


def _load_yunet(model: Path, threshold: float) -> Any:
    if not hasattr(cv2, "FaceDetectorYN"):
        raise MissingDependencyError(
            f"YuNet needs OpenCV 4.5.4 or later, got {cv2.__version__}:"
            " run  pip install -U opencv-python-headless"
        )
    if not model.is_file():
        raise ModelError(
            f"expected a YuNet file (face_detection_yunet_*.onnx), got {str(model)!r},"
            f" which {'is not a file' if model.exists() else 'does not exist'}"
        )
    try:
        with suppress_stderr():
            return cv2.FaceDetectorYN.create(str(model), "", (64, 64), threshold)
    except cv2.error as error:
        raise _not_yunet(model) from error


def _not_yunet(model: Path) -> ModelError:
    return ModelError(
        f"expected a YuNet file (face_detection_yunet_*.onnx), got {str(model)!r},"
        f" which OpenCV {cv2.__version__} cannot use: download it again"
    )
