"""What the fake camera sees: drawn faces that move and change their expression.

Picture n depends on the seed and n alone. Each has noise, as every real sensor does: a
camera that gives the same picture twice is frozen. Both detectors find these faces.
"""

from __future__ import annotations

from pathlib import Path
from typing import Protocol

import cv2
import numpy as np

from edge_runtime.errors import SourceError
from edge_runtime.preprocessing import Image
from edge_runtime.sources.base import usable
from edge_runtime.sources.images import PICTURE_SUFFIXES, read_picture
from edge_runtime.sources.video import open_video

_NOISE_LEVELS = 5

_SECONDS_PER_MOOD = 4.0

_SHIFT = 4  # cv2 takes fixed-point coordinates: sixteenths of a pixel

# Curve of the mouth (up is glad), opening of the mouth, slope and height of the brows.
_MOODS = (
    (0.0, 0.10, 0.0, 0.0),
    (1.0, 0.15, 0.0, 0.1),
    (-0.8, 0.10, 0.5, 0.0),
    (0.0, 1.00, 0.0, 0.6),
    (-0.5, 0.10, -0.7, -0.4),
)


class Scene(Protocol):
    """Pictures by number."""

    def picture(self, number: int) -> Image:
        """Returns picture ``number``, uint8 (H, W, 3) BGR, 0..255."""


class DrawnScene:
    """Faces that move slowly over a shaded wall and change their expression."""

    def __init__(
        self, size_wh: tuple[int, int], fps: float, *, faces: int = 1, seed: int = 0
    ) -> None:
        """Draws what stays the same.

        Args:
            size_wh: Width and height in pixels.
            fps: Pictures per second, for the speed of things.
            faces: How many, side by side.
            seed: Decides faces, paths and noise.
        """
        self._size_wh, self._fps, self._faces = size_wh, fps, faces
        self._noise = Noise(size_wh, seed)
        rng = np.random.default_rng(seed)
        self._phases = rng.uniform(0, 2 * np.pi, (faces, 2))
        self._skin = rng.uniform(0.8, 1.0, faces)
        width, height = size_wh
        across = np.linspace(0.85, 1.1, width)[None, :, None]
        down = np.linspace(1.05, 0.9, height)[:, None, None]
        wall = across * down * np.array([112.0, 104.0, 96.0])
        self._wall = wall.astype(np.uint8)

    def picture(self, number: int) -> Image:
        """Returns picture ``number``, uint8 (H, W, 3) BGR, 0..255."""
        image = self._wall.copy()
        for face in range(self._faces):
            self._draw(image, face, number / self._fps)
        return self._noise.on(image, number)

    def _draw(self, image: Image, face: int, at_s: float) -> None:
        width, height = self._size_wh
        column = width / self._faces
        radius = min(0.27 * height, 0.3 * column)
        sway = np.sin(0.7 * at_s + self._phases[face, 0])
        nod = np.sin(0.9 * at_s + self._phases[face, 1])
        x = column * (face + 0.5) + sway * max(0.0, 0.47 * column - 1.2 * radius)
        y = height / 2 + nod * max(0.0, 0.47 * height - 1.5 * radius)
        draw_face(
            image,
            (float(x), float(y)),
            radius,
            mood=_mood(at_s / _SECONDS_PER_MOOD + face),
            skin=float(self._skin[face]),
        )


def draw_face(
    image: Image,
    center_xy: tuple[float, float],
    radius: float,
    *,
    mood: tuple[float, float, float, float],
    skin: float = 1.0,
) -> None:
    """Draws a face that Haar's cascade finds, into the image.

    Args:
        image: uint8 (H, W, 3) BGR, drawn into.
        center_xy: Between the eyes and the mouth, in pixels.
        radius: Half the face's width in pixels.
        mood: Curve of the mouth (-1..1), its opening (0..1), slope (-1..1) and height
            (-1..1) of the brows.
        skin: Brightness, 0..1.
    """
    curve, opening, slope, lift = mood
    pen = _Pen(image, center_xy, radius, skin)
    pen.blob((0, -0.15), (1.12, 1.42), (35, 40, 50))  # hair
    pen.blob((0, 0.95), (0.5, 0.6), (120, 140, 180))  # neck
    pen.blob((0, 0.05), (1.0, 1.25), (150, 175, 215))
    pen.blob((0, -0.55), (0.8, 0.4), (162, 188, 228))  # forehead
    for side in (-1, 1):
        pen.blob((0.42 * side, -0.2), (0.3, 0.2), (95, 110, 140))  # socket
        pen.blob((0.42 * side, -0.17), (0.2, 0.11), (225, 228, 230))
        pen.blob((0.42 * side, -0.17), (0.1, 0.11), (30, 30, 35))
        brow = -0.42 - 0.1 * lift
        inner, outer = (0.2 * side, brow + 0.12 * slope), (0.66 * side, brow)
        pen.line([inner, outer], 0.11, (40, 45, 55))
        pen.blob((0.5 * side, 0.3), (0.26, 0.2), (160, 186, 230))  # cheek
        pen.blob((0.1 * side, 0.36), (0.07, 0.04), (70, 80, 110))  # nostril
    pen.blob((0, 0.1), (0.1, 0.26), (172, 198, 238))  # nose
    if opening > 0.3:
        pen.blob((0, 0.74), (0.2, 0.2 * opening), (50, 45, 80))
        return
    corners = (-1, -0.75, -0.5, -0.25, 0, 0.25, 0.5, 0.75, 1)
    mouth = [(0.42 * x, 0.72 + curve * (0.08 - 0.15 * x * x)) for x in corners]
    pen.line(mouth, 0.1, (70, 65, 120))


class _Pen:
    """Draws in units of the face's half width, around its centre."""

    def __init__(
        self, image: Image, center_xy: tuple[float, float], radius: float, skin: float
    ) -> None:
        self._image, self._center_xy = image, center_xy
        self._radius, self._skin = radius, skin

    def blob(
        self,
        center: tuple[float, float],
        half_axes: tuple[float, float],
        colour: tuple[int, int, int],
    ) -> None:
        axes = (self._fixed(half_axes[0]), self._fixed(half_axes[1]))
        cv2.ellipse(
            self._image, self._point(center), axes, 0, 0, 360,
            self._lit(colour), -1, cv2.LINE_AA, _SHIFT,
        )  # fmt: skip

    def line(
        self,
        points: list[tuple[float, float]],
        width: float,
        colour: tuple[int, int, int],
    ) -> None:
        path = np.array([self._point(one) for one in points], np.int32)
        thick = max(1, round(width * self._radius))
        cv2.polylines(
            self._image, [path], False, self._lit(colour), thick, cv2.LINE_AA, _SHIFT
        )

    def _lit(self, colour: tuple[int, int, int]) -> tuple[float, float, float]:
        blue, green, red = colour
        return self._skin * blue, self._skin * green, self._skin * red

    def _point(self, at: tuple[float, float]) -> tuple[int, int]:
        x, y = (one / self._radius for one in self._center_xy)
        return self._fixed(x + at[0]), self._fixed(y + at[1])

    def _fixed(self, units: float) -> int:
        return round(units * self._radius * (1 << _SHIFT))


def _mood(moods: float) -> tuple[float, float, float, float]:
    """Returns the mood at a time counted in moods: most of the time one of the list."""
    whole = int(moods)
    share = min(1.0, max(0.0, (moods - whole - 0.8) / 0.2))  # the last fifth: change
    now, then = _MOODS[whole % len(_MOODS)], _MOODS[(whole + 1) % len(_MOODS)]
    curve, opening, slope, lift = (
        (1 - share) * a + share * b for a, b in zip(now, then, strict=True)
    )
    return curve, opening, slope, lift


class Noise:
    """Sensor noise that differs from picture to picture and costs next to nothing."""

    def __init__(self, size_wh: tuple[int, int], seed: int) -> None:
        """Makes one tile of it, wider and higher than a picture."""
        width, height = size_wh
        rng = np.random.default_rng([seed, 1])
        shape = (height + 61, width + 67, 3)
        self._tile = rng.integers(0, _NOISE_LEVELS, shape, dtype=np.uint8)

    def on(self, image: Image, number: int) -> Image:
        """Returns uint8 (H, W, 3) BGR with the noise of picture ``number``."""
        height, width = image.shape[:2]
        down, right = number % 61, number % 67  # repeats after 4,087 pictures
        tile = self._tile[down : down + height, right : right + width]
        return np.asarray(cv2.add(image, tile), dtype=np.uint8)


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
