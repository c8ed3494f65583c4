"""Which face detector a run uses, and where its file is."""

from __future__ import annotations

import argparse
import hashlib
import os
from pathlib import Path

from edge_runtime import flags
from edge_runtime.errors import ModelError, OutputError
from edge_runtime.faces import (
    DETECT_EVERY,
    DETECT_WIDTH_PX,
    FaceDetector,
    WholeImage,
)
from edge_runtime.haar import HaarDetector
from edge_runtime.typed import own_command
from edge_runtime.yunet import YUNET_THRESHOLD, YuNetDetector

# As OpenCV Zoo publishes it (MIT licence), 232,589 bytes.
YUNET_FILE = "face_detection_yunet_2023mar.onnx"
YUNET_SHA256 = "8f2383e4dd3cfbb4553ea8718107fc0423210dc964f9f4280604804ed2552fa4"


def add_face_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds what says how faces are found."""
    add = parser.add_argument_group("faces").add_argument
    add(
        "--faces",
        choices=("auto", "yunet", "haar", "none"),
        default="auto",
        help="detector; none: each frame is a face (default: yunet with"
        " --detector-model or after fetch-detector, else haar)",
    )
    add(
        "--detector-model",
        type=flags.path,
        metavar="FILE",
        help="face_detection_yunet_*.onnx",
    )
    add(
        "--detect-width",
        type=flags.positive,
        default=DETECT_WIDTH_PX,
        metavar="PX",
        help=f"detect on frames this wide (default: {DETECT_WIDTH_PX})",
    )
    add(
        "--detect-every",
        type=flags.positive,
        metavar="N",
        help="detect on each n-th frame and follow the faces in between"
        f" (default: {DETECT_EVERY}; 1 with --privacy blur)",
    )
    add(
        "--detect-waits",
        action="store_true",
        help="each frame of a camera waits for the detector, as those of files and with"
        " --privacy blur; else only where the next frame is far off",
    )


def detect_every(args: argparse.Namespace) -> int:
    """Returns how many frames it is from one run of the detector to the next.

    Args:
        args: With ``detect_every`` and ``privacy``.

    Raises:
        OutputError: Faces are to be blurred, and frames in which nobody looks for them
            were asked for: a new face would be shown in those.
    """
    if args.privacy != "blur":
        return args.detect_every or DETECT_EVERY
    if args.detect_every not in (None, 1):
        raise OutputError(
            "--privacy blur needs the detector on every frame, got --detect-every"
            f" {args.detect_every}: leave it out"
        )
    return 1


def frames_wait(args: argparse.Namespace, *, live: bool) -> bool:
    """Returns whether every frame waits for the detector.

    Frames of files do, so that their answers do not depend on its speed, and frames in
    which faces are to be blurred.

    Args:
        args: With ``detect_waits`` and ``privacy``.
        live: The frames come whether or not anyone takes them.
    """
    return args.detect_waits or args.privacy == "blur" or not live


def open_detector(
    name: str = "auto",
    model: Path | None = None,
    *,
    width_px: int = DETECT_WIDTH_PX,
    threshold: float = YUNET_THRESHOLD,
) -> FaceDetector:
    """Returns a face detector.

    Args:
        name: ``"yunet"``, ``"haar"``, ``"none"``, or ``"auto"``: YuNet where its file
            is given or was fetched, else Haar.
        model: YuNet's file; None takes the fetched one.
        width_px: Frames are made this wide before detection.
        threshold: Smallest score of YuNet's faces, 0..1.

    Raises:
        ModelError: YuNet is wanted and its file is not given or not usable.
        MissingDependencyError: This OpenCV lacks the detector.
    """
    if name == "none":
        return WholeImage()
    if name == "haar":
        return HaarDetector(width_px=width_px)
    found = model or fetched_model()
    if found is not None:
        return YuNetDetector(found, width_px=width_px, threshold=threshold)
    if name == "yunet":
        raise ModelError(
            f"YuNet needs its file: run  {own_command()} fetch-detector"
            f"  or give  --detector-model {YUNET_FILE}  (from OpenCV Zoo),"
            " or --faces haar"
        )
    return HaarDetector(width_px=width_px)


def fetched_model() -> Path | None:
    """Returns the path of the detector that was fetched, None where none was.

    Raises:
        ModelError: It is there and is not the file that was fetched.
    """
    path = data_folder() / YUNET_FILE
    try:
        content = path.read_bytes()
    except OSError:
        return None
    if hashlib.sha256(content).hexdigest() != YUNET_SHA256:
        raise ModelError(
            f"{str(path)!r} is not the file that OpenCV Zoo publishes: run"
            f"  {own_command()} fetch-detector --force"
        )
    return path


def data_folder() -> Path:
    """Returns the folder for what is downloaded for this user; it may not exist.

    By the XDG Base Directory Specification: $XDG_DATA_HOME, else ~/.local/share.
    """
    base = os.environ.get("XDG_DATA_HOME", "")
    if Path(base).is_absolute():
        return Path(base) / "fer-edge"
    return Path("~/.local/share/fer-edge").expanduser()
