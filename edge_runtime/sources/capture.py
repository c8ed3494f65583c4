"""What cameras, streams and video files in OpenCV's ``VideoCapture`` have in common."""

from __future__ import annotations

import math
import os

import cv2

from edge_runtime.sources.frames import FALLBACK_FPS

_AV_LOG_QUIET = "-8"
_CV_LOG_SILENT = 0


def fps_of(capture: cv2.VideoCapture) -> float:
    """Returns a capture's frames per second; 25 where it says nothing sensible."""
    fps = capture.get(cv2.CAP_PROP_FPS)
    return fps if math.isfinite(fps) and 0.1 <= fps <= 1000 else FALLBACK_FPS


def quiet_opencv() -> None:
    """Stops OpenCV and FFmpeg from writing to stderr, for the life of the process.

    A camera that is gone would make them write at each attempt to open it; what went
    wrong is said once, by us. Set FER_EDGE_VERBOSE=1 to see everything.
    """
    if not os.environ.get("FER_EDGE_VERBOSE"):
        os.environ.setdefault("OPENCV_FFMPEG_LOGLEVEL", _AV_LOG_QUIET)
        # OpenCV 4.11, the last for NumPy 1, has it in another place.
        getattr(cv2.utils, "logging", cv2).setLogLevel(_CV_LOG_SILENT)
