"""Painting the shapes of a face on a grey canvas, in fixed-point coordinates."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
import numpy.typing as npt

from train.drawn_faces.geometry import (
    Points,
    Shape,
    body_shapes,
    feature_shapes,
    hair_shapes,
    head_outline,
    shading_shapes,
)
from train.drawn_faces.parameters import FaceParameters

Grey = npt.NDArray[np.uint8]
Pixels = npt.NDArray[np.int32]  # (N, 2), x and y in 1 / 2**_SHIFT pixels

_SHIFT = 4  # fractional bits of the coordinates handed to OpenCV


def paint(
    parameters: FaceParameters,
    canvas_wh: tuple[int, int],
    centre: tuple[float, float],
    crop: int,
) -> tuple[Grey, list[Pixels]]:
    """Return the painted canvas, uint8 (H, W), and the outlines of skin and hair.

    Args:
        parameters: What to paint.
        canvas_wh: Width and height of the canvas in pixels.
        centre: x and y of the middle of the head in pixels.
        crop: Side of the face crop in pixels: the unit of `View.scale`.
    """
    canvas = _background(parameters, canvas_wh, crop)
    unit = parameters.view.scale * crop
    head = Shape(head_outline(parameters), 0.86 * parameters.identity.skin_tone)
    layers = [
        body_shapes(parameters),
        [head, *shading_shapes(parameters)],
        feature_shapes(parameters),
        hair_shapes(parameters),
        _occlusion(parameters),
    ]
    body, soft, features, hair, cover = _project(layers, parameters, centre, unit)
    _fill(canvas, layers[0], body, unit)
    skin = canvas.copy()
    _fill(skin, layers[1], soft, unit)
    width = max(3, int(0.13 * unit)) | 1
    skin = cv2.blur(cv2.blur(skin, (width, width)), (width, width)).astype(np.uint8)
    cv2.copyTo(skin, person_mask(soft[:1], canvas_wh), canvas)
    for shapes, pixels in zip(layers[2:], (features, hair, cover), strict=True):
        _fill(canvas, shapes, pixels, unit)
    return canvas, [*body[1:], soft[0], *hair]


def person_mask(outlines: Sequence[Pixels], canvas_wh: tuple[int, int]) -> Grey:
    """Return uint8 (H, W): 255 inside any outline, 0 outside all of them."""
    mask: Grey = np.zeros((canvas_wh[1], canvas_wh[0]), dtype=np.uint8)
    for points in outlines:
        cv2.fillPoly(mask, [points], (255,), cv2.LINE_AA, _SHIFT)
    return mask


def _project(
    layers: Sequence[Sequence[Shape]],
    parameters: FaceParameters,
    centre: tuple[float, float],
    unit: float,
) -> list[list[Pixels]]:
    """Return the points of every shape of every layer in fixed-point pixels.

    A turned head moves its front more than its rim: each point shifts by yaw and
    pitch times its depth, that of an ellipsoid.
    """
    # All at once: forty small matrix products would cost more than the painting.
    shapes = [shape for layer in layers for shape in layer]
    view = parameters.view
    points = np.concatenate([shape.points for shape in shapes])
    x, y = points[:, 0], points[:, 1]
    depth = np.sqrt(np.maximum(1.0 - (x / 0.85) ** 2 - (y / 1.15) ** 2, 0.0))
    x, y = x + view.yaw * depth, y + view.pitch * depth
    angle = np.deg2rad(view.roll_deg)
    cos, sin = unit * np.cos(angle), unit * np.sin(angle)
    turned = np.stack([cos * x - sin * y, sin * x + cos * y], axis=1) + centre
    fixed = np.rint(turned * (1 << _SHIFT)).astype(np.int32)
    ends = np.cumsum([len(shape.points) for shape in shapes])
    parts = iter(np.split(fixed, ends[:-1]))
    return [[next(parts) for _ in layer] for layer in layers]


def _fill(
    canvas: Grey,
    shapes: Sequence[Shape],
    pixels: Sequence[Pixels],
    unit: float,
) -> None:
    """Paint shapes in order; `unit` is the length of one face unit in pixels."""
    for shape, points in zip(shapes, pixels, strict=True):
        tone = (min(255, max(0, round(shape.tone))),)
        if shape.thickness > 0:
            thick = max(1, round(shape.thickness * unit))
            cv2.polylines(canvas, [points], False, tone, thick, cv2.LINE_AA, _SHIFT)
        else:
            cv2.fillPoly(canvas, [points], tone, cv2.LINE_AA, _SHIFT)


def _background(
    parameters: FaceParameters, canvas_wh: tuple[int, int], crop: int
) -> Grey:
    """Return a gradient with some shapes on it, uint8 (H, W)."""
    w, h = canvas_wh
    view = parameters.view
    rng = np.random.default_rng([view.texture_seed, 0])
    slope = rng.uniform(-50, 50, 2)
    ramp = slope[0] * np.linspace(-1, 1, w) + slope[1] * np.linspace(-1, 1, h)[:, None]
    canvas: Grey = np.clip(view.background_tone + ramp, 0, 255).astype(np.uint8)
    for _ in range(view.clutter):
        centre = rng.uniform(0, 1, 2) * (w, h)
        corners = centre + rng.uniform(-0.4, 0.4, (5, 2)) * crop
        points = np.rint(corners * (1 << _SHIFT)).astype(np.int32)
        tone = (int(rng.integers(10, 245)),)
        if rng.random() < 0.5:
            cv2.fillConvexPoly(
                canvas, cv2.convexHull(points), tone, cv2.LINE_AA, _SHIFT
            )
        else:
            cv2.polylines(
                canvas,
                [points[:2]],
                False,
                tone,
                max(1, crop // 40),
                cv2.LINE_AA,
                _SHIFT,
            )
    return canvas


def _occlusion(parameters: FaceParameters) -> list[Shape]:
    """Return the shapes of what covers a part of the face, if anything does."""
    view = parameters.view
    x, y, r = view.occlusion_x, view.occlusion_y, view.occlusion_size
    tone = view.occlusion_tone
    angles = np.linspace(0, 2 * np.pi, 17)[:-1]
    circle: Points = np.stack([np.cos(angles), np.sin(angles)], axis=1)
    if view.occlusion == 1:
        return [Shape(np.array([x, y]) + r * circle, tone)]
    if view.occlusion == 2:
        bar = np.array([[-1.5, y + 0.4 * x], [1.5, y - 0.4 * x]])
        return [Shape(bar, tone, 0.6 * r)]
    if view.occlusion == 3:
        skin = 0.9 * parameters.identity.skin_tone
        side = 1.0 if x > 0 else -1.0
        palm = np.array([side * 0.75, y + 0.1]) + 1.2 * r * circle
        fingers = []
        for k in range(4):
            at = y - 0.1 + 0.45 * r * k
            line = np.array([[side * 0.7, at + 0.1], [side * (0.75 - 1.9 * r), at]])
            fingers += [Shape(line, 0.6 * skin, 0.5 * r), Shape(line, skin, 0.38 * r)]
        return [Shape(palm, skin), *fingers]
    return []
