"""The only preprocessing there is: the same pixels everywhere, and nothing stretched.

The hashes below hold in every environment and on every CPU: only operations with
exact integer arithmetic are used. A change of them changes what every released model
sees.
"""

import hashlib
from fractions import Fraction
from functools import partial

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_runtime.preprocessing import (
    resize,
    resize_upright,
    square_box,
    square_crop,
    to_model_input,
    upright,
)


def generated(height, width, channels=3):
    """An image with edges, ramps and noise, by integer arithmetic."""
    y, x, c = np.indices((height, width, channels), dtype=np.uint32)
    ramp = (x * 5 + y * 3 + c * 40) % 256
    position = ((y * width + x) * 3 + c + 1).astype(np.uint64)
    noise = position * np.uint64(2654435761) % np.uint64(2**32) >> np.uint64(24)
    board = ((x // 5 + y // 7) % 2) * 128
    return ((2 * ramp + noise + board) // 4).astype(np.uint8)


def digest(image):
    return hashlib.sha256(np.ascontiguousarray(image).tobytes()).hexdigest()[:16]


# --- goldens -----------------------------------------------------------------------

GOLDENS = {
    ("down", (120, 160), 48, "grey"): "5859a8f3bbe09695",
    ("down-rgb", (120, 160), 48, "rgb"): "2d8b2e601e9edbea",
    ("down-odd", (101, 77), 48, "grey"): "4e0c35c23179eaa7",
    ("up", (20, 30), 48, "grey"): "36a4c80ed66faa0b",
    ("up-rgb", (20, 30), 48, "rgb"): "e7ff005a94e1c953",
    ("wide", (30, 200), 48, "grey"): "e3e8cd0b23a4dd3b",
    ("tall-rgb", (200, 30), 48, "rgb"): "bfc3655c2734f9f4",
    ("same", (48, 48), 48, "grey"): "a62d8842bf43bf5d",
    ("to-224", (300, 100), 224, "rgb"): "cf84178ff5cc855f",
    ("from-1", (1, 1), 32, "grey"): "12e80ac721320ca6",
}


@pytest.mark.parametrize("case", GOLDENS, ids=[case[0] for case in GOLDENS])
def test_pixels_are_the_same_everywhere(case):
    _, (height, width), size_px, colour = case
    image = to_model_input(generated(height, width), size_px, colour)
    assert digest(image) == GOLDENS[case]


PADDED = {
    ("wide", (30, 200), 48, "grey"): "14a70b0e785107a7",
    ("tall-rgb", (200, 30), 48, "rgb"): "22d002172a5ab406",
    ("up-rgb", (20, 30), 48, "rgb"): "f9fcdcc58249c921",
    ("odd", (101, 77), 48, "grey"): "fa9f9018250e45f1",
    ("thin", (3, 2000), 48, "rgb"): "b62a75930318a07f",
}


@pytest.mark.parametrize("case", PADDED, ids=[case[0] for case in PADDED])
def test_padded_pixels_are_the_same_everywhere(case):
    _, (height, width), size_px, colour = case
    image = to_model_input(generated(height, width), size_px, colour, "pad")
    assert digest(image) == PADDED[case]


def test_the_generated_image_is_the_same_everywhere():
    assert digest(generated(120, 160)) == "b8e1dd2fe86bb1c9"


# --- shapes and colours ------------------------------------------------------------


@pytest.mark.parametrize("colour", ["grey", "rgb"])
@pytest.mark.parametrize(
    "shape",
    [(60, 80), (60, 80, 1), (60, 80, 3), (60, 80, 4), (20, 20), (48, 48), (30, 90, 3)],
    ids=str,
)
def test_result_is_a_square_of_uint8_in_the_models_colour(shape, colour):
    image = generated(*shape[:2], shape[2] if len(shape) == 3 else 1).reshape(shape)
    result = to_model_input(image, 48, colour)
    assert result.shape == (48, 48, 1 if colour == "grey" else 3)
    assert result.dtype == np.uint8


def test_rgb_result_has_red_first():
    bgr = np.zeros((48, 48, 3), np.uint8)
    bgr[...] = (10, 20, 200)
    assert to_model_input(bgr, 48, "rgb")[0, 0].tolist() == [200, 20, 10]


def test_alpha_is_dropped():
    bgra = generated(50, 50, 4)
    expected = to_model_input(bgra[..., :3], 48, "rgb")
    assert np.array_equal(to_model_input(bgra, 48, "rgb"), expected)


def test_grey_of_bgr_weighs_the_channels_as_opencv_does():
    bgr = generated(48, 48)
    expected = cv2.cvtColor(bgr, cv2.COLOR_BGR2GRAY)
    assert np.array_equal(to_model_input(bgr, 48, "grey")[..., 0], expected)


@pytest.mark.parametrize("colour", ["grey", "rgb"])
def test_grey_with_and_without_a_channel_axis_are_the_same(colour):
    grey = generated(60, 70, 1)
    one = to_model_input(grey, 48, colour)
    assert np.array_equal(one, to_model_input(grey[..., 0], 48, colour))


def test_grey_image_in_an_rgb_model_has_three_equal_channels():
    result = to_model_input(generated(48, 48, 1), 48, "rgb")
    assert (result == result[..., :1]).all()


def test_image_of_the_right_size_keeps_its_pixels():
    grey = generated(48, 48, 1)
    assert np.array_equal(to_model_input(grey, 48, "grey"), grey)


def test_a_view_into_a_frame_gives_the_same_as_its_copy():
    crop = generated(120, 160)[10:70, 20:80]
    one, other = (to_model_input(image, 48, "grey") for image in (crop, crop.copy()))
    assert np.array_equal(one, other)


@pytest.mark.parametrize(
    ("shape", "dtype"),
    [
        ((48, 48), np.float32),
        ((48, 48), np.uint16),
        ((48, 48), np.bool_),
        ((48,), np.uint8),
        ((), np.uint8),
        ((1, 48, 48, 1), np.uint8),
        ((0, 48), np.uint8),
        ((48, 0, 3), np.uint8),
        ((48, 48, 2), np.uint8),
        ((48, 48, 5), np.uint8),
    ],
    ids=str,
)
@pytest.mark.parametrize("colour", ["grey", "rgb"])
def test_array_that_is_no_uint8_image_is_refused(shape, dtype, colour):
    with pytest.raises(ValueError, match="expected"):
        to_model_input(np.zeros(shape, dtype), 48, colour)


# --- resize ------------------------------------------------------------------------

sizes = st.integers(1, 90)


@given(sizes, sizes, sizes, st.integers(0, 255))
def test_a_flat_image_stays_flat(height, width, size_px, value):
    image = np.full((height, width), value, np.uint8)
    assert (resize(image, (size_px, size_px)) == value).all()


@given(sizes, sizes, sizes)
def test_resized_values_stay_within_the_images_own(height, width, size_px):
    image = generated(height, width)
    result = resize(image, (size_px, size_px))
    assert result.shape == (size_px, size_px, 3)
    assert image.min() <= result.min() <= result.max() <= image.max()


def test_shrinking_averages_over_the_area():
    image = np.array([[0, 100], [100, 200]], np.uint8).repeat(4, 0).repeat(4, 1)
    assert np.array_equal(resize(image, (2, 2)), [[0, 100], [100, 200]])
    assert resize(image, (1, 1)).tolist() == [[100]]


def mean_of_areas(image, size_px):
    """What shrinking must give, in Python's integers: halves to the even value."""
    height, width = image.shape
    rows, columns = weights(height, size_px), weights(width, size_px)
    sums = rows.astype(object) @ image.astype(object) @ columns.T.astype(object)
    return np.array([[round(Fraction(one, height * width)) for one in r] for r in sums])


def weights(length, count):
    """How many ``count``-ths of each pixel lie in each of ``count`` equal parts."""
    pixel, part = np.arange(length) * count, np.arange(count)[:, np.newaxis] * length
    overlap = np.minimum(pixel + count, part + length) - np.maximum(pixel, part)
    return np.maximum(overlap, 0)


# The larger ones are too large for the sums of int32: 255 * 800 * 700 * 16 > 2**31.
@pytest.mark.parametrize(
    ("shape", "size_px"),
    [((5, 7), 3), ((96, 96), 48), ((101, 77), 48), ((170, 170), 48), ((800, 700), 16)],
    ids=str,
)
@pytest.mark.parametrize("lightest", [False, True], ids=["generated", "all-255"])
def test_shrinking_is_exact(shape, size_px, lightest):
    image = generated(*shape, 1)[..., 0]
    if lightest:
        image = np.full_like(image, 255)
    assert np.array_equal(
        resize(image, (size_px, size_px)), mean_of_areas(image, size_px)
    )


def test_channels_shrink_alike():
    image = generated(800, 700)
    channels = [resize(image[..., channel], (16, 16)) for channel in range(3)]
    assert np.array_equal(resize(image, (16, 16)), np.stack(channels, axis=-1))


# --- square boxes ------------------------------------------------------------------

frames = st.tuples(st.integers(1, 2000), st.integers(1, 2000))
margins = st.floats(-0.4, 2.0)


@st.composite
def boxes(draw):
    left, top = draw(st.integers(-500, 2500)), draw(st.integers(-500, 2500))
    return left, top, draw(st.integers(1, 1500)), draw(st.integers(1, 1500))


@given(boxes(), frames, margins)
def test_box_is_square_and_inside_the_frame(box, frame_wh, margin):
    left, top, width, height = square_box(box, frame_wh, margin)
    assert width == height >= 1
    assert 0 <= left <= left + width <= frame_wh[0]
    assert 0 <= top <= top + height <= frame_wh[1]


@st.composite
def boxes_in_frames(draw):
    """A box inside a frame that has room for the square around it."""
    width, height = draw(st.integers(1, 300)), draw(st.integers(1, 300))
    side = max(width, height)
    frame_wh = draw(st.integers(side, 900)), draw(st.integers(side, 900))
    left = draw(st.integers(0, frame_wh[0] - width))
    return (left, draw(st.integers(0, frame_wh[1] - height)), width, height), frame_wh


@given(boxes_in_frames(), st.floats(0, 2.0))
def test_box_contains_the_face_where_that_is_possible(case, margin):
    box, frame_wh = case
    x, y, width, height = box
    left, top, side, _ = square_box(box, frame_wh, margin)
    assert left <= x <= x + width <= left + side
    assert top <= y <= y + height <= top + side


@given(st.integers(1, 200), st.integers(1, 200), st.integers(0, 99), st.integers(0, 99))
def test_box_keeps_the_centre_where_there_is_room(width, height, dx, dy):
    box = (1000 + dx, 1000 + dy, width, height)
    left, top, side, _ = square_box(box, (3000, 3000), 0.25)
    assert side == round(1.5 * max(width, height))
    assert abs((2 * left + side) - (2 * box[0] + width)) <= 1
    assert abs((2 * top + side) - (2 * box[1] + height)) <= 1


@pytest.mark.parametrize(
    ("box", "margin", "expected"),
    [
        ((40, 40, 20, 20), 0.0, (40, 40, 20, 20)),
        ((40, 40, 20, 10), 0.0, (40, 35, 20, 20)),
        ((40, 40, 20, 20), 0.5, (30, 30, 40, 40)),
        ((40, 40, 20, 20), -0.25, (45, 45, 10, 10)),
        ((-5, -5, 20, 20), 0.0, (0, 0, 20, 20)),
        ((90, 70, 20, 20), 0.0, (80, 60, 20, 20)),
        ((0, 0, 100, 80), 1.0, (10, 0, 80, 80)),
    ],
    ids=["as-is", "longer-side", "margin", "tighter", "corner", "edge", "whole"],
)
def test_box_by_example(box, margin, expected):
    assert square_box(box, (100, 80), margin) == expected


@pytest.mark.parametrize(
    ("box", "frame_wh"),
    [
        ((0, 0, 0, 5), (10, 10)),
        ((0, 0, 5, -1), (10, 10)),
        ((0, 0, 5, 5), (0, 10)),
        ((0, 0, 5, 5), (10, -1)),
    ],
    ids=["no-width", "negative-height", "no-frame-width", "negative-frame"],
)
def test_sizes_without_area_are_refused(box, frame_wh):
    with pytest.raises(ValueError, match="positive sizes"):
        square_box(box, frame_wh, 0.0)


def test_crop_is_the_frame_at_the_square_box():
    frame = generated(80, 100)
    crop = square_crop(frame, (40, 40, 20, 10), margin_frac=0.0)
    assert np.array_equal(crop, frame[35:55, 40:60])


TURNS = {
    "as it is": lambda image: image,
    "90": lambda image: np.rot90(image, -1),
    "180": lambda image: np.rot90(image, 2),
    "270": lambda image: np.rot90(image, 1),
    "mirrored": lambda image: image[:, ::-1],
    "90 mirrored": lambda image: np.rot90(image, -1)[:, ::-1],
    "part of 270": lambda image: np.rot90(image, 1)[5:60, 7:50],
    "column of 90": lambda image: np.rot90(image, -1)[:, 3:4],
    "row of 90": lambda image: np.rot90(image, -1)[3:4],
}


@pytest.mark.parametrize("turn", TURNS.values(), ids=TURNS)
@pytest.mark.parametrize("shape", [(80, 120), (80, 120, 3)], ids=["grey", "colour"])
def test_turned_views_become_images_that_opencv_draws_on(turn, shape):
    view = turn(np.random.default_rng(1).integers(0, 256, shape, dtype=np.uint8))
    image = upright(view)
    np.testing.assert_array_equal(image, view)
    cv2.rectangle(image, (0, 0), (3, 3), 255)  # else: an incompatible layout


@pytest.mark.parametrize("turn", TURNS.values(), ids=TURNS)
@pytest.mark.parametrize("shape", [(80, 120), (80, 120, 3)], ids=["grey", "colour"])
@pytest.mark.parametrize("divisor", [2, 1.37])
def test_turned_views_are_resized_as_upright_images_are(turn, shape, divisor):
    view = turn(np.random.default_rng(1).integers(0, 256, shape, dtype=np.uint8))
    height, width = view.shape[:2]
    size_wh = max(1, round(width / divisor)), max(1, round(height / divisor))
    expected = cv2.resize(view.copy(), size_wh, interpolation=cv2.INTER_AREA)
    area = partial(cv2.resize, interpolation=cv2.INTER_AREA)
    resized = resize_upright(view, size_wh, area)
    np.testing.assert_allclose(resized, expected, atol=1)
    if divisor == 2:
        np.testing.assert_array_equal(resized, expected)


@pytest.mark.parametrize("turn", TURNS.values(), ids=TURNS)
def test_turned_images_of_another_type_are_refused_as_upright_ones_are(turn):
    bright = np.full((80, 120, 3), 0.9)
    with pytest.raises(ValueError, match="uint8"):
        to_model_input(upright(turn(bright)), 48, "grey")


@pytest.mark.parametrize("turn", TURNS.values(), ids=TURNS)
def test_empty_images_are_refused_turned_or_not(turn):
    with pytest.raises(ValueError, match="expected an image"):
        to_model_input(upright(turn(np.zeros((0, 120, 3), np.uint8))), 48, "grey")
