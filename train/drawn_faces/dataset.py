"""Drawn faces: the built-in image set, made from parameters instead of photographs.

Seven facial expressions, drawn with OpenCV in 48x48 grey, so that every step of the
project runs on a fresh machine without a download. These are drawings: accuracy on
them shows that training, export and the runtime work, and says nothing about real
faces.

Sample i of a seed depends on (seed, i) alone. Pose is applied to the points before
they are painted, shapes are painted in fixed-point coordinates and the drawing is
reduced with INTER_AREA: on one kind of processor the pixels are always the same, on
another one in some ten thousand may differ by a grey level.
"""

from __future__ import annotations

from collections.abc import Callable

import cv2
import numpy as np
import numpy.typing as npt

from train.drawn_faces.painting import Grey, paint, person_mask
from train.drawn_faces.parameters import (
    LABELS,
    Expression,
    FaceParameters,
    Identity,
    View,
    interpolate,
)
from train.drawn_faces.sampling import sample_parameters

__all__ = [
    "LABELS",
    "Expression",
    "FaceParameters",
    "Identity",
    "View",
    "draw_face",
    "draw_scene",
    "drawn_faces",
    "interpolate",
    "sample_parameters",
]

_SUPERSAMPLING = 3


def drawn_faces(
    count: int,
    seed: int,
    *,
    size_px: int = 48,
    progress: Callable[[int], None] | None = None,
) -> tuple[Grey, npt.NDArray[np.int64]]:
    """Return a shuffled, class-balanced set of drawn faces and its labels.

    Args:
        count: Number of faces; each class gets `count // 7` or one more.
        seed: Seed of the set; face i depends only on the seed and i.
        size_px: Side of the square images in pixels.
        progress: Called with the number of faces done, after each one.

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
    for i in range(count):
        labels[i] = _label_index(seed, i)
        rng = np.random.default_rng([seed, i])
        images[i] = draw_face(
            sample_parameters(LABELS[labels[i]], rng), size_px=size_px
        )
        if progress is not None:
            progress(i + 1)
    return images, labels


def draw_face(parameters: FaceParameters, *, size_px: int = 48) -> Grey:
    """Return the crop around one face, uint8 (size_px, size_px), grey 0 to 255.

    Args:
        parameters: What to draw; the same parameters give the same pixels.
        size_px: Side of the square image in pixels.
    """
    view = parameters.view
    side = _SUPERSAMPLING * size_px
    centre = (side * (0.5 + view.shift_x), side * (0.5 + view.shift_y))
    canvas, _ = paint(parameters, (side, side), centre, side)
    return _expose(_reduce(canvas, (size_px, size_px)), parameters, size_px)


def draw_scene(
    parameters: FaceParameters,
    *,
    frame_size_wh: tuple[int, int] = (640, 480),
    center_xy: tuple[float, float] | None = None,
    face_size_px: int = 230,
) -> Grey:
    """Return a camera frame with one large face, uint8 (H, W, 3), BGR 0 to 255.

    Args:
        parameters: What to draw.
        frame_size_wh: Width and height of the frame in pixels.
        center_xy: Where the middle of the face is, in pixels; the middle of the
            frame when None.
        face_size_px: Side in pixels of the square that `draw_face` would crop.
    """
    w, h = frame_size_wh
    x, y = (w / 2, h / 2) if center_xy is None else center_xy
    canvas, outlines = paint(
        parameters, (2 * w, 2 * h), (2 * x, 2 * y), 2 * face_size_px
    )
    grey = _expose(_reduce(canvas, (w, h)), parameters, face_size_px)
    return _tint(grey, _reduce(person_mask(outlines, (2 * w, 2 * h)), (w, h)))


def _label_index(seed: int, index: int) -> int:
    """Return the class of face `index`: each seven in a row are a permutation."""
    block, position = divmod(index, len(LABELS))
    rng = np.random.default_rng([seed, block, len(LABELS)])
    return int(rng.permutation(len(LABELS))[position])


def _reduce(canvas: Grey, size_wh: tuple[int, int]) -> Grey:
    small = cv2.resize(canvas, size_wh, interpolation=cv2.INTER_AREA)
    return small.astype(np.uint8, copy=False)


def _expose(grey: Grey, parameters: FaceParameters, crop: int) -> Grey:
    """Return the image as the camera sees it: blur, tone curve, light and noise."""
    view = parameters.view
    if view.blur_sigma > 0.2:
        sigma = view.blur_sigma * crop / 48
        grey = cv2.GaussianBlur(grey, (0, 0), sigma).astype(np.uint8, copy=False)
    levels = np.linspace(0, 1, 256) ** view.gamma * 255
    h, w = grey.shape
    angle = np.deg2rad(view.light_angle_deg)
    slope = view.light_slope * np.array([np.cos(angle), np.sin(angle)])
    across = slope[0] * np.linspace(-1, 1, w, dtype=np.float32)
    down = slope[1] * np.linspace(-1, 1, h, dtype=np.float32)
    gain = view.light_gain * (1 + across + down[:, None])
    rng = np.random.default_rng([view.texture_seed, 1])
    noise = view.noise_sigma * rng.standard_normal((h, w), dtype=np.float32)
    lit = levels.astype(np.float32)[grey] * gain.astype(np.float32) + noise
    return _to_uint8(lit)


def _tint(grey: Grey, mask: Grey) -> Grey:
    """Return BGR of the same brightness, warm where `mask` is set."""
    # The weights keep 0.114 B + 0.587 G + 0.299 R near 1.
    share = mask[..., None].astype(np.float32) / 255
    warm, cool = np.array([0.72, 0.97, 1.165]), np.array([1.12, 1.02, 0.915])
    tint = (share * warm + (1 - share) * cool).astype(np.float32)
    return _to_uint8(grey[..., None] * tint)


def _to_uint8(values: npt.NDArray[np.float32]) -> Grey:
    rounded: Grey = np.clip(np.rint(values), 0, 255).astype(np.uint8)
    return rounded
