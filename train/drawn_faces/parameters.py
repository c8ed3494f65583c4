"""Parameters of one drawn face: who it is, what it shows, how it was taken.

Lengths are in face units: 1.0 is half the height of the head, x points right and y
points down in the image, and the origin is the centre of the head.
"""

from __future__ import annotations

from dataclasses import astuple, dataclass
from typing import Any

LABELS: tuple[str, ...] = (
    "angry",
    "disgust",
    "fear",
    "happy",
    "neutral",
    "sad",
    "surprise",
)


# The first fields of `View`, shift_x to gamma, change smoothly from frame to frame.
_MOVING = 10


@dataclass(frozen=True)
class Identity:
    """Who is drawn: everything that an expression leaves as it is.

    Attributes:
        head_width: Half width of the head in face units, 0.66 to 0.82.
        jaw_width: Width of the jaw as a fraction of the head's, 0.70 to 0.95.
        skin_tone: Grey level of evenly lit skin, 105 to 215.
        hair_tone: Grey level of hair, brows and beard, 15 to 120 (fair: to 190).
        hair_style: 0 bald, 1 short, 2 fringe, 3 long.
        hair_line: y of the hair line in face units, -0.80 to -0.55.
        eye_x: Distance of each eye from the middle in face units, 0.27 to 0.34.
        eye_y: y of the eyes in face units, -0.16 to -0.04.
        eye_width: Half width of an eye in face units, 0.13 to 0.17.
        eye_height: Half height of a relaxed eye in face units, 0.055 to 0.08.
        iris_tone: Grey level of the iris, 20 to 90.
        brow_gap: Height of relaxed brows over the eyes in face units, 0.18 to 0.25.
        brow_thickness: Thickness of the brows in face units, 0.045 to 0.09.
        nose_length: y of the tip of the nose in face units, 0.20 to 0.32.
        nose_width: Half width of the nose in face units, 0.09 to 0.15.
        mouth_y: y of the closed mouth in face units, 0.50 to 0.60.
        mouth_width: Half width of the relaxed mouth in face units, 0.23 to 0.31.
        lip_thickness: Thickness of one lip in face units, 0.035 to 0.07.
        lip_contrast: Grey level of the lips as a fraction of the skin's, 0.6 to 0.85.
        glasses: 0 none, 1 round, 2 rectangular.
        beard: Opacity of a beard, 0 (none) to 1.
        moustache: Whether there is a moustache, 0 or 1.
    """

    head_width: float
    jaw_width: float
    skin_tone: float
    hair_tone: float
    hair_style: int
    hair_line: float
    eye_x: float
    eye_y: float
    eye_width: float
    eye_height: float
    iris_tone: float
    brow_gap: float
    brow_thickness: float
    nose_length: float
    nose_width: float
    mouth_y: float
    mouth_width: float
    lip_thickness: float
    lip_contrast: float
    glasses: int
    beard: float
    moustache: int


@dataclass(frozen=True)
class Expression:
    """What the face shows; the defaults are a calm face.

    Attributes:
        brow_inner: Raise of the inner ends of the brows, -1.2 (lowered) to 1.2.
        brow_outer: Raise of the outer ends of the brows, -1.2 to 1.2.
        brow_gather: How far the brows are drawn together, 0 to 1.
        eye_opening: Opening of the eyes relative to relaxed ones, 0.1 to 1.8.
        lower_lid: Raise of the lower lids (squint), 0 to 1.
        lid_slant: Drop of the outer (> 0) or inner (< 0) upper lid, -1 to 1.
        mouth_corner: Raise of the corners of the mouth, -1.2 to 1.2.
        mouth_opening: Opening of the mouth, 0 (closed) to 1 (jaw dropped).
        mouth_stretch: Width of the mouth relative to the relaxed one, 0.5 to 1.5.
        upper_lip: Raise of the upper lip, 0 to 1.
        lip_press: How far the lips are pressed together, 0 to 1.
        nose_wrinkle: Wrinkling of the nose, 0 to 1.
        cheek_raise: Raise of the cheeks, 0 to 1.
        teeth: Share of the open mouth that teeth fill, 0 to 1.
        asymmetry: Extra raise of the right half, taken from the left, -0.3 to 0.3.
        gaze_x: Shift of the irises as a fraction of the eye, -0.5 to 0.5.
        gaze_y: The same downwards, -0.5 to 0.5.
    """

    brow_inner: float = 0.0
    brow_outer: float = 0.0
    brow_gather: float = 0.0
    eye_opening: float = 1.0
    lower_lid: float = 0.0
    lid_slant: float = 0.0
    mouth_corner: float = 0.0
    mouth_opening: float = 0.0
    mouth_stretch: float = 1.0
    upper_lip: float = 0.0
    lip_press: float = 0.0
    nose_wrinkle: float = 0.0
    cheek_raise: float = 0.0
    teeth: float = 0.0
    asymmetry: float = 0.0
    gaze_x: float = 0.0
    gaze_y: float = 0.0


@dataclass(frozen=True)
class View:
    """How the face was taken: pose, light, background, camera, and what hides it.

    The ranges are those that still look right; `sample_view` stays inside them.

    Attributes:
        shift_x: Shift of the face as a fraction of the crop, -0.15 to 0.15.
        shift_y: The same downwards, -0.15 to 0.15.
        scale: Half height of the head as a fraction of the crop, 0.38 to 0.55.
        roll_deg: Rotation in the image plane in degrees, -25 to 25.
        yaw: Turn of the head as a shift of its front in face units, -0.2 to 0.2.
        pitch: Nod of the head as a shift of its front in face units, -0.1 to 0.1.
        light_gain: Brightness factor, 0.5 to 1.3.
        light_slope: Change of brightness from the middle to the lit edge, 0 to 0.6.
        light_angle_deg: Direction that the light comes from in degrees, 0 to 360.
        gamma: Exponent of the tone curve, 0.6 to 1.6.
        background_tone: Mean grey level of the background, 20 to 235.
        clutter: Number of shapes in the background, 0 to 6.
        blur_sigma: Standard deviation of the blur in 48ths of the crop, 0 to 1.
        noise_sigma: Standard deviation of the sensor noise in grey levels, 0 to 20.
        occlusion: What covers a part of the face: 0 nothing, 1 blob, 2 strip, 3 hand.
        occlusion_x: x of the middle of the cover in face units, -0.8 to 0.8.
        occlusion_y: y of the middle of the cover in face units, -0.8 to 1.0.
        occlusion_size: Half width of the cover in face units, 0.1 to 0.35.
        occlusion_tone: Grey level of the cover, 20 to 235.
        texture_seed: Seed of the background shapes and of the noise.
    """

    shift_x: float = 0.0
    shift_y: float = 0.0
    scale: float = 0.49
    roll_deg: float = 0.0
    yaw: float = 0.0
    pitch: float = 0.0
    light_gain: float = 1.0
    light_slope: float = 0.0
    light_angle_deg: float = 0.0
    gamma: float = 1.0
    background_tone: float = 150.0
    clutter: int = 0
    blur_sigma: float = 0.0
    noise_sigma: float = 0.0
    occlusion: int = 0
    occlusion_x: float = 0.0
    occlusion_y: float = 0.0
    occlusion_size: float = 0.2
    occlusion_tone: float = 128.0
    texture_seed: int = 0


@dataclass(frozen=True)
class FaceParameters:
    """Everything that determines the pixels of one drawn face.

    Attributes:
        identity: Who is drawn.
        expression: What the face shows.
        view: How it was taken.
    """

    identity: Identity
    expression: Expression
    view: View


def interpolate(a: FaceParameters, b: FaceParameters, weight: float) -> FaceParameters:
    """Return a face between two, for smooth changes of expression and pose.

    The identity, the background, the noise and what covers the face stay those of
    `a`; expression, pose, light and camera move in a straight line.

    Args:
        a: The face at weight 0.
        b: The face at weight 1.
        weight: Position between them, 0 to 1.
    """
    moved = _lerp(astuple(a.expression), astuple(b.expression), weight)
    taken: tuple[Any, ...] = _lerp(
        astuple(a.view)[:_MOVING], astuple(b.view)[:_MOVING], weight
    )
    view = View(*taken, *astuple(a.view)[_MOVING:])
    return FaceParameters(a.identity, Expression(*moved), view)


def _lerp(
    a: tuple[float, ...], b: tuple[float, ...], weight: float
) -> tuple[float, ...]:
    return tuple((1 - weight) * x + weight * y for x, y in zip(a, b, strict=True))
