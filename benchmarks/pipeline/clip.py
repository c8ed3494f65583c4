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
import numpy.typing as npt

from edge_runtime.detection.boxes import clip_box
from edge_runtime.errors import OutputError
from edge_runtime.preprocessing import Image
from edge_runtime.sources import open_source
from edge_runtime.sources.base import EndOfSource
from edge_runtime.sources.clock import Clock
from edge_runtime.sources.live import LiveSource
from train.drawn_faces.dataset import LABELS, draw_scene, interpolate, sample_parameters
from train.drawn_faces.painting import paint, person_mask
from train.drawn_faces.parameters import FaceParameters

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
        faces: What is shown, one expression after the other.
        size_px: Side of the face crop.
    """

    faces: tuple[FaceParameters, ...]
    size_px: int

    def at(self, index: int) -> FaceParameters:
        """Returns the face of a frame."""
        number, step = divmod(index, FRAMES_PER_EXPRESSION)
        weight = min(1.0, step / FRAMES_OF_CHANGE)
        first = self.faces[number % len(self.faces)]
        return interpolate(first, self.faces[(number + 1) % len(self.faces)], weight)


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
    people = [_person(rng, 170), _person(rng, 130)]
    fourcc = cv2.VideoWriter.fourcc(*"MJPG")
    video = cv2.VideoWriter(str(path), fourcc, FPS, FRAME_WH)
    if not video.isOpened():
        raise OutputError(f"cannot write {path}: this OpenCV has no MJPG encoder")
    try:
        for index in range(frames):
            picture = ground.astype(np.float32)
            for person, centre in zip(people, centres(index, frames), strict=True):
                if centre is not None:
                    _put_person(picture, person, index, centre)
            picture += rng.normal(0, NOISE, picture.shape)
            video.write(np.clip(picture, 0, 255).astype(np.uint8))
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


def _person(rng: np.random.Generator, size_px: int) -> Person:
    identity = sample_parameters("neutral", rng, variation=0.0).identity
    faces = [
        sample_parameters(label, rng, identity=identity, variation=0.0)
        for label in LABELS
    ]
    return Person(tuple(faces), size_px)


def _put_person(
    picture: npt.NDArray[np.float32],
    person: Person,
    index: int,
    centre: tuple[float, float],
) -> None:
    """Paints somebody into a picture, float32 (H, W, 3), where the head's middle is."""
    face, size = person.at(index), person.size_px
    part_wh = (2 * size, 2 * size)  # head and neck; painting a whole frame takes long
    left, top = math.floor(centre[0] - size), math.floor(centre[1] - size)
    middle = (centre[0] - left, centre[1] - top)
    scene = draw_scene(face, frame_size_wh=part_wh, center_xy=middle, face_size_px=size)
    canvas_wh, twice = (4 * size, 4 * size), (2 * middle[0], 2 * middle[1])
    _, outlines = paint(face, canvas_wh, twice, 2 * size)
    mask = person_mask(outlines, canvas_wh)
    share = cv2.resize(mask, part_wh, interpolation=cv2.INTER_AREA) / np.float32(255)
    inside = clip_box((left, top, *part_wh), FRAME_WH)
    if inside is None:
        return
    x, y, width, height = inside
    cut = (slice(y - top, y - top + height), slice(x - left, x - left + width))
    there = picture[y : y + height, x : x + width]
    there += (scene[cut] - there) * share[cut][..., np.newaxis]


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
