"""Parameters of a drawn face: who is drawn, what the face shows, how the head is held.

Lengths are in face units: 1.0 is half the height of the head, x points right and y
points down in the image, and the origin is the centre of the head. Tones are grey
levels, 0 to 255.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

LABELS = ("angry", "disgust", "fear", "happy", "neutral", "sad", "surprise")


class Identity(NamedTuple):
    """Who is drawn: everything that an expression leaves as it is.

    `sample_identity` has the ranges.
    """

    head_width: float  # half width of the head
    jaw_width: float  # as a fraction of the head's
    skin_tone: float
    hair_tone: float  # of hair, brows and beard
    hair_style: int  # 0 bald, 1 short, 2 fringe, 3 long
    hair_line: float  # y of the hair line
    eye_x: float  # distance of each eye from the middle
    eye_y: float
    eye_width: float  # half width of an eye
    eye_height: float  # half height of a relaxed eye
    iris_tone: float
    brow_gap: float  # height of relaxed brows over the eyes
    brow_thickness: float
    nose_length: float  # y of the tip of the nose
    nose_width: float  # half width of the nose
    mouth_y: float  # of the closed mouth
    mouth_width: float  # half width of the relaxed mouth
    lip_thickness: float  # of one lip
    lip_contrast: float  # tone of the lips as a fraction of the skin's
    glasses: int  # 0 none, 1 round, 2 rectangular
    beard: float  # opacity, 0 to 1
    moustache: int  # 0 or 1


class Expression(NamedTuple):
    """What the face shows; the defaults are a calm face. `_LIMITS` has the ranges."""

    brow_inner: float = 0.0  # raise of the inner ends of the brows
    brow_outer: float = 0.0  # raise of the outer ends of the brows
    brow_gather: float = 0.0  # how far the brows are drawn together
    eye_opening: float = 1.0  # relative to relaxed eyes
    lower_lid: float = 0.0  # raise of the lower lids (squint)
    lid_slant: float = 0.0  # drop of the outer (> 0) or inner (< 0) upper lid
    mouth_corner: float = 0.0  # raise of the corners of the mouth
    mouth_opening: float = 0.0  # 0 closed, 1 jaw dropped
    mouth_stretch: float = 1.0  # width relative to the relaxed mouth
    upper_lip: float = 0.0  # raise of the upper lip
    lip_press: float = 0.0  # how far the lips are pressed together
    nose_wrinkle: float = 0.0
    cheek_raise: float = 0.0
    teeth: float = 0.0  # share of the open mouth that teeth fill
    asymmetry: float = 0.0  # raise of the right half, taken from the left
    gaze_x: float = 0.0  # shift of the irises as a fraction of the eye
    gaze_y: float = 0.0


_LIMITS = (
    Expression(
        -1.2, -1.2, 0, 0.1, 0, -1, -1.2, 0, 0.5, 0, 0, 0, 0, 0, -0.3, -0.5, -0.5
    ),
    Expression(1.2, 1.2, 1, 1.8, 1, 1, 1.2, 1, 1.5, 1, 1, 1, 1, 1, 0.3, 0.5, 0.5),
)

# Two ways of showing each expression. They follow the action units of Ekman & Friesen,
# "Facial Action Coding System" (1978), as far as a drawing can: anger lowers and
# gathers the brows, sadness raises only their inner ends, and so on.
PROTOTYPES: dict[str, tuple[Expression, Expression]] = {
    "angry": (
        Expression(-1, 0.1, 0.9, 0.8, 0.3, -0.7, -0.35, 0, 0.85, 0, 1.0, 0.1),
        Expression(-1, 0.2, 0.9, 0.9, 0.3, -0.7, -0.3, 0.32, 1, 0.2, 0, 0.3, 0, 1),
    ),
    "disgust": (
        Expression(-0.5, -0.5, 0.3, 0.45, 0.8, 0, -0.5, 0.05, 0.9, 1, 0, 1, 0.5),
        Expression(-0.4, -0.5, 0.3, 0.4, 0.9, 0, -0.5, 0.28, 0.9, 1, 0, 1, 0.6, 0.3),
    ),
    "fear": (
        Expression(0.9, 0.25, 0.9, 1.5, 0.1, 0.5, -0.3, 0.3, 1.3, 0, 0, 0, 0, 0.8),
        Expression(0.9, 0.2, 0.9, 1.55, 0.1, 0.5, -0.4, 0.2, 1.35),
    ),
    "happy": (
        Expression(0.1, 0.1, 0, 0.75, 0.5, 0, 1, 0.4, 1.25, 0.1, 0, 0, 1, 1),
        Expression(0, 0, 0, 0.7, 0.6, 0, 0.95, 0, 1.25, 0, 0, 0, 1),
    ),
    "neutral": (Expression(), Expression()),
    "sad": (
        Expression(0.9, -0.5, 0.3, 0.65, 0, 0.9, -1, 0, 0.85, 0, 0.1),
        Expression(0.8, -0.5, 0.3, 0.45, 0, 0.9, -0.9, 0.1, 0.85),
    ),
    "surprise": (
        Expression(0.95, 1, 0, 1.5, 0, 0, 0, 0.95, 0.62),
        Expression(0.95, 1, 0, 1.45, 0, 0, 0.1, 0.6, 0.6),
    ),
}


class DrawnFace(NamedTuple):
    """All that is painted of one face."""

    identity: Identity
    expression: Expression
    roll_deg: float = 0.0  # rotation in the image plane
    yaw: float = 0.0  # turn of the head, as a shift of its front
    pitch: float = 0.0  # nod of the head, as a shift of its front


def sample_identity(rng: np.random.Generator) -> Identity:
    """Returns a random person; `rng` is advanced."""
    u = rng.random(24).tolist()

    def between(index: int, low: float, high: float) -> float:
        return float(low + (high - low) * u[index])

    skin = between(0, 105, 215)
    fair = u[1] < 0.2 and skin > 150
    has_beard = u[2] < 0.18
    return Identity(
        head_width=between(3, 0.66, 0.82),
        jaw_width=between(4, 0.70, 0.95),
        skin_tone=skin,
        hair_tone=between(5, 110, 190) if fair else between(5, 15, min(120, skin - 50)),
        hair_style=int(4 * u[6]),
        hair_line=between(7, -0.80, -0.55),
        eye_x=between(8, 0.27, 0.34),
        eye_y=between(9, -0.16, -0.04),
        eye_width=between(10, 0.13, 0.17),
        eye_height=between(11, 0.055, 0.08),
        iris_tone=between(12, 20, 90),
        brow_gap=between(13, 0.18, 0.25),
        brow_thickness=between(14, 0.045, 0.09),
        nose_length=between(15, 0.20, 0.32),
        nose_width=between(16, 0.09, 0.15),
        mouth_y=between(17, 0.50, 0.60),
        mouth_width=between(18, 0.23, 0.31),
        lip_thickness=between(19, 0.035, 0.07),
        lip_contrast=between(20, 0.60, 0.85),
        glasses=(1 + int(2 * u[21])) if u[22] < 0.2 else 0,
        beard=between(23, 0.3, 0.9) if has_beard else 0.0,
        moustache=int(u[2] < 0.12 or u[2] > 0.95),
    )


def sample_expression(
    label: str, rng: np.random.Generator, *, intensity: float
) -> Expression:
    """Returns one of the label's prototypes at an intensity, with jitter.

    Args:
        label: One of `LABELS`.
        rng: Source of all randomness; it is advanced.
        intensity: Weight of the prototype against the calm face, 0 to about 1.1.

    Raises:
        KeyError: `label` is not one of `LABELS`.
    """
    prototype = PROTOTYPES[label][int(rng.integers(2))]
    calm = np.array(Expression())
    values = calm + intensity * (np.array(prototype) - calm)
    values += 0.07 * rng.standard_normal(len(values))
    values[-3:] = rng.uniform(-1, 1, 3) * (0.12, 0.35, 0.2)
    shown = Expression(*np.clip(values, *_LIMITS).tolist())
    # A closed mouth stays closed, whatever the jitter says.
    return shown if prototype.mouth_opening else shown._replace(mouth_opening=0.0)


def interpolate(a: Expression, b: Expression, weight: float) -> Expression:
    """Returns the expression between two: `a` at weight 0, `b` at weight 1."""
    pairs = zip(a, b, strict=True)
    return Expression(*((1 - weight) * x + weight * y for x, y in pairs))
