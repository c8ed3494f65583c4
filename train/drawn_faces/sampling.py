"""Random parameters of a drawn face that shows a given expression.

The prototypes follow the action units of Ekman & Friesen, "Facial Action Coding
System" (1978), as far as a drawing can: anger lowers and gathers the brows, fear
raises and gathers them, sadness raises only their inner ends, and so on.
"""

from __future__ import annotations

from dataclasses import astuple

import numpy as np

from train.drawn_faces.parameters import Expression, FaceParameters, Identity, View

# Two ways of showing each expression at full intensity; a sample mixes in one of them.
_PROTOTYPES: dict[str, tuple[Expression, Expression]] = {
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


def sample_parameters(
    label: str,
    rng: np.random.Generator,
    *,
    identity: Identity | None = None,
    intensity: float | None = None,
    variation: float = 1.0,
) -> FaceParameters:
    """Return random parameters of a face that shows one expression.

    Args:
        label: One of `LABELS`.
        rng: Source of all randomness; it is advanced.
        identity: Who is drawn; a new person when None.
        intensity: How strongly the expression shows, 0 (calm) to about 1.1; random
            in 0.7 to 1.1 when None.
        variation: Strength of pose, light, clutter, noise and occlusion: 0 is a
            clean frontal portrait, 1 the image set.

    Raises:
        KeyError: `label` is not one of `LABELS`.
    """
    who = sample_identity(rng) if identity is None else identity
    strength = float(rng.uniform(0.7, 1.1)) if intensity is None else intensity
    expression = sample_expression(label, rng, intensity=strength)
    return FaceParameters(who, expression, sample_view(rng, variation=variation))


def sample_identity(rng: np.random.Generator) -> Identity:
    """Return a random person."""
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
    """Return one of the label's prototypes at an intensity, with jitter.

    Args:
        label: One of `LABELS`.
        rng: Source of all randomness; it is advanced.
        intensity: Weight of the prototype against the calm face, 0 to about 1.1.

    Raises:
        KeyError: `label` is not one of `LABELS`.
    """
    calm = np.array(astuple(Expression()))
    prototype = np.array(astuple(_PROTOTYPES[label][int(rng.integers(2))]))
    values = calm + intensity * (prototype - calm)
    values += 0.07 * rng.standard_normal(len(values))
    values[-3:] = rng.uniform(-1, 1, 3) * (0.12, 0.35, 0.2)
    low = [-1.2, -1.2, 0, 0.1, 0, -1, -1.2, 0, 0.5, 0, 0, 0, 0, 0, -0.3, -0.5, -0.5]
    high = [1.2, 1.2, 1, 1.8, 1, 1, 1.2, 1, 1.5, 1, 1, 1, 1, 1, 0.3, 0.5, 0.5]
    if prototype[7] == 0:  # a closed mouth stays closed, whatever the jitter says
        values[7] = 0.0
    return Expression(*np.clip(values, low, high).tolist())


def sample_view(rng: np.random.Generator, *, variation: float = 1.0) -> View:
    """Return a random pose, light, background, camera and occlusion.

    Args:
        rng: Source of all randomness; it is advanced.
        variation: Strength of all of it, 0 (clean frontal portrait) to 1.
    """
    s = (variation * rng.uniform(-1, 1, 9)).tolist()
    u = rng.random(10).tolist()
    covered = u[0] < 0.14 * variation
    return View(
        shift_x=0.06 * s[0],
        shift_y=0.055 * s[1],
        scale=0.49 + 0.04 * s[2],
        roll_deg=11 * s[3],
        yaw=0.12 * s[4],
        pitch=0.05 * s[5],
        light_gain=0.97 + 0.2 * s[6],
        light_slope=0.35 * variation * u[1],
        light_angle_deg=360 * u[2],
        gamma=1 + 0.25 * s[7],
        background_tone=30 + 195 * u[3],
        clutter=int(6 * variation * u[4]),
        blur_sigma=0.5 * variation * u[5],
        noise_sigma=8 * variation * u[6],
        occlusion=1 + int(3 * u[7]) if covered else 0,
        occlusion_x=0.7 * s[8],
        occlusion_y=-0.7 + 1.6 * u[8],
        occlusion_size=0.10 + 0.10 * u[9],
        occlusion_tone=float(rng.uniform(25, 230)),
        texture_seed=int(rng.integers(2**31)),
    )
