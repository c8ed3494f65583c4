"""What else the fake camera may see: a picture file, or a video again and again."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np

from edge_runtime.errors import SourceError
from edge_runtime.preprocess import Image
from edge_runtime.sources.fake_scene import Noise, Scene
from edge_runtime.sources.frames import usable
from edge_runtime.sources.pictures import PICTURE_SUFFIXES, read_picture
from edge_runtime.sources.videos import open_video


def open_file_scene(path: str, size_wh: tuple[int, int] | None, *, seed: int) -> Scene:
    """Returns a scene from a file.

    Args:
        path: Of a video or picture.
        size_wh: Width and height to make of it; None for its own.
        seed: Decides a still picture's noise.

    Raises:
        SourceError: It cannot be read.
    """
    file = Path(path)
    if not file.is_file():
        raise SourceError(
            "fake camera: expected scene, a video or a picture,"
            f" got {path!r}, which is no file"
        )
    if file.suffix.lower() not in PICTURE_SUFFIXES:
        return VideoScene(file, size_wh)
    image = read_picture(file)
    if image is None:
        raise SourceError(f"fake camera: {path!r} cannot be decoded: try another file")
    return StillScene(_sized(image, size_wh), seed)


class StillScene:
    """One picture with a sensor's noise on it."""

    def __init__(self, image: Image, seed: int) -> None:
        """Takes uint8 (H, W, 3) BGR and the noise's seed."""
        self._image = image
        self._noise = Noise((image.shape[1], image.shape[0]), seed)

    def picture(self, number: int) -> Image:
        """Returns picture ``number``, uint8 (H, W, 3) BGR, 0..255."""
        return self._noise.on(self._image, number)


class VideoScene:
    """A video that begins again where it ends."""

    def __init__(self, path: Path, size_wh: tuple[int, int] | None) -> None:
        """Opens the file and reads its first picture.

        Args:
            path: Of the video.
            size_wh: Width and height to make of it; None for its own.

        Raises:
            SourceError: It cannot be read.
        """
        self._path, self._size_wh = path, size_wh
        self._length: int | None = None
        self._capture, self._image = self._opened()
        self._at = 0

    def picture(self, number: int) -> Image:
        """Returns picture ``number``, uint8 (H, W, 3) BGR, 0..255.

        Growing numbers are read on; for a smaller one it begins again.
        """
        if self._length is not None:
            number %= self._length
        if number < self._at:
            self._capture, self._image = self._opened()
            self._at = 0
        while self._at < number:
            image = usable(self._capture.read()[1])
            if image is None:
                self._length = self._at + 1
                return self.picture(number)
            self._at, self._image = self._at + 1, _sized(image, self._size_wh)
        return self._image

    def _opened(self) -> tuple[cv2.VideoCapture, Image]:
        capture = open_video(self._path)
        image = usable(capture.read()[1])
        if image is None:
            raise SourceError(
                f"fake camera: {str(self._path)!r} opens but gives no picture:"
                " play it in a video player, or copy it again"
            )
        return capture, _sized(image, self._size_wh)


def _sized(image: Image, size_wh: tuple[int, int] | None) -> Image:
    if size_wh is None:
        return image
    sized = cv2.resize(image, size_wh, interpolation=cv2.INTER_AREA)
    return np.asarray(sized, dtype=np.uint8)
