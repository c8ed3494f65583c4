"""What the fake camera sees: drawn faces that move and change their expression.

Frame n depends on the seed and n alone. Each has noise, as that of a real sensor: a
camera that gives the same frame twice is frozen. Both detectors find these faces.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from pathlib import Path

import cv2
import numpy as np

from edge_runtime.errors import SourceError
from edge_runtime.preprocessing import Image
from edge_runtime.sources.fake.face import (
    PROTOTYPES,
    DrawnFace,
    Expression,
    Identity,
    interpolate,
    sample_identity,
)
from edge_runtime.sources.fake.face_painter import FaceSprite, draw_sprite
from edge_runtime.sources.images import read_image
from edge_runtime.sources.video import VideoSource, open_video
from edge_runtime.utils.picture_kinds import SUFFIXES

_NOISE_LEVELS = 5
_WALL_BGR = (112, 104, 96)
_SECONDS_PER_EXPRESSION = 4.0
_STEPS_OF_CHANGE = 4  # from one expression to the next, in the last fifth of its time
_ORDER = ("neutral", "happy", "sad", "surprise", "angry", "disgust", "fear")
_INTENSITY = 0.85
_EXPRESSIONS = [
    interpolate(Expression(), PROTOTYPES[label][0], _INTENSITY) for label in _ORDER
]


# Returns frame ``number``, uint8 (H, W, 3) BGR, 0..255.
RenderFrame = Callable[[int], Image]


class DrawnScene:
    """Faces that move slowly over a shaded wall and change their expression."""

    def __init__(
        self, size_wh: tuple[int, int], fps: float, *, faces: int = 1, seed: int = 0
    ) -> None:
        """Draws the wall and chooses the people; ``fps`` sets how fast they move."""
        self._size_wh, self._fps = size_wh, fps
        self._noise = Noise(size_wh, seed)
        rng = np.random.default_rng(seed)
        self._phases = rng.uniform(0, 2 * np.pi, (faces, 2))
        self._people = [_sample_person(rng) for _ in range(faces)]
        self._sprites: dict[int, tuple[tuple[float, int], FaceSprite]] = {}
        self._wall = _draw_wall(size_wh)

    def render(self, number: int) -> Image:
        """Returns frame ``number``, uint8 (H, W, 3) BGR, 0..255."""
        image = self._wall.copy()
        for index in range(len(self._people)):
            self._add_face(image, index, number / self._fps)
        return self._noise.add_to(image, number)

    def _add_face(self, image: Image, index: int, at_s: float) -> None:
        width, height = self._size_wh
        column = width / len(self._people)
        radius = min(0.27 * height, 0.3 * column)
        sway = np.sin(0.7 * at_s + self._phases[index, 0])
        nod = np.sin(0.9 * at_s + self._phases[index, 1])
        x = column * (index + 0.5) + sway * max(0.0, 0.47 * column - 1.2 * radius)
        y = height / 2 + nod * max(0.0, 0.47 * height - 1.5 * radius)
        self._sprite(index, at_s, radius).paste(image, (float(x), float(y)))

    def _sprite(self, index: int, at_s: float, radius_px: float) -> FaceSprite:
        """Returns the sprite of a face at a time; it is painted when it changes."""
        number, part = divmod(at_s / _SECONDS_PER_EXPRESSION + index, 1.0)
        step = math.ceil(max(0.0, part - 0.8) / 0.2 * _STEPS_OF_CHANGE)
        shown, sprite = self._sprites.get(index, (None, None))
        if sprite is None or shown != (number, step):
            person = self._people[index]
            face = DrawnFace(person, _expression(int(number), step / _STEPS_OF_CHANGE))
            sprite = draw_sprite(face, radius_px / person.head_width)
            self._sprites[index] = (number, step), sprite
        return sprite


def _draw_wall(size_wh: tuple[int, int]) -> Image:
    across = np.linspace(0.85, 1.1, size_wh[0], dtype=np.float32)
    down = np.linspace(1.05, 0.9, size_wh[1], dtype=np.float32)
    light = np.outer(down, across)
    channels = [cv2.convertScaleAbs(light, alpha=level) for level in _WALL_BGR]
    return np.asarray(cv2.merge(channels), dtype=np.uint8)


def _expression(number: int, weight: float) -> Expression:
    """Returns expression ``number`` on its way to the next."""
    count = len(_EXPRESSIONS)
    now, then = _EXPRESSIONS[number % count], _EXPRESSIONS[(number + 1) % count]
    return interpolate(now, then, weight)


def _sample_person(rng: np.random.Generator) -> Identity:
    """Returns a person whose face both detectors find with any expression."""
    person = sample_identity(rng)
    return person._replace(
        skin_tone=rng.uniform(170, 200),
        hair_style=1 + person.hair_style % 2,
        hair_line=-0.75,
        glasses=0,
        beard=0.0,
        moustache=0,
    )


class Noise:
    """Cheap sensor noise that differs from frame to frame: a tile that moves."""

    def __init__(self, size_wh: tuple[int, int], seed: int) -> None:
        """Draws the tile, wider and higher than a frame."""
        width, height = size_wh
        rng = np.random.default_rng([seed, 1])
        shape = (height + 61, width + 67, 3)
        self._tile = rng.integers(0, _NOISE_LEVELS, shape, dtype=np.uint8)

    def add_to(self, image: Image, number: int) -> Image:
        """Returns uint8 (H, W, 3) BGR with the noise of frame ``number``."""
        height, width = image.shape[:2]
        down, right = number % 61, number % 67  # repeats after 4,087 frames
        tile = self._tile[down : down + height, right : right + width]
        return np.asarray(cv2.add(image, tile), dtype=np.uint8)


def open_file_scene(
    path: str, size_wh: tuple[int, int] | None, *, seed: int
) -> RenderFrame:
    """Returns the scene of a video or an image, resized where a size is given.

    Raises:
        SourceError: It cannot be read.
    """
    file = Path(path)
    if not file.is_file():
        raise SourceError(
            "fake camera: expected scene, a video or an image,"
            f" got {path!r}, which is not a file"
        )
    if file.suffix.lower() not in SUFFIXES - {".gif"}:  # it may have many images
        return VideoScene(file, size_wh).render
    try:
        image = read_image(file)
    except SourceError as error:
        raise SourceError(f"fake camera: {error}") from error
    still = _resize(image, size_wh)
    return partial(Noise((still.shape[1], still.shape[0]), seed).add_to, still)


class VideoScene:
    """A video in a loop."""

    def __init__(self, path: Path, size_wh: tuple[int, int] | None) -> None:
        """Opens the file and reads its first frame; frames are resized to ``size_wh``.

        Raises:
            SourceError: It cannot be read.
        """
        self._path, self._size_wh = path, size_wh
        self._length: int | None = None
        self._restart()

    def render(self, number: int) -> Image:
        """Returns frame ``number``, uint8 (H, W, 3) BGR, 0..255.

        A number smaller than the last one reopens the file.
        """
        if self._length is not None:
            number %= self._length
        if number < self._number:
            self._restart()
        while self._number < number:
            frame = next(self._frames, None)
            if frame is None:
                self._length = self._number + 1
                return self.render(number)
            self._number += 1
            self._image = _resize(frame.image, self._size_wh)
        return self._image

    def _restart(self) -> None:
        self._frames = iter(VideoSource(open_video(self._path), str(self._path)))
        self._number = 0
        self._image = _resize(next(self._frames).image, self._size_wh)


def _resize(image: Image, size_wh: tuple[int, int] | None) -> Image:
    if size_wh is None:
        return image
    resized = cv2.resize(image, size_wh, interpolation=cv2.INTER_AREA)
    return np.asarray(resized, dtype=np.uint8)
