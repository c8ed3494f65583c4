"""Shapes of a drawn face, in face units, ready to be projected and filled.

1.0 is half the height of the head, x points right and y points down in the image,
and the origin is the centre of the head. Every shape is a polygon or a line with one
grey level, and the lists are in painting order.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from train.drawn_faces.parameters import Expression, FaceParameters, Identity

Points = npt.NDArray[np.float64]

_T = np.linspace(-1.0, 1.0, 13)  # position across an eye or a mouth
_ARCH = 1.0 - _T**2
_ROUND = np.sqrt(np.maximum(_ARCH, 0.0))
_ANGLES = np.linspace(0.0, 2.0 * np.pi, 25)[:-1]
_COS, _SIN = np.cos(_ANGLES), np.sin(_ANGLES)


@dataclass(frozen=True)
class Shape:
    """One polygon or line to paint.

    Attributes:
        points: float64 (N, 2), x and y in face units.
        tone: Grey level 0 to 255.
        thickness: Line thickness in face units; 0 fills the polygon.
    """

    points: Points
    tone: float
    thickness: float = 0.0


def head_outline(parameters: FaceParameters) -> Points:
    """Return the outline of the head, float64 (24, 2) in face units.

    The jaw is narrower than the skull, and drops when the mouth opens.
    """
    who, shown = parameters.identity, parameters.expression
    below = np.maximum(_SIN, 0.0)
    width = who.head_width * (1.0 - (1.0 - who.jaw_width) * below**2)
    cheeks = 1.0 + 0.05 * shown.cheek_raise * np.exp(-(((_SIN - 0.3) / 0.25) ** 2))
    drop = 1.0 + 0.13 * shown.mouth_opening * below
    square = np.sign(_COS) * np.abs(_COS) ** 0.85
    return np.stack([square * width * cheeks, _SIN * drop], axis=1)


def body_shapes(parameters: FaceParameters) -> list[Shape]:
    """Return what is behind the head: shoulders, neck, long hair and ears."""
    who = parameters.identity
    w, skin = who.head_width, who.skin_tone
    clothes = 255.0 - who.hair_tone if who.hair_style % 2 else who.hair_tone + 40.0
    shapes = [
        Shape(
            _polygon(
                (-1.7, 3), (-1.4, 1.5), (-0.4, 1.2), (0.4, 1.2), (1.4, 1.5), (1.7, 3)
            ),
            clothes,
        ),
        Shape(
            _polygon((-0.42, 0.5), (0.42, 0.5), (0.5, 1.5), (-0.5, 1.5)), 0.72 * skin
        ),
    ]
    if who.hair_style == 3:
        shapes.append(Shape(_ellipse(0, 0.0, w + 0.2, 1.15), who.hair_tone))
        shapes.append(
            Shape(
                _polygon(
                    (-w - 0.18, 0), (w + 0.18, 0), (w + 0.1, 1.2), (-w - 0.1, 1.2)
                ),
                who.hair_tone,
            )
        )
        shapes.append(
            Shape(
                _polygon((-0.4, 0.5), (0.4, 0.5), (0.45, 1.3), (-0.45, 1.3)), 0.7 * skin
            )
        )
    else:
        for side in (-1, 1):
            shapes.append(Shape(_ellipse(side * w, 0.05, 0.1, 0.2), 0.85 * skin))
    return shapes


def shading_shapes(parameters: FaceParameters) -> list[Shape]:
    """Return the soft light and shade of the skin, to be blurred before use."""
    who, shown = parameters.identity, parameters.expression
    skin, y = who.skin_tone, who.eye_y
    smile = shown.cheek_raise
    shapes = [
        Shape(_ellipse(0, -0.05, 0.85 * who.head_width, 0.92), skin),
        Shape(_ellipse(0, y - 0.42, 0.45, 0.16), 1.1 * skin),
        Shape(_ellipse(0, who.mouth_y + 0.3, 0.16, 0.07), 1.08 * skin),
        Shape(_ellipse(0, who.mouth_y + 0.17, 0.2, 0.04), 0.85 * skin),
    ]
    for side in (-1, 1):
        shapes += [
            Shape(_ellipse(side * who.eye_x, y - 0.04, 0.22, 0.15), 0.76 * skin),
            Shape(
                _ellipse(side * 0.4, 0.22 - 0.05 * smile, 0.19, 0.13),
                (1.1 + 0.08 * smile) * skin,
            ),
            Shape(
                _ellipse(side * who.nose_width, who.nose_length - 0.12, 0.05, 0.14),
                0.82 * skin,
            ),
        ]
    shapes.append(Shape(_ellipse(0, y + 0.12, 0.055, 0.3), 1.16 * skin))
    if who.beard > 0:
        tone = who.beard * who.hair_tone + (1 - who.beard) * skin
        shapes.append(Shape(_beard(who), tone))
    return shapes


def hair_shapes(parameters: FaceParameters) -> list[Shape]:
    """Return the hair over the forehead; none for a bald head."""
    who = parameters.identity
    if who.hair_style == 0:
        return []
    top = np.stack([(who.head_width + 0.07) * _COS[12:], 1.1 * _SIN[12:]], axis=1)
    x = (who.head_width + 0.05) * _T[::-1]
    line = who.hair_line - (0.15 + who.hair_line) * _T**6
    if who.hair_style == 2:
        line = line + (0.1 + 0.04 * np.cos(12.0 * x)) * _ARCH
    return [Shape(np.concatenate([top, np.stack([x, line], axis=1)]), who.hair_tone)]


def feature_shapes(parameters: FaceParameters) -> list[Shape]:
    """Return eyes, brows, nose, folds, mouth and glasses in painting order."""
    who, shown = parameters.identity, parameters.expression
    shapes = _nose(who, shown) + _folds(who, shown) + _mouth(who, shown)
    for side in (-1, 1):
        shapes += _eye(who, shown, side) + _brow(who, shown, side)
    return shapes + _glasses(who)


def _eye(who: Identity, shown: Expression, side: int) -> list[Shape]:
    """Return white, iris, pupil, glint and lids of the eye on one side (-1 or 1)."""
    opening = who.eye_height * shown.eye_opening
    cx, cy = side * who.eye_x, who.eye_y
    x = cx + who.eye_width * _T
    outwards = side * _T  # -1 at the inner corner, 1 at the outer one
    slant = 0.5 * shown.lid_slant * outwards
    upper = cy - opening * 1.25 * _ROUND * np.clip(1.0 - slant, 0.2, 1.4)
    upper = upper + 0.03 * shown.lid_slant * outwards
    lower = cy + opening * 0.85 * _ARCH * (1.0 - 0.8 * shown.lower_lid)
    lower = np.maximum(lower + 0.03 * shown.lid_slant * outwards, upper)
    lid, bottom = np.stack([x, upper], axis=1), np.stack([x, lower], axis=1)
    gx = cx + 0.5 * who.eye_width * shown.gaze_x
    gy = cy - 0.01 + 0.05 * shown.gaze_y
    radius = 0.075
    iris = np.stack([gx + radius * _COS, gy + radius * _SIN], axis=1)
    # The iris ends at the lids: clipping its points keeps it inside the opening.
    iris[:, 1] = np.clip(
        iris[:, 1], np.interp(iris[:, 0], x, upper), np.interp(iris[:, 0], x, lower)
    )
    white = min(250.0, 0.45 * who.skin_tone + 150.0)
    crease = lid + np.array([0.0, -0.045])
    return [
        Shape(np.concatenate([lid, bottom[::-1]]), white),
        Shape(iris, who.iris_tone * 0.6),
        Shape(lid, 25.0, 0.035),
        Shape(bottom, 0.5 * who.skin_tone, 0.015),
        Shape(crease[2:-2], 0.62 * who.skin_tone, 0.015),
    ]


def _brow(who: Identity, shown: Expression, side: int) -> list[Shape]:
    """Return the brow on one side (-1 or 1), with its inner and outer heights."""
    t = _T[::2] * 0.5 + 0.5  # 0 at the inner end, 1 at the outer one
    raised = 0.13 * (shown.brow_inner * (1 - t) ** 1.5 + shown.brow_outer * t)
    raised += 0.05 * max(shown.brow_outer, 0.0) * np.sin(np.pi * t)
    raised += side * 0.1 * shown.asymmetry
    inner = who.eye_x - who.eye_width - 0.02 - 0.055 * shown.brow_gather
    x = inner + (2 * who.eye_width + 0.06) * t
    arch = 0.05 * np.sin(np.pi * t**1.3) - 0.03 * t
    y = who.eye_y - who.brow_gap - arch - raised
    half = 0.5 * who.brow_thickness * (1.15 - 0.75 * t)
    upper, lower = np.stack([x, y - half], 1), np.stack([x, y + half], 1)
    outline = np.concatenate([upper, lower[::-1]]) * np.array([side, 1.0])
    return [Shape(outline, 0.85 * who.hair_tone)]


def _nose(who: Identity, shown: Expression) -> list[Shape]:
    """Return nostrils, wings and, for a wrinkled nose, the lines across it."""
    skin, w = who.skin_tone, who.nose_width
    tip = who.nose_length - 0.05 * shown.nose_wrinkle
    shapes = [Shape(_ellipse(0, tip, 0.6 * w, 0.05), 1.08 * skin)]
    for side in (-1, 1):
        wing = _polygon(
            (0.75 * w, tip - 0.1),
            (1.1 * w, tip - 0.02),
            (w, tip + 0.05),
            (0.7 * w, tip + 0.06),
        )
        shapes.append(Shape(wing * np.array([side, 1.0]), 0.6 * skin, 0.02))
        shapes.append(
            Shape(_ellipse(side * 0.5 * w, tip + 0.05, 0.04, 0.02), 0.3 * skin)
        )
    if shown.nose_wrinkle > 0.25:
        tone = (1.0 - 0.5 * shown.nose_wrinkle) * skin
        for k in range(3):
            y = who.eye_y + 0.05 + 0.075 * k
            line = _polygon((-0.1, y - 0.04), (0, y + 0.015), (0.1, y - 0.04))
            shapes.append(Shape(line, tone, 0.022))
    return shapes


def _folds(who: Identity, shown: Expression) -> list[Shape]:
    """Return the folds beside the mouth, between the brows and on the forehead."""
    skin, shapes = who.skin_tone, []
    depth = 0.12 + 0.35 * max(shown.cheek_raise, shown.upper_lip)
    x, y = who.nose_width, who.nose_length
    reach = who.mouth_width * shown.mouth_stretch + 0.06
    fold = _polygon(
        (x + 0.03, y - 0.02),
        (0.6 * x + 0.5 * reach, y + 0.09),
        (reach, who.mouth_y - 0.06),
    )
    for side in (-1, 1):
        shapes.append(Shape(fold * np.array([side, 1.0]), (1 - depth) * skin, 0.022))
        if shown.brow_gather > 0.35:
            frown = _polygon((0.04, who.eye_y - 0.2), (0.035, who.eye_y - 0.06))
            tone = (1 - 0.45 * shown.brow_gather) * skin
            shapes.append(Shape(frown * np.array([side, 1.0]), tone, 0.022))
    raised = 0.5 * (shown.brow_inner + max(shown.brow_outer, -0.2))
    if raised > 0.3:
        for k in range(2):
            y = who.eye_y - who.brow_gap - 0.26 - 0.08 * k
            line = np.stack([0.3 * _T, y - 0.03 * _ARCH], axis=1)
            shapes.append(Shape(line, (1 - 0.3 * raised) * skin, 0.018))
    return shapes


def _mouth(who: Identity, shown: Expression) -> list[Shape]:
    """Return lips, the opening between them, teeth and the moustache."""
    half = who.mouth_width * shown.mouth_stretch
    tilt = 0.15 * (shown.mouth_corner + shown.asymmetry * _T)
    opening = shown.mouth_opening
    centre = who.mouth_y + 0.06 * shown.mouth_corner + 0.1 * opening
    x, middle = half * _T, centre - tilt * _T**2
    lift = 0.1 * shown.upper_lip * (1.0 - _T**4)
    # A narrow open mouth is round, a stretched one is flat like a letter box.
    form = _ROUND if shown.mouth_stretch < 0.9 else 0.5 * (_ROUND + _ARCH)
    inner_top = middle - (0.14 * opening + 0.03 * shown.upper_lip) * form - 0.5 * lift
    inner_low = middle + 0.26 * opening * form - 0.5 * lift
    lips = who.lip_thickness * (1.0 - 0.75 * shown.lip_press)
    bow = lips * (_ARCH + 0.25 * np.exp(-8 * (np.abs(_T) - 0.3) ** 2) * _ARCH)
    top, low = inner_top - bow - 0.3 * lift, inner_low + 1.25 * lips * _ARCH
    tone = who.lip_contrast * who.skin_tone
    shapes = [Shape(_between(x, top, low), tone)]
    if opening > 0.04:
        shapes.append(Shape(_between(x, inner_top, inner_low), 28.0))
        if shown.teeth > 0.15:
            rows = inner_top + min(shown.teeth, 1.0) * 0.8 * (inner_low - inner_top)
            edge = slice(1, -1)
            shapes.append(Shape(_between(x[edge], inner_top[edge], rows[edge]), 232.0))
    else:
        line = np.stack([x, inner_low], axis=1)
        shapes.append(Shape(line, 0.32 * who.skin_tone, 0.03 + 0.015 * shown.lip_press))
    if shown.lip_press > 0.4:
        chin = np.stack([0.5 * x, low + 0.08 - 0.03 * _ARCH], axis=1)
        shapes.append(Shape(chin, 0.68 * who.skin_tone, 0.025))
    if who.moustache:
        y = top - 0.02
        shapes.append(
            Shape(_between(0.95 * x, y - 0.08 * _ROUND, y + 0.01), who.hair_tone)
        )
    return shapes


def _beard(who: Identity) -> Points:
    """Return the bearded area, float64 (N, 2)."""
    w = 0.9 * who.head_width
    return _polygon(
        (-w, 0.25), (-0.6 * w, 0.5), (0, who.mouth_y - 0.12), (0.6 * w, 0.5), (w, 0.25),
        (0.85 * w, 0.75), (0, 1.2), (-0.85 * w, 0.75),
    )  # fmt: skip


def _glasses(who: Identity) -> list[Shape]:
    """Return the frame of the glasses, if any."""
    if not who.glasses:
        return []
    shapes = []
    x, y, w, tone = who.eye_x, who.eye_y + 0.01, who.head_width, 35.0
    for side in (-1, 1):
        if who.glasses == 1:
            rim = _ellipse(side * x, y, 0.23, 0.2)
        else:
            a, b, top, low = side * x - 0.23, side * x + 0.23, y - 0.15, y + 0.17
            rim = _polygon((a, top), (b, top), (b, low), (a, low))
        shapes.append(Shape(np.concatenate([rim, rim[:1]]), tone, 0.035))
        arm = _polygon((side * (x + 0.23), y - 0.03), (side * w, y - 0.05))
        shapes.append(Shape(arm, tone, 0.03))
    bridge = _polygon((-x + 0.23, y - 0.02), (0, y - 0.04), (x - 0.23, y - 0.02))
    return [*shapes, Shape(bridge, tone, 0.03)]


def _ellipse(x: float, y: float, half_width: float, half_height: float) -> Points:
    return np.stack([x + half_width * _COS, y + half_height * _SIN], axis=1)


def _polygon(*corners: tuple[float, float]) -> Points:
    return np.array(corners, dtype=np.float64)


def _between(x: Points, top: Points, low: Points) -> Points:
    """Return the polygon between two curves over the same x."""
    return np.concatenate(
        [np.stack([x, top], axis=1), np.stack([x[::-1], low[::-1]], axis=1)]
    )
