"""Opens a face detector, and finds the downloaded file of YuNet."""

from __future__ import annotations

import hashlib
import logging
import os
from pathlib import Path

from edge_runtime.detection.base import DETECT_WIDTH_PX, FaceDetector, WholeImage
from edge_runtime.detection.haar import (
    HAAR_MIN_FACE_FRAC,
    HAAR_WINDOW_PX,
    HaarDetector,
)
from edge_runtime.detection.yunet import (
    YUNET_SMALLEST_PX,
    YUNET_THRESHOLD,
    YuNetDetector,
)
from edge_runtime.errors import ModelError
from edge_runtime.untrusted import read_bounded
from edge_runtime.utils.argparser import invocation

logger = logging.getLogger(__name__)

# As OpenCV Zoo publishes it (MIT licence), 232,589 bytes.
YUNET_FILE = "face_detection_yunet_2023mar.onnx"

MAX_YUNET_BYTES = 4 * 2**20

YUNET_SHA256 = "8f2383e4dd3cfbb4553ea8718107fc0423210dc964f9f4280604804ed2552fa4"


def open_detector(
    name: str = "auto",
    model: Path | None = None,
    *,
    width_px: int = DETECT_WIDTH_PX,
    threshold: float = YUNET_THRESHOLD,
) -> FaceDetector:
    """Returns a face detector.

    Args:
        name: ``"yunet"``, ``"haar"``, ``"none"`` (each frame is a face), or ``"auto"``:
            YuNet where its file is given or was downloaded, else Haar.
        model: YuNet's file; None for the downloaded one.
        width_px: Frames are shrunk to this width before detection.
        threshold: Minimum score of YuNet's faces, 0..1.

    Raises:
        ModelError: YuNet's file is missing or not usable.
        MissingDependencyError: This OpenCV lacks the detector.
    """
    if name == "none":
        return WholeImage()
    if name == "haar":
        return HaarDetector(width_px=width_px)
    file = model or fetched_model()
    if file is not None:
        return YuNetDetector(file, width_px=width_px, threshold=threshold)
    if name == "yunet":
        raise ModelError(
            f"YuNet needs its file: run  {invocation()} fetch-detector"
            f"  or give  --detector-model {YUNET_FILE}  (from OpenCV Zoo),"
            " or --faces haar"
        )
    return HaarDetector(width_px=width_px)


def smallest_face_px(name: str, width_px: int, frame_wh: tuple[int, int]) -> int:
    """Returns about the smallest side of a face that a detector finds, in pixels.

    Args:
        name: ``"yunet"`` or ``"haar"``.
        width_px: Frames are shrunk to this width before detection.
        frame_wh: Size of the frames.
    """
    scale = max(1.0, frame_wh[0] / width_px)
    if name == "yunet":
        return round(YUNET_SMALLEST_PX * scale)
    return round(max(HAAR_WINDOW_PX * scale, HAAR_MIN_FACE_FRAC * min(frame_wh)))


def fetched_model() -> Path | None:
    """Returns the path of the downloaded YuNet file; None where there is none.

    One that cannot be read, as in another user's folder, is one line of the log.

    Raises:
        ModelError: It is not the file that OpenCV Zoo publishes.
    """
    path = data_folder() / YUNET_FILE
    try:
        content = read_bounded(path, MAX_YUNET_BYTES)
    except FileNotFoundError:
        return None
    except OSError as error:
        logger.warning("YuNet is left out: cannot read %s: %s", path, error.strerror)
        return None
    if hashlib.sha256(content).hexdigest() != YUNET_SHA256:
        raise ModelError(
            f"{str(path)!r} is not the file that OpenCV Zoo publishes: run"
            f"  {invocation()} fetch-detector --force"
        )
    return path


def data_folder() -> Path:
    """Returns the folder for this user's downloads, which may not exist.

    See the XDG Base Directory Specification: $XDG_DATA_HOME, else ~/.local/share.
    """
    base = os.environ.get("XDG_DATA_HOME", "")
    if Path(base).is_absolute():
        return Path(base) / "fer-edge"
    return Path("~/.local/share/fer-edge").expanduser()
