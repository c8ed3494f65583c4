"""Paints a drawn face with OpenCV: the only painter of faces in the project."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import chain
from typing import NamedTuple

import cv2
import numpy as np
import numpy.typing as npt

from edge_runtime.preprocessing import Image
from edge_runtime.sources.fake.face import DrawnFace
from edge_runtime.sources.fake.face_shapes import (
    Shape,
    back_shapes,
    feature_shapes,
    hair_shapes,
    head_shape,
    shading_shapes,
)

Grey = npt.NDArray[np.uint8]
Pixels = npt.NDArray[np.int32]  # (N, 2), x and y in 1 / 2**SHIFT pixels

SHIFT = 4  # fractional bits of the coordinates handed to OpenCV
SPRITE_UNITS = (1.1, 1.2, 1.45)  # from the middle of the head: aside, up, down
SKIN_BGR = (0.72, 0.97, 1.165)  # colour of a grey level, of about the same brightness


def paint_face(
    canvas: Grey,
    face: DrawnFace,
    centre_xy: tuple[float, float],
    unit_px: float,
    *,
    behind: Sequence[Shape] = (),
    before: Sequence[Shape] = (),
) -> None:
    """Paints a face into a canvas; the same arguments give the same pixels.

    Pose is applied to the points before they are painted, and all coordinates are
    fixed-point numbers.

    Args:
        canvas: uint8 (H, W) or (H, W, C), painted into, all channels alike.
        face: What to paint.
        centre_xy: The middle of the head in pixels.
        unit_px: Half the height of the head in pixels.
        behind: Shapes behind the head, which move with it.
        before: Shapes that cover it.
    """
    back = [*behind, *back_shapes(face.identity)]
    soft = [head_shape(face), *shading_shapes(face)]
    front = [*feature_shapes(face), *hair_shapes(face.identity), *before]
    # All at once: forty small matrix products would cost more than the painting.
    points = iter(_project([*back, *soft, *front], face, centre_xy, unit_px))
    _fill(canvas, back, points, unit_px)
    skin = canvas.copy()
    mask = np.zeros(canvas.shape[:2], dtype=np.uint8)
    outline = next(points)
    cv2.fillPoly(mask, [outline], (255,), cv2.LINE_AA, SHIFT)
    _fill(skin, soft, chain([outline], points), unit_px)
    width = max(3, int(0.13 * unit_px)) | 1
    for _ in range(2):
        skin = cv2.blur(skin, (width, width)).astype(np.uint8, copy=False)
    cv2.copyTo(skin, mask, canvas)
    _fill(canvas, front, points, unit_px)


class FaceSprite(NamedTuple):
    """A face to paste into an image.

    Attributes:
        image: uint8 (H, W, 3) BGR, black where nothing is painted.
        background: uint8 (H, W, 3), weight of what is behind, 255 for all of it.
        anchor_xy: The middle of the head in the sprite, in pixels.
    """

    image: Image
    background: Image
    anchor_xy: tuple[int, int]

    def paste(self, frame: Image, centre_xy: tuple[float, float]) -> None:
        """Pastes the face into a frame.

        Args:
            frame: uint8 (H, W, 3) BGR, modified.
            centre_xy: Where the middle of the head is, in pixels; parts outside of
                the frame are cut off.
        """
        left, top = (
            round(centre - anchor)
            for centre, anchor in zip(centre_xy, self.anchor_xy, strict=True)
        )
        x, y = max(0, left), max(0, top)
        part = frame[y : max(0, top + len(self.image)), x:]
        part = part[:, : max(0, left + self.image.shape[1] - x)]
        if part.size:
            cut = np.s_[y - top :, x - left :]
            height, width = part.shape[:2]
            behind = cv2.multiply(
                part, self.background[cut][:height, :width], scale=1 / 255
            )
            cv2.add(behind, self.image[cut][:height, :width], part)


def draw_sprite(face: DrawnFace, unit_px: float) -> FaceSprite:
    """Returns a face with its hair and neck; half the head is ``unit_px`` high."""
    aside, up, down = (round(units * unit_px) for units in SPRITE_UNITS)
    canvas = np.zeros((up + down, 2 * aside, 2), dtype=np.uint8)
    # Once on black and once on white: the difference is what shows through.
    canvas[..., 1] = 255
    paint_face(canvas, face, (aside, up), unit_px)
    grey, on_white = cv2.split(canvas)
    image = cv2.merge([cv2.convertScaleAbs(grey, alpha=share) for share in SKIN_BGR])
    background = cv2.merge([cv2.subtract(on_white, grey)] * 3)
    return FaceSprite(
        np.asarray(image, np.uint8), np.asarray(background, np.uint8), (aside, up)
    )


def _project(
    shapes: Sequence[Shape],
    face: DrawnFace,
    centre_xy: tuple[float, float],
    unit_px: float,
) -> list[Pixels]:
    """Returns the points of every shape in fixed-point pixels.

    A turned head moves its front more than its rim: each point shifts by yaw and
    pitch times its depth, that of an ellipsoid.
    """
    points = np.concatenate([shape.points for shape in shapes])
    x, y = points[:, 0], points[:, 1]
    depth = np.sqrt(np.maximum(1.0 - (x / 0.85) ** 2 - (y / 1.15) ** 2, 0.0))
    x, y = x + face.yaw * depth, y + face.pitch * depth
    angle = np.deg2rad(face.roll_deg)
    cos, sin = unit_px * np.cos(angle), unit_px * np.sin(angle)
    turned = np.stack([cos * x - sin * y, sin * x + cos * y], axis=1) + centre_xy
    fixed = np.rint(turned * (1 << SHIFT)).astype(np.int32)
    ends = np.cumsum([len(shape.points) for shape in shapes]).tolist()
    return [fixed[a:b] for a, b in zip([0, *ends], ends, strict=False)]


def _fill(
    canvas: Grey, shapes: Sequence[Shape], points: Iterator[Pixels], unit_px: float
) -> None:
    for shape, outline in zip(shapes, points, strict=False):
        tone = (min(255, max(0, round(shape.tone))),) * 4
        if shape.thickness > 0:
            thick = max(1, round(shape.thickness * unit_px))
            cv2.polylines(canvas, [outline], False, tone, thick, cv2.LINE_AA, SHIFT)
        else:
            cv2.fillPoly(canvas, [outline], tone, cv2.LINE_AA, SHIFT)
