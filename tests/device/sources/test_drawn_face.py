"""The painter of faces: parameters, and sprites that are laid over a picture."""

from __future__ import annotations

import numpy as np
import pytest

from edge_runtime.sources.fake.face import (
    LABELS,
    PROTOTYPES,
    DrawnFace,
    Expression,
    interpolate,
    sample_expression,
    sample_identity,
)
from edge_runtime.sources.fake.face_painter import FaceSprite, draw_sprite

UNIT_PX = 40


def sprite_of(expression: Expression) -> FaceSprite:
    return draw_sprite(
        DrawnFace(sample_identity(np.random.default_rng(3)), expression), UNIT_PX
    )


def grey_wall(height: int = 200, width: int = 300) -> np.ndarray:
    return np.full((height, width, 3), 100, np.uint8)


@pytest.mark.parametrize("label", sorted(set(LABELS) - {"neutral"}))
def test_every_expression_changes_the_calm_face(label: str) -> None:
    calm, shown = sprite_of(Expression()), sprite_of(PROTOTYPES[label][0])
    assert np.mean(calm.image != shown.image) > 0.01


@pytest.mark.parametrize("label", LABELS)
def test_sampled_expressions_differ_and_a_closed_mouth_stays_closed(label: str) -> None:
    rng = np.random.default_rng(4)
    shown = {sample_expression(label, rng, intensity=1.0) for _ in range(20)}
    assert len(shown) == 20
    closed = [p for p in PROTOTYPES[label] if not p.mouth_opening]
    assert len(closed) < 2 or not any(one.mouth_opening for one in shown)


def test_interpolation_starts_and_ends_at_its_two_expressions() -> None:
    sad, surprised = PROTOTYPES["sad"][0], PROTOTYPES["surprise"][0]
    assert interpolate(sad, surprised, 0.0) == sad
    assert interpolate(sad, surprised, 1.0) == surprised
    middle = interpolate(sad, surprised, 0.5).mouth_opening
    assert middle == pytest.approx((sad.mouth_opening + surprised.mouth_opening) / 2)


def test_sprite_is_pasted_where_the_head_shall_be() -> None:
    sprite = sprite_of(Expression())
    left, right = grey_wall(), grey_wall()
    sprite.paste(left, (100, 100))
    sprite.paste(right, (180, 100))
    assert np.array_equal(left[60:140, 70:130], right[60:140, 150:210])
    assert (left[:, 160:] == 100).all()
    assert np.mean(left[70:130, 80:120] != 100) > 0.95


@pytest.mark.parametrize(
    "centre_xy", [(0, 0), (300, 200), (-30, 90), (310, 90), (150, -40), (150, 250)]
)
def test_sprite_is_cut_off_at_the_edge_of_the_picture(
    centre_xy: tuple[int, int],
) -> None:
    wall, large = grey_wall(), grey_wall(600, 700)
    sprite = sprite_of(Expression())
    sprite.paste(wall, centre_xy)
    sprite.paste(large, (centre_xy[0] + 200, centre_xy[1] + 200))
    assert np.array_equal(wall, large[200:400, 200:500])


@pytest.mark.parametrize("centre_xy", [(-500, 90), (150, 900), (900, -900)])
def test_sprite_outside_of_the_picture_leaves_it_as_it_is(
    centre_xy: tuple[int, int],
) -> None:
    wall = grey_wall()
    sprite_of(Expression()).paste(wall, centre_xy)
    assert (wall == 100).all()
