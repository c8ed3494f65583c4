"""Which face detectors this environment has."""

from __future__ import annotations

import cv2
import pytest

HAS_HAAR = hasattr(cv2, "CascadeClassifier")
needs_haar = pytest.mark.skipif(not HAS_HAAR, reason="this OpenCV has no cascades")
# For --faces: where any detector will do, one whose answers depend on no other package.
SOME_DETECTOR = "haar" if HAS_HAAR else "yunet"
