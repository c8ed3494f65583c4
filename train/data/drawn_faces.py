"""The built-in image set: drawn faces, so that everything runs without a download.

Seven facial expressions in grey. These are drawings: accuracy on them shows that
training, export and the runtime work, and says nothing about real faces.

Sample i of a seed depends on (seed, i) alone. The drawing is reduced with INTER_AREA:
on one kind of processor the pixels are always the same, on another one in some ten
thousand may differ by a grey level.
"""

from __future__ import annotations

from typing import NamedTuple

import cv2
import numpy as np
import numpy.typing as npt

from edge_runtime.sources.fake.face import (
    LABELS,
    DrawnFace,
    Identity,
    sample_expression,
    sample_identity,
)
from edge_runtime.sources.fake.face_painter import SHIFT, Grey, paint_face
from edge_runtime.sources.fake.face_shapes import Shape, polygon
from edge_runtime.utils.stderr import progress_bar
from train.data.splits import SPLITS, TEST, TRAIN, VALIDATION, Split

DRAWN_SIZE_PX = 48
DRAWN = "drawn"  # the built-in set, wherever a path is expected
COUNTS = {TRAIN: 7000, VALIDATION: 1400, TEST: 1750}
_SUPERSAMPLING = 3
_LEVELS = np.linspace(0, 1, 256)


class Photo(NamedTuple):
    """How a face was taken: place, light, background, camera, and what hides it."""

    shift_x: float  # of the face, as a fraction of the image
    shift_y: float
    scale: float  # half height of the head, as a fraction of the image
    light_gain: float  # brightness factor
    light_slope: float  # change of brightness from the middle to the lit edge
    light_angle_deg: float  # direction of the light
    gamma: float  # exponent of the tone curve
    background_tone: float  # mean grey level
    clutter: int  # number of shapes in the background
    blur_sigma: float  # in 48ths of the image
    noise_sigma: float  # in grey levels
    cover: int  # 0 nothing, 1 blob, 2 strip, 3 hand
    cover_x: float  # middle of the cover, in face units
    cover_y: float
    cover_size: float  # half width of the cover, in face units
    cover_tone: float
    texture_seed: int  # of the background's shapes and of the noise


def drawn_faces(
    count: int, seed: int, *, size_px: int = 48
) -> tuple[Grey, npt.NDArray[np.int64]]:
    """Returns a shuffled, class-balanced set of drawn faces and its labels.

    Args:
        count: Number of faces; each class gets `count // 7` or one more.
        seed: Seed of the set; face i depends only on the seed and i.
        size_px: Side of the square images in pixels.

    Returns:
        Images, uint8 (count, size_px, size_px), grey 0 to 255, and labels, int64
        (count,), indices into `LABELS`.

    Raises:
        ValueError: `count` or `size_px` is not positive, or `seed` is negative.
    """
    if count < 1 or size_px < 1 or seed < 0:
        raise ValueError(
            "expected count >= 1, size_px >= 1 and seed >= 0, "
            f"got count={count!r}, size_px={size_px!r}, seed={seed!r}"
        )
    images = np.empty((count, size_px, size_px), dtype=np.uint8)
    labels = np.empty(count, dtype=np.int64)
    for i in progress_bar(range(count), "drawing faces", unit="face"):
        block, position = divmod(i, len(LABELS))
        order = np.random.default_rng([seed, block, len(LABELS)])
        labels[i] = order.permutation(len(LABELS))[position]
        rng = np.random.default_rng([seed, i])
        images[i] = draw_sample(LABELS[labels[i]], rng, size_px=size_px)
    return images, labels


def drawn_split(name: str, size_px: int) -> Split:
    """Returns a split of the built-in set: train, validation or test."""
    count, seed = COUNTS[name], SPLITS.index(name)
    images, labels = drawn_faces(count, seed, size_px=size_px)
    names = tuple(f"{name} {index}" for index in range(count))
    return Split(images[..., np.newaxis], labels, names)


def draw_sample(label: str, rng: np.random.Generator, *, size_px: int = 48) -> Grey:
    """Returns a random face that shows an expression, uint8 (size_px, size_px), grey.

    Args:
        label: One of `LABELS`.
        rng: Source of all randomness; it is advanced.
        size_px: Side of the square image in pixels.

    Raises:
        KeyError: `label` is not one of `LABELS`.
    """
    who = sample_identity(rng)
    intensity = float(rng.uniform(0.7, 1.1))
    expression = sample_expression(label, rng, intensity=intensity)
    face, photo = _sample_photo(DrawnFace(who, expression), rng)
    side = _SUPERSAMPLING * size_px
    canvas = _background(photo, side)
    centre = side * (0.5 + photo.shift_x), side * (0.5 + photo.shift_y)
    behind, before = [_clothes(who)], _cover(photo, who)
    unit_px = photo.scale * side
    paint_face(canvas, face, centre, unit_px, behind=behind, before=before)
    grey = cv2.resize(canvas, (size_px, size_px), interpolation=cv2.INTER_AREA)
    return _expose(grey.astype(np.uint8, copy=False), photo)


def _sample_photo(face: DrawnFace, rng: np.random.Generator) -> tuple[DrawnFace, Photo]:
    """Returns the face in a random pose, and random conditions."""
    s = rng.uniform(-1, 1, 9).tolist()
    u = rng.random(10).tolist()
    posed = face._replace(roll_deg=11 * s[3], yaw=0.12 * s[4], pitch=0.05 * s[5])
    return posed, Photo(
        shift_x=0.06 * s[0],
        shift_y=0.055 * s[1],
        scale=0.49 + 0.04 * s[2],
        light_gain=0.97 + 0.2 * s[6],
        light_slope=0.35 * u[1],
        light_angle_deg=360 * u[2],
        gamma=1 + 0.25 * s[7],
        background_tone=30 + 195 * u[3],
        clutter=int(6 * u[4]),
        blur_sigma=0.5 * u[5],
        noise_sigma=8 * u[6],
        cover=1 + int(3 * u[7]) if u[0] < 0.14 else 0,
        cover_x=0.7 * s[8],
        cover_y=-0.7 + 1.6 * u[8],
        cover_size=0.10 + 0.10 * u[9],
        cover_tone=float(rng.uniform(25, 230)),
        texture_seed=int(rng.integers(2**31)),
    )


def _background(photo: Photo, side: int) -> Grey:
    """Returns a gradient with some shapes on it, uint8 (side, side)."""
    rng = np.random.default_rng([photo.texture_seed, 0])
    slope = rng.uniform(-50, 50, 2)
    line = np.linspace(-1, 1, side)
    ramp = slope[0] * line + slope[1] * line[:, None]
    canvas: Grey = np.clip(photo.background_tone + ramp, 0, 255).astype(np.uint8)
    for _ in range(photo.clutter):
        centre = rng.uniform(0, 1, 2) * (side, side)
        corners = centre + rng.uniform(-0.4, 0.4, (5, 2)) * side
        points = np.rint(corners * (1 << SHIFT)).astype(np.int32)
        tone = (int(rng.integers(10, 245)),)
        if rng.random() < 0.5:
            hull = cv2.convexHull(points)
            cv2.fillConvexPoly(canvas, hull, tone, cv2.LINE_AA, SHIFT)
        else:
            thick = max(1, side // 40)
            ends = [points[:2]]
            cv2.polylines(canvas, ends, False, tone, thick, cv2.LINE_AA, SHIFT)
    return canvas


def _clothes(who: Identity) -> Shape:
    """Returns the shoulders."""
    tone = 255.0 - who.hair_tone if who.hair_style % 2 else who.hair_tone + 40.0
    shoulders = (-1.7, 3), (-1.4, 1.5), (-0.4, 1.2), (0.4, 1.2), (1.4, 1.5), (1.7, 3)
    return Shape(polygon(*shoulders), tone)


def _cover(photo: Photo, who: Identity) -> list[Shape]:
    """Returns the shapes of what covers a part of the face, if anything does."""
    x, y, r, tone = photo.cover_x, photo.cover_y, photo.cover_size, photo.cover_tone
    angles = np.linspace(0, 2 * np.pi, 17)[:-1]
    circle = np.stack([np.cos(angles), np.sin(angles)], axis=1)
    if photo.cover == 1:
        return [Shape(np.array([x, y]) + r * circle, tone)]
    if photo.cover == 2:
        bar = polygon((-1.5, y + 0.4 * x), (1.5, y - 0.4 * x))
        return [Shape(bar, tone, 0.6 * r)]
    if photo.cover == 0:
        return []
    skin = 0.9 * who.skin_tone
    side = 1.0 if x > 0 else -1.0
    hand = [Shape(np.array([side * 0.75, y + 0.1]) + 1.2 * r * circle, skin)]
    for k in range(4):
        tip_y = y - 0.1 + 0.45 * r * k
        finger = polygon((side * 0.7, tip_y + 0.1), (side * (0.75 - 1.9 * r), tip_y))
        hand += [Shape(finger, 0.6 * skin, 0.5 * r), Shape(finger, skin, 0.38 * r)]
    return hand


def _expose(grey: Grey, photo: Photo) -> Grey:
    """Returns the image as the camera sees it: blur, tone curve, light and noise."""
    size = len(grey)
    if photo.blur_sigma > 0.2:
        sigma = photo.blur_sigma * size / 48
        grey = cv2.GaussianBlur(grey, (0, 0), sigma).astype(np.uint8, copy=False)
    levels = _LEVELS**photo.gamma * 255
    angle = np.deg2rad(photo.light_angle_deg)
    slope = photo.light_slope * np.array([np.cos(angle), np.sin(angle)])
    line = np.linspace(-1, 1, size, dtype=np.float32)
    gain = photo.light_gain * (1 + slope[0] * line + (slope[1] * line)[:, None])
    rng = np.random.default_rng([photo.texture_seed, 1])
    noise = photo.noise_sigma * rng.standard_normal((size, size), dtype=np.float32)
    lit = levels.astype(np.float32)[grey] * gain.astype(np.float32) + noise
    rounded: Grey = np.clip(np.rint(lit), 0, 255).astype(np.uint8)
    return rounded
