"""Video files: every frame, in order, without waiting."""

from __future__ import annotations

import logging
import math
from collections.abc import Iterator
from pathlib import Path

import cv2

from edge_runtime.errors import SourceError
from edge_runtime.preprocessing import Image
from edge_runtime.sources.base import Frame, Kind, usable
from edge_runtime.sources.opencv import fps_of
from edge_runtime.utils.stderr import suppress_stderr

logger = logging.getLogger(__name__)


class VideoSource:
    """A video file in OpenCV's ``VideoCapture``."""

    kind: Kind = "video"
    live = False

    def __init__(self, capture: cv2.VideoCapture, name: str, every: int = 1) -> None:
        """Takes an open capture and reads its first frame.

        Raises:
            SourceError: It has no frame.
        """
        self.name, self.skipped, self.dropped, self.reopened = name, 0, 0, 0
        self._capture, self._every = capture, every
        self._native_fps = fps_of(capture)
        self.fps = self._native_fps / every
        frames = capture.get(cv2.CAP_PROP_FRAME_COUNT)
        self.frame_count = math.ceil(frames / every) if frames > 0 else None
        self._first = self._read()
        if self._first is None:
            capture.release()
            raise SourceError(
                f"{name!r} opens but has no frame:"
                " play it in a video player, or copy it again"
            )

    def __iter__(self) -> Iterator[Frame]:
        """Yields its frames until it ends."""
        index, image, file_name = 0, self._first, Path(self.name).name
        self._first = None
        while image is not None:
            yield Frame(image, index, index / self._native_fps, file_name)
            index += self._every
            # grab() without retrieve() saves the conversion to BGR.
            skipped = all(self._capture.grab() for _ in range(self._every - 1))
            image = self._read() if skipped else None

    def close(self) -> None:
        """Closes the file."""
        self._capture.release()

    def _read(self) -> Image | None:
        try:
            return usable(self._capture.read()[1])
        except cv2.error as error:
            logger.debug("%s: %s", self.name, error)
            return None


def open_video(path: Path) -> cv2.VideoCapture:
    """Returns an open video file.

    Raises:
        SourceError: OpenCV cannot read it.
    """
    with suppress_stderr():
        capture = cv2.VideoCapture(str(path), cv2.CAP_FFMPEG)
        if not capture.isOpened():
            # An OpenCV built for a board may have GStreamer and no FFmpeg.
            capture = cv2.VideoCapture(str(path))
    if capture.isOpened():
        return capture
    raise SourceError(
        f"expected a video, an image or a folder of images, got {str(path)!r},"
        " which OpenCV cannot read: convert it, as with  ffmpeg -i IN out.mp4"
    )
