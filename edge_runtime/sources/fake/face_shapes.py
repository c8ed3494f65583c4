"""Shapes of a drawn face, in face units, in painting order."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from edge_runtime.sources.fake.face import DrawnFace, Expression, Identity

Points = npt.NDArray[np.float64]

_T = np.linspace(-1.0, 1.0, 13)  # position across an eye or a mouth
_ARCH = 1.0 - _T**2
_ROUND = np.sqrt(np.maximum(_ARCH, 0.0))
_ANGLES = np.linspace(0.0, 2.0 * np.pi, 25)[:-1]
_COS, _SIN = np.cos(_ANGLES), np.sin(_ANGLES)


class Shape(NamedTuple):
    """One polygon or line of one grey level."""

    points: Points  # float64 (N, 2), x and y in face units
    tone: float  # 0 to 255
    thickness: float = 0.0  # of a line, in face units; 0 fills the polygon


def polygon(*corners: tuple[float, float]) -> Points:
    """Returns the corners, float64 (N, 2)."""
    return np.array(corners, dtype=np.float64)


def back_shapes(who: Identity) -> list[Shape]:
    """Returns the shapes behind the head: neck, long hair and ears."""
    w, skin = who.head_width, who.skin_tone
    neck = polygon((-0.42, 0.5), (0.42, 0.5), (0.5, 1.5), (-0.5, 1.5))
    shapes = [Shape(neck, 0.72 * skin)]
    if who.hair_style != 3:
        return shapes + [_ellipse(s * w, 0.05, 0.1, 0.2, 0.85 * skin) for s in (-1, 1)]
    strands = (-w - 0.18, 0), (w + 0.18, 0), (w + 0.1, 1.2), (-w - 0.1, 1.2)
    throat = polygon((-0.4, 0.5), (0.4, 0.5), (0.45, 1.3), (-0.45, 1.3))
    return [
        *shapes,
        _ellipse(0, 0.0, w + 0.2, 1.15, who.hair_tone),
        Shape(polygon(*strands), who.hair_tone),
        Shape(throat, 0.7 * skin),
    ]


def head_shape(face: DrawnFace) -> Shape:
    """Returns the head; the jaw is narrower than the skull and drops with the mouth."""
    who, shown = face.identity, face.expression
    below = np.maximum(_SIN, 0.0)
    width = who.head_width * (1.0 - (1.0 - who.jaw_width) * below**2)
    cheeks = 1.0 + 0.05 * shown.cheek_raise * np.exp(-(((_SIN - 0.3) / 0.25) ** 2))
    drop = 1.0 + 0.13 * shown.mouth_opening * below
    square = np.sign(_COS) * np.abs(_COS) ** 0.85
    return Shape(_xy(square * width * cheeks, _SIN * drop), 0.86 * who.skin_tone)


def shading_shapes(face: DrawnFace) -> list[Shape]:
    """Returns the soft light and shade of the skin, to be blurred before use."""
    who, smile = face.identity, face.expression.cheek_raise
    skin, y = who.skin_tone, who.eye_y
    shapes = [
        _ellipse(0, -0.05, 0.85 * who.head_width, 0.92, skin),
        _ellipse(0, y - 0.42, 0.45, 0.16, 1.1 * skin),
        _ellipse(0, who.mouth_y + 0.3, 0.16, 0.07, 1.08 * skin),
        _ellipse(0, who.mouth_y + 0.17, 0.2, 0.04, 0.85 * skin),
    ]
    cheek = (1.1 + 0.08 * smile) * skin
    for side in (-1, 1):
        wing_x, wing_y = side * who.nose_width, who.nose_length - 0.12
        shapes += [
            _ellipse(side * who.eye_x, y - 0.04, 0.22, 0.15, 0.76 * skin),
            _ellipse(side * 0.4, 0.22 - 0.05 * smile, 0.19, 0.13, cheek),
            _ellipse(wing_x, wing_y, 0.05, 0.14, 0.82 * skin),
        ]
    shapes.append(_ellipse(0, y + 0.12, 0.055, 0.3, 1.16 * skin))
    if who.beard > 0:
        w = 0.9 * who.head_width
        beard = polygon(
            (-w, 0.25), (-0.6 * w, 0.5), (0, who.mouth_y - 0.12), (0.6 * w, 0.5),
            (w, 0.25), (0.85 * w, 0.75), (0, 1.2), (-0.85 * w, 0.75),
        )  # fmt: skip
        tone = who.beard * who.hair_tone + (1 - who.beard) * skin
        shapes.append(Shape(beard, tone))
    return shapes


def feature_shapes(face: DrawnFace) -> list[Shape]:
    """Returns eyes, brows, nose, folds, mouth and glasses."""
    who, shown = face.identity, face.expression
    shapes = _nose(who, shown) + _folds(who, shown) + _mouth(who, shown)
    for side in (-1, 1):
        shapes += [*_eye(who, shown, side), _brow(who, shown, side)]
    return shapes + _glasses(who)


def hair_shapes(who: Identity) -> list[Shape]:
    """Returns the hair over the forehead; none for a bald head."""
    if who.hair_style == 0:
        return []
    top = _xy((who.head_width + 0.07) * _COS[12:], 1.1 * _SIN[12:])
    x = (who.head_width + 0.05) * _T[::-1]
    line = who.hair_line - (0.15 + who.hair_line) * _T**6
    if who.hair_style == 2:
        line = line + (0.1 + 0.04 * np.cos(12.0 * x)) * _ARCH
    return [Shape(np.concatenate([top, _xy(x, line)]), who.hair_tone)]


def _eye(who: Identity, shown: Expression, side: int) -> list[Shape]:
    """Returns white, iris and lids of the eye on one side (-1 or 1)."""
    opening = who.eye_height * shown.eye_opening
    cx, cy = side * who.eye_x, who.eye_y
    x = cx + who.eye_width * _T
    outwards = side * _T  # -1 at the inner corner, 1 at the outer one
    slant = 0.5 * shown.lid_slant * outwards
    upper = cy - opening * 1.25 * _ROUND * np.clip(1.0 - slant, 0.2, 1.4)
    upper = upper + 0.03 * shown.lid_slant * outwards
    lower = cy + opening * 0.85 * _ARCH * (1.0 - 0.8 * shown.lower_lid)
    lower = np.maximum(lower + 0.03 * shown.lid_slant * outwards, upper)
    iris_x = cx + 0.5 * who.eye_width * shown.gaze_x + 0.075 * _COS
    iris_y = cy - 0.01 + 0.05 * shown.gaze_y + 0.075 * _SIN
    # The iris ends at the lids: clipping its points keeps it inside the opening.
    iris_y = np.clip(iris_y, np.interp(iris_x, x, upper), np.interp(iris_x, x, lower))
    white = min(250.0, 0.45 * who.skin_tone + 150.0)
    crease = _xy(x, upper) + np.array([0.0, -0.045])
    return [
        _band(x, upper, lower, white),
        Shape(_xy(iris_x, iris_y), who.iris_tone * 0.6),
        Shape(_xy(x, upper), 25.0, 0.035),
        Shape(_xy(x, lower), 0.5 * who.skin_tone, 0.015),
        Shape(crease[2:-2], 0.62 * who.skin_tone, 0.015),
    ]


def _brow(who: Identity, shown: Expression, side: int) -> Shape:
    """Returns the brow on one side (-1 or 1), with its inner and outer heights."""
    t = _T[::2] * 0.5 + 0.5  # 0 at the inner end, 1 at the outer one
    raised = 0.13 * (shown.brow_inner * (1 - t) ** 1.5 + shown.brow_outer * t)
    raised += 0.05 * max(shown.brow_outer, 0.0) * np.sin(np.pi * t)
    raised += side * 0.1 * shown.asymmetry
    inner = who.eye_x - who.eye_width - 0.02 - 0.055 * shown.brow_gather
    x = inner + (2 * who.eye_width + 0.06) * t
    arch = 0.05 * np.sin(np.pi * t**1.3) - 0.03 * t
    y = who.eye_y - who.brow_gap - arch - raised
    half = 0.5 * who.brow_thickness * (1.15 - 0.75 * t)
    return _band(side * x, y - half, y + half, 0.85 * who.hair_tone)


def _nose(who: Identity, shown: Expression) -> list[Shape]:
    """Returns nostrils, wings and, for a wrinkled nose, the lines across it."""
    skin, w = who.skin_tone, who.nose_width
    tip = who.nose_length - 0.05 * shown.nose_wrinkle
    shapes = [_ellipse(0, tip, 0.6 * w, 0.05, 1.08 * skin)]
    wing = polygon(
        (0.75 * w, tip - 0.1), (1.1 * w, tip - 0.02), (w, tip + 0.05),
        (0.7 * w, tip + 0.06),
    )  # fmt: skip
    for side in (-1, 1):
        shapes.append(Shape(wing * np.array([side, 1.0]), 0.6 * skin, 0.02))
        shapes.append(_ellipse(side * 0.5 * w, tip + 0.05, 0.04, 0.02, 0.3 * skin))
    if shown.nose_wrinkle > 0.25:
        tone = (1.0 - 0.5 * shown.nose_wrinkle) * skin
        for k in range(3):
            y = who.eye_y + 0.05 + 0.075 * k
            line = polygon((-0.1, y - 0.04), (0, y + 0.015), (0.1, y - 0.04))
            shapes.append(Shape(line, tone, 0.022))
    return shapes


def _folds(who: Identity, shown: Expression) -> list[Shape]:
    """Returns the folds beside the mouth, between the brows and on the forehead."""
    skin, shapes = who.skin_tone, []
    depth = 0.12 + 0.35 * max(shown.cheek_raise, shown.upper_lip)
    x, y = who.nose_width, who.nose_length
    reach = who.mouth_width * shown.mouth_stretch + 0.06
    middle = 0.6 * x + 0.5 * reach, y + 0.09
    fold = polygon((x + 0.03, y - 0.02), middle, (reach, who.mouth_y - 0.06))
    frown = polygon((0.04, who.eye_y - 0.2), (0.035, who.eye_y - 0.06))
    for side in (-1, 1):
        mirror = np.array([side, 1.0])
        shapes.append(Shape(fold * mirror, (1 - depth) * skin, 0.022))
        if shown.brow_gather > 0.35:
            tone = (1 - 0.45 * shown.brow_gather) * skin
            shapes.append(Shape(frown * mirror, tone, 0.022))
    raised = 0.5 * (shown.brow_inner + max(shown.brow_outer, -0.2))
    if raised > 0.3:
        for k in range(2):
            y = who.eye_y - who.brow_gap - 0.26 - 0.08 * k
            line = _xy(0.3 * _T, y - 0.03 * _ARCH)
            shapes.append(Shape(line, (1 - 0.3 * raised) * skin, 0.018))
    return shapes


def _mouth(who: Identity, shown: Expression) -> list[Shape]:
    """Returns lips, the opening between them, teeth and the moustache."""
    skin, opening = who.skin_tone, shown.mouth_opening
    tilt = 0.15 * (shown.mouth_corner + shown.asymmetry * _T)
    centre = who.mouth_y + 0.06 * shown.mouth_corner + 0.1 * opening
    x, middle = who.mouth_width * shown.mouth_stretch * _T, centre - tilt * _T**2
    lift = 0.1 * shown.upper_lip * (1.0 - _T**4)
    # A narrow open mouth is round, a stretched one is flat like a letter box.
    form = _ROUND if shown.mouth_stretch < 0.9 else 0.5 * (_ROUND + _ARCH)
    inner_top = middle - (0.14 * opening + 0.03 * shown.upper_lip) * form - 0.5 * lift
    inner_low = middle + 0.26 * opening * form - 0.5 * lift
    lips = who.lip_thickness * (1.0 - 0.75 * shown.lip_press)
    bow = lips * (_ARCH + 0.25 * np.exp(-8 * (np.abs(_T) - 0.3) ** 2) * _ARCH)
    top, low = inner_top - bow - 0.3 * lift, inner_low + 1.25 * lips * _ARCH
    shapes = [_band(x, top, low, who.lip_contrast * skin)]
    if opening > 0.04:
        shapes.append(_band(x, inner_top, inner_low, 28.0))
        if shown.teeth > 0.15:
            edge = inner_top + min(shown.teeth, 1.0) * 0.8 * (inner_low - inner_top)
            shapes.append(_band(x[1:-1], inner_top[1:-1], edge[1:-1], 232.0))
    else:
        thickness = 0.03 + 0.015 * shown.lip_press
        shapes.append(Shape(_xy(x, inner_low), 0.32 * skin, thickness))
    if shown.lip_press > 0.4:
        chin = _xy(0.5 * x, low + 0.08 - 0.03 * _ARCH)
        shapes.append(Shape(chin, 0.68 * skin, 0.025))
    if who.moustache:
        y = top - 0.02
        shapes.append(_band(0.95 * x, y - 0.08 * _ROUND, y + 0.01, who.hair_tone))
    return shapes


def _glasses(who: Identity) -> list[Shape]:
    """Returns the frame of the glasses, if any."""
    if not who.glasses:
        return []
    shapes = []
    x, y, w, tone = who.eye_x, who.eye_y + 0.01, who.head_width, 35.0
    for side in (-1, 1):
        rim = _ellipse(side * x, y, 0.23, 0.2, tone).points
        if who.glasses == 2:
            a, b, top, low = side * x - 0.23, side * x + 0.23, y - 0.15, y + 0.17
            rim = polygon((a, top), (b, top), (b, low), (a, low))
        shapes.append(Shape(np.concatenate([rim, rim[:1]]), tone, 0.035))
        arm = polygon((side * (x + 0.23), y - 0.03), (side * w, y - 0.05))
        shapes.append(Shape(arm, tone, 0.03))
    bridge = polygon((-x + 0.23, y - 0.02), (0, y - 0.04), (x - 0.23, y - 0.02))
    return [*shapes, Shape(bridge, tone, 0.03)]


def _xy(x: Points, y: Points) -> Points:
    points = np.empty((len(x), 2))  # np.stack takes four times as long
    points[:, 0], points[:, 1] = x, y
    return points


def _ellipse(
    x: float, y: float, half_width: float, half_height: float, tone: float
) -> Shape:
    return Shape(_xy(x + half_width * _COS, y + half_height * _SIN), tone)


def _band(x: Points, top: Points, low: Points, tone: float) -> Shape:
    """Returns the polygon between two curves over the same x."""
    return Shape(np.concatenate([_xy(x, top), _xy(x[::-1], low[::-1])]), tone)
