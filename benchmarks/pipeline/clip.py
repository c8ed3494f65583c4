"""The clip that pipelines are measured on: drawn faces before a textured background.

Nobody real is in it. A Haar cascade's time depends on the picture: smooth areas are
dismissed at once, edges are not. The background therefore follows the dead leaves model
of natural pictures (Lee, Mumford and Huang 2001), and each frame has noise, as a
camera's has.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from edge_runtime.errors import OutputError
from edge_runtime.preprocessing import Image
from edge_runtime.sources import open_source
from edge_runtime.sources.base import EndOfSource
from edge_runtime.sources.clock import Clock
from edge_runtime.sources.fake.face import (
    LABELS,
    Expression,
    Face,
    Identity,
    interpolate,
    sample_expression,
    sample_identity,
)
from edge_runtime.sources.fake.face_painter import draw_sprite
from edge_runtime.sources.live import LiveSource

FRAME_WH = (640, 480)

FPS = 30

FRAMES = 240

SEED = 5

FRAMES_PER_EXPRESSION = 45

FRAMES_OF_CHANGE = 8

LEAVES = 1500

SMALLEST_LEAF_PX = 10.0

LEAF_RANGE = 0.998  # the largest is 22 times as large

CONTRAST = 35.0  # standard deviation of a leaf's tone in grey levels

NOISE = 3.0


@dataclass(frozen=True)
class Person:
    """Somebody who is drawn.

    Attributes:
        identity: Who it is.
        expressions: What is shown, one after the other.
        unit_px: Half the height of the head in pixels.
    """

    identity: Identity
    expressions: tuple[Expression, ...]
    unit_px: float

    def at(self, index: int) -> Face:
        """Returns the face of a frame."""
        number, step = divmod(index, FRAMES_PER_EXPRESSION)
        weight = min(1.0, step / FRAMES_OF_CHANGE)
        first = self.expressions[number % len(self.expressions)]
        second = self.expressions[(number + 1) % len(self.expressions)]
        return Face(self.identity, interpolate(first, second, weight))


def write_clip(path: Path, frames: int = FRAMES, seed: int = SEED) -> None:
    """Writes a video of one moving person; another comes and goes.

    Args:
        path: An ``.avi`` file; the same frames and seed give the same pictures.
        frames: How many.
        seed: Decides the people, the background and the noise.

    Raises:
        OutputError: OpenCV cannot write it.
    """
    rng = np.random.default_rng(seed)
    ground = textured(rng)
    people = [_person(rng, 83), _person(rng, 64)]
    fourcc = cv2.VideoWriter.fourcc(*"MJPG")
    video = cv2.VideoWriter(str(path), fourcc, FPS, FRAME_WH)
    if not video.isOpened():
        raise OutputError(f"cannot write {path}: this OpenCV has no MJPG encoder")
    try:
        for index in range(frames):
            picture = ground.copy()
            for person, centre in zip(people, centres(index, frames), strict=True):
                if centre is not None:
                    draw_sprite(person.at(index), person.unit_px).paste(picture, centre)
            noisy = picture + rng.normal(0, NOISE, picture.shape)
            video.write(np.clip(noisy, 0, 255).astype(np.uint8))
    finally:
        video.release()


def centres(index: int, frames: int) -> list[tuple[float, float] | None]:
    """Returns where the heads are, in pixels; None for somebody who is not there.

    The first sways, at most at about two and a half face widths a second; the other
    walks through the picture in the middle half of the clip.
    """
    time_s = index / FPS
    first = (
        230 + 130 * math.sin(2.1 * time_s) + 15 * math.sin(7 * time_s),
        225 + 40 * math.sin(1.3 * time_s),
    )
    share = (index / frames - 0.25) / 0.5
    if not 0 <= share <= 1:
        return [first, None]
    return [first, (720 - 220 * math.sin(math.pi * share), 240 + 60 * share)]


def textured(rng: np.random.Generator) -> Image:
    """Returns a background of leaves that lie on each other, uint8 (H, W, 3) BGR.

    Their sizes have the density r^-3, which gives the statistics of natural pictures:
    edges of all sizes and smooth areas between them.
    """
    width, height = FRAME_WH
    picture = np.zeros((height, width, 3), np.uint8)
    for _ in range(LEAVES):
        radius = SMALLEST_LEAF_PX / math.sqrt(1 - rng.random() * LEAF_RANGE)
        centre = rng.uniform(0, width), rng.uniform(0, height)
        axes = (2 * radius, 2 * radius * rng.uniform(0.3, 1))
        grey = rng.normal(115, CONTRAST)
        colour = np.clip(grey + rng.normal(0, 12, 3), 0, 255).tolist()
        leaf = (centre, axes, rng.uniform(0, 180))
        if rng.random() < 0.5:
            cv2.ellipse(picture, leaf, colour, cv2.FILLED, cv2.LINE_AA)
        else:
            corners = cv2.boxPoints(leaf).astype(np.int32)
            cv2.fillConvexPoly(picture, corners, colour, cv2.LINE_AA)
    return np.asarray(cv2.GaussianBlur(picture, (0, 0), 1.5), dtype=np.uint8)  # a lens


def _person(rng: np.random.Generator, unit_px: float) -> Person:
    identity = sample_identity(rng)
    shown = [sample_expression(label, rng, intensity=0.9) for label in LABELS]
    return Person(identity, tuple(shown), unit_px)


class ClipReader:
    """A reader that gives pictures at a rate, all that are due, in order.

    Attributes:
        fps: Pictures per second.
    """

    def __init__(
        self, pictures: Sequence[Image], fps: float, clock: Clock, *, endless: bool
    ) -> None:
        """Starts now.

        Args:
            pictures: The clip's, uint8 (H, W, 3) BGR, ``FPS`` of which last a second.
            fps: How many a second to give.
            clock: By which it waits.
            endless: Begin again at the end.
        """
        self.fps = fps
        self._pictures, self._clock, self._endless = pictures, clock, endless
        self._started_s, self._count = clock.now(), 0

    def read(self) -> Image:
        """Waits until the next picture is due and returns it.

        Raises:
            EndOfSource: That was the last one.
        """
        number, self._count = self._count, self._count + 1
        shown = shown_at(number / self.fps)
        if shown >= len(self._pictures) and not self._endless:
            raise EndOfSource
        due_s = self._started_s + number / self.fps
        self._clock.sleep(due_s - self._clock.now())
        return self._pictures[shown % len(self._pictures)]

    def close(self) -> None:
        """Does nothing."""


def shown_at(at_s: float) -> int:
    """Returns the number of the clip's picture at a time since its beginning."""
    return int(at_s * FPS + 1e-6)


@contextmanager
def playing(
    pictures: Sequence[Image], fps: float, *, endless: bool = True
) -> Iterator[LiveSource]:
    """Yields a live source, as a camera is one, that shows a clip.

    Args:
        pictures: The clip's, uint8 (H, W, 3) BGR, ``FPS`` of which last a second.
        fps: Pictures the camera gives per second.
        endless: Begin again at the end.
    """

    def opened(clock: Clock) -> ClipReader:
        return ClipReader(pictures, fps, clock, endless=endless)

    with closing(LiveSource(opened, "clip")) as source:
        yield source


def pictures_of(clip: Path) -> list[Image]:
    """Returns all pictures of a video: 0.9 MB each at 640x480."""
    with open_source(str(clip)) as source:
        return [frame.image for frame in source]
