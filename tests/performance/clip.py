"""Draws the clip that pipelines are measured on: faces before a textured background.

Nobody real is in it. The time of a Haar cascade depends on the image: it rejects smooth
areas at once, but not edges. The background therefore follows the dead leaves model of
natural images (Lee, Mumford and Huang 2001), and each frame has noise as of a camera.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from edge_runtime.errors import OutputError
from edge_runtime.preprocessing import Image
from edge_runtime.sources.fake.face import (
    LABELS,
    DrawnFace,
    Expression,
    Identity,
    interpolate,
    sample_expression,
    sample_identity,
)
from edge_runtime.sources.fake.face_painter import draw_sprite

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
    """A drawn person.

    Attributes:
        identity: The face's shape and colours.
        expressions: The expressions, in the order shown.
        unit_px: Half the height of the head in pixels.
    """

    identity: Identity
    expressions: tuple[Expression, ...]
    unit_px: float

    def at(self, index: int) -> DrawnFace:
        """Returns the face of a frame."""
        number, step = divmod(index, FRAMES_PER_EXPRESSION)
        weight = min(1.0, step / FRAMES_OF_CHANGE)
        first = self.expressions[number % len(self.expressions)]
        second = self.expressions[(number + 1) % len(self.expressions)]
        return DrawnFace(self.identity, interpolate(first, second, weight))


def write_clip(path: Path, frames: int = FRAMES, seed: int = SEED) -> None:
    """Writes a video of one moving person and one who comes and goes.

    Args:
        path: An ``.avi`` file; the same frames and seed give the same images.
        frames: Number of frames.
        seed: Of the people, the background and the noise.

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
    """Returns the centres of the heads in pixels; None for a person out of view.

    The first sways, at most at about two and a half face widths a second; the second
    walks through the view in the middle half of the clip.
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
    """Returns a background of overlapping leaves, uint8 (H, W, 3) BGR.

    Their sizes have the density r^-3, which gives the statistics of natural images:
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
    return np.asarray(
        cv2.GaussianBlur(picture, (0, 0), 1.5), dtype=np.uint8
    )  # as of a lens


def _person(rng: np.random.Generator, unit_px: float) -> Person:
    identity = sample_identity(rng)
    expressions = [sample_expression(label, rng, intensity=0.9) for label in LABELS]
    return Person(identity, tuple(expressions), unit_px)
