"""Images of the first set with the light, colours and sharpness of another one."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from train.data.appearance import (
    MOST_IMAGES,
    Appearances,
    Filtered,
    match_appearance,
)
from train.data.splits import Split
from train.data.stored_images import InMemory

COUNT, SIDE = 40, 33
CAST = (0.3, 0.4, 0.6)  # of red, green and blue


def seen(image):
    """Returns an image as another camera sees it: dark, blurred, of another colour."""
    blurred = cv2.GaussianBlur(image.astype(np.float32), (0, 0), 1.2)
    cast = np.array(CAST[: image.shape[2]])
    return np.rint(blurred.reshape(image.shape) * cast).astype(np.uint8)


def photos(seed, channels=3):
    """Returns smooth random images, uint8 (COUNT, SIDE, SIDE, channels)."""
    rng = np.random.default_rng(seed)
    noise = rng.normal(0, 1, (COUNT, SIDE, SIDE, channels)).astype(np.float32)
    fine = np.stack([cv2.GaussianBlur(each, (0, 0), 0.7) for each in noise])
    fine = fine.reshape(noise.shape)
    coarse = rng.normal(0, 20, (COUNT, 1, 1, channels))
    return (128 + coarse + 60 * fine).clip(0, 255).astype(np.uint8)


def two_sets(channels=3):
    first = photos(1, channels)
    other = np.stack([seen(image) for image in photos(2, channels)])
    images = np.concatenate([first, other])
    names = tuple(map(str, range(2 * COUNT)))
    sources = np.repeat([0, 1], COUNT)
    return Split(images, np.zeros(2 * COUNT, np.int64), names, sources)


def shown(split, rows, log_gains):
    return Filtered(InMemory(split.images[rows]), log_gains)()


def test_full_power_is_what_the_other_camera_would_see():
    split = two_sets()
    rows = np.arange(COUNT)
    (gains,) = Appearances(split, 1.0)._log_gains
    found = shown(split, rows, [gains] * COUNT).astype(float)
    true = np.stack([seen(image) for image in split.images[rows]]).astype(float)
    before = np.abs(split.images[rows] - true).mean(axis=(0, 1, 2))
    after = np.abs(found - true).mean(axis=(0, 1, 2))
    assert np.all(after < 0.1 * before)


def test_power_of_nothing_is_the_image_itself():
    split = two_sets()
    (gains,) = Appearances(split, 1.0)._log_gains
    rows = np.arange(3)
    assert np.array_equal(
        shown(split, rows, [0 * gains, None, 0 * gains]), split.images[:3]
    )


def test_images_of_the_store_stay_as_they_are():
    split = two_sets()
    before = split.images.copy()
    (gains,) = Appearances(split, 1.0)._log_gains
    Filtered(InMemory(split.images), [gains] * len(split))()
    assert np.array_equal(split.images, before)


def test_images_of_the_first_set_are_changed_and_no_others():
    chosen = np.arange(2 * COUNT)
    gains = Appearances(two_sets(), 1.0).draw(chosen, rng())
    changed = np.array([each is not None for each in gains])
    assert np.array_equal(changed, chosen < COUNT)


@pytest.mark.parametrize("most", [0.4, 1.0])
def test_power_is_drawn_between_nothing_and_the_most(most):
    appearances = Appearances(two_sets(), most)
    (full,) = appearances._log_gains
    drawn = appearances.draw(np.zeros(1000, np.int64), np.random.default_rng(0))
    powers = [float((each / full).mean()) for each in drawn]
    assert min(powers) < 0.01 * most and 0.99 * most < max(powers) <= most
    assert np.mean(powers) == pytest.approx(0.5 * most, abs=0.05 * most)


def test_each_further_set_is_taken():
    split = two_sets(channels=1)
    bright = (split.images[:COUNT] * 1.5).clip(0, 255).astype(np.uint8)
    images = np.concatenate([split.images, bright])
    sources = np.repeat([0, 1, 2], COUNT)
    three = Split(images, np.zeros(3 * COUNT, np.int64), ("",) * 3 * COUNT, sources)
    drawn = Appearances(three, 1.0).draw(
        np.zeros(200, np.int64), np.random.default_rng(0)
    )
    brighter = sum(float(each[0, 0]) > 0 for each in drawn)
    assert 60 < brighter < 140


def test_sets_without_training_images_change_nothing():
    split = two_sets().take(np.arange(COUNT))
    drawn = Appearances(split, 1.0).draw(np.arange(COUNT), np.random.default_rng(0))
    assert drawn == [None] * COUNT


def test_black_images_are_no_reason_to_fail():
    images = np.zeros((2 * COUNT, SIDE, SIDE, 1), np.uint8)
    images[:COUNT] = photos(1, 1)
    sources = np.repeat([0, 1], COUNT)
    split = Split(images, np.zeros(2 * COUNT, np.int64), ("",) * 2 * COUNT, sources)
    (gains,) = Appearances(split, 1.0)._log_gains
    assert np.exp(gains).min() < 0.1
    dark = shown(split, np.arange(COUNT), [gains] * COUNT)
    assert 0 < dark.mean() < 10


def test_one_set_or_no_power_has_nothing_to_match():
    one = Split(photos(1), np.zeros(COUNT, np.int64), ("",) * COUNT)
    assert match_appearance(one, 0.5) is None
    assert match_appearance(two_sets(), 0.0) is None
    assert match_appearance(two_sets(), 0.5) is not None


def test_what_a_class_looks_like_is_not_taken_for_light():
    """One camera; the further set has other shares of a dark and a bright class."""
    dark, bright = photos(1, 1) // 4, photos(2, 1)
    images = np.concatenate([dark, bright, photos(3, 1) // 4, photos(4, 1)[:4]])
    labels = np.repeat([0, 1, 0, 1], [COUNT, COUNT, COUNT, 4])
    sources = np.repeat([0, 1], [2 * COUNT, COUNT + 4])
    split = Split(images, labels, ("",) * len(images), sources)
    (gains,) = Appearances(split, 1.0)._log_gains
    assert np.abs(np.exp(gains[0]) - 1).max() < 0.1


def test_set_without_a_class_of_the_first_is_not_compared():
    split = two_sets()
    other = Split(split.images, split.sources, split.names, split.sources)
    assert Appearances(other, 1.0).draw(np.arange(3), rng()) == [None] * 3


def test_few_images_change_less_than_many():
    split = two_sets()
    (many,) = Appearances(split, 1.0)._log_gains
    (few,) = Appearances(split.take(np.arange(COUNT + 1)), 1.0)._log_gains
    assert 0.1 < np.abs(few).mean() / np.abs(many).mean() < 0.3


def test_a_set_is_drawn_as_often_as_it_has_images():
    split = two_sets(channels=1)
    odd = np.full((4, SIDE, SIDE, 1), 255, np.uint8)
    images = np.concatenate([split.images, odd])
    sources = np.repeat([0, 1, 2], [COUNT, COUNT, 4])
    three = Split(images, np.zeros(len(images), np.int64), ("",) * len(images), sources)
    drawn = Appearances(three, 1.0).draw(np.zeros(1000, np.int64), rng())
    brighter = sum(float(each[0, 0]) > 0 for each in drawn)
    assert brighter == pytest.approx(1000 * 4 / (COUNT + 4), abs=40)


def test_large_sets_are_measured_by_a_part():
    read = []

    class Counted:
        shape = (1000, SIDE, SIDE, 1)

        def __getitem__(self, rows):
            read.append(len(rows))
            return np.zeros((len(rows), SIDE, SIDE, 1), np.uint8)

    sources = np.repeat([0, 1], 500)
    Appearances(Split(Counted(), np.zeros(1000, np.int64), ("",) * 1000, sources), 1.0)
    assert sum(read) == 2 * MOST_IMAGES and max(read) <= 50


def rng():
    return np.random.default_rng(0)
