"""Changes to training images: seeded, bounded, and each of them off at zero."""

import dataclasses
import math

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from train.data.augment import (
    NO_AUGMENTATION,
    NOTEBOOK_AUGMENTATION,
    PHOTO_AUGMENTATION,
    Augmentation,
    _add_noise,
    _blur,
    augment,
    degrade,
)

STRENGTHS = {
    "flip": True,
    "rotation_deg": 30.0,
    "shift_frac": 0.3,
    "zoom_frac": 0.3,
    "crop_area_frac": 0.3,
    "shear_frac": 0.3,
    "brightness_frac": 0.3,
    "contrast_frac": 0.5,
    "hue_deg": 40.0,
    "saturation_frac": 0.5,
    "erase_probability": 1.0,
    "camera_probability": 1.0,
}


def generated(count=8, size=24, channels=1):
    rng = np.random.default_rng(0)
    return rng.integers(0, 256, (count, size, size, channels), dtype=np.uint8)


def only(**strengths):
    return dataclasses.replace(NO_AUGMENTATION, **strengths)


def changed(images, strength, seed=1):
    return augment(images, strength, np.random.default_rng(seed))


@pytest.mark.parametrize("channels", [1, 3], ids=["grey", "rgb"])
@pytest.mark.parametrize(
    "strength",
    [Augmentation(), NOTEBOOK_AUGMENTATION, PHOTO_AUGMENTATION],
    ids=["standard", "notebook", "photo"],
)
def test_shape_and_type_stay(channels, strength):
    images = generated(channels=channels)
    result = changed(images, strength)
    assert (result.shape, result.dtype) == (images.shape, np.uint8)


def test_images_given_are_not_modified():
    images = generated()
    before = images.copy()
    changed(images, Augmentation(erase_probability=1, camera_probability=1))
    assert np.array_equal(images, before)


def test_without_augmentation_every_pixel_stays():
    images = generated(channels=3)
    assert np.array_equal(changed(images, NO_AUGMENTATION), images)


@pytest.mark.parametrize("name", STRENGTHS)
def test_every_strength_changes_images_by_itself(name):
    images = generated(16, channels=3)
    assert not np.array_equal(changed(images, only(**{name: STRENGTHS[name]})), images)


@pytest.mark.parametrize("name", STRENGTHS)
def test_every_strength_is_listed_here(name):
    assert set(STRENGTHS) == {field.name for field in dataclasses.fields(Augmentation)}


def test_crop_is_a_part_of_the_image_in_the_bounds():
    """Two ramps tell which part of the image fills it now."""
    ramp = np.arange(224, dtype=np.uint8)
    image = np.zeros((1, 224, 224, 3), np.uint8)
    image[..., 0], image[..., 1] = ramp, ramp[:, None]
    result = changed(np.repeat(image, 300, axis=0), only(crop_area_frac=0.3))
    width = result[:, 112, -1, 0].astype(float) - result[:, 112, 0, 0] + 1
    height = result[:, -1, 112, 1].astype(float) - result[:, 0, 112, 1] + 1
    area, ratio = width * height / 224**2, width / height
    assert 0.28 < area.min() < 0.4 < 0.9 < area.max() <= 1
    assert 0.72 < ratio.min() < 0.8 < 1.25 < ratio.max() < 1.38
    lefts = result[:, 112, 0, 0]
    assert lefts.min() == 0 and lefts.max() > 60


def test_same_seed_gives_the_same_pixels():
    images = generated()
    one, other = (changed(images, Augmentation(), seed=5) for _ in range(2))
    assert np.array_equal(one, other)


def test_another_seed_gives_other_pixels():
    images = generated()
    one, other = (changed(images, Augmentation(), seed=seed) for seed in (5, 6))
    assert not np.array_equal(one, other)


def test_images_of_a_batch_are_changed_differently():
    images = np.repeat(generated(1), 6, axis=0)
    result = changed(images, only(rotation_deg=20, shift_frac=0.2))
    assert len({image.tobytes() for image in result}) == 6


def test_flip_mirrors_about_half_of_the_images_exactly():
    images = generated(200, size=9)
    result = changed(images, only(flip=True))
    mirrored = [
        np.array_equal(a, b[:, ::-1]) for a, b in zip(result, images, strict=True)
    ]
    same = [np.array_equal(a, b) for a, b in zip(result, images, strict=True)]
    assert sum(mirrored) + sum(same) == 200
    assert 70 < sum(mirrored) < 130


def test_shift_stays_within_its_share_of_the_side():
    images = np.zeros((100, 41, 41, 1), np.uint8)
    images[:, 20, 20] = 255
    result = changed(images, only(shift_frac=0.1))
    rows, columns = np.nonzero(result.max(axis=(0, 3)))
    assert max(abs(rows - 20).max(), abs(columns - 20).max()) <= 5


def test_rotation_turns_about_the_centre():
    images = np.zeros((50, 41, 41, 1), np.uint8)
    images[:, 19:22, 19:22] = 255
    result = changed(images, only(rotation_deg=45))
    assert result[:, 20, 20].min() == 255


def test_brightness_stays_within_its_share():
    images = np.full((200, 8, 8, 1), 100, np.uint8)
    values = changed(images, only(brightness_frac=0.2))[:, 0, 0, 0].astype(int)
    assert np.abs(values - 100).max() <= 51
    assert values.min() < 70 < 130 < values.max()


@pytest.mark.parametrize("channels", [1, 3], ids=["grey", "rgb"])
def test_light_is_contrast_around_the_mean_and_brightness_to_the_last_pixel(channels):
    images = generated(40, channels=channels)
    result = changed(images, only(brightness_frac=0.5, contrast_frac=0.9), seed=3)
    rng = np.random.default_rng(3)
    for _ in range(6):  # what the geometry draws first, and the order of the two
        rng.random(40)
    gain = 1 + 0.9 * rng.uniform(-1, 1, (40, 1, 1, 1)).astype(np.float32)
    offset = (255 * 0.5 * rng.uniform(-1, 1, (40, 1, 1, 1))).astype(np.float32)
    mean = images.mean(axis=(1, 2, 3), keepdims=True, dtype=np.float32)
    lit = (images - mean) * gain + mean + offset
    assert np.array_equal(result, np.clip(np.rint(lit), 0, 255).astype(np.uint8))
    assert result.min() == 0  # dark ones are cut off, not folded back
    assert result.max() == 255


@pytest.mark.parametrize("channels", [1, 3], ids=["grey", "rgb"])
def test_memory_layout_of_the_images_does_not_matter(channels):
    images = generated(channels=channels)
    strided = np.asfortranarray(images)
    one, other = (changed(given, Augmentation()) for given in (images, strided))
    assert np.array_equal(one, other)


def test_contrast_keeps_the_mean():
    images = generated(20).clip(100, 150)
    means = changed(images, only(contrast_frac=0.3)).mean(axis=(1, 2, 3))
    assert np.abs(means - images.mean(axis=(1, 2, 3))).max() < 1


def test_erasing_touches_a_rectangle_of_at_most_a_fifth():
    images = np.full((100, 40, 40, 1), 128, np.uint8)
    result = changed(images, only(erase_probability=1.0))
    for image in result[..., 0]:
        rows, columns = np.nonzero(image != 128)
        height, width = np.ptp(rows) + 1, np.ptp(columns) + 1
        assert height * width <= 0.22 * 1600  # rounded sides
        assert len(rows) > 0.9 * height * width  # noise is rarely 128


def erased_rectangles(images):
    """Top, left, height and width of what is not 128, int (N, 4)."""
    found = []
    for image in images[..., 0]:
        rows, columns = np.nonzero(image != 128)
        size = (np.ptp(rows) + 1, np.ptp(columns) + 1)
        found.append((rows.min(), columns.min(), *size))
    return np.array(found)


def test_erased_rectangles_are_drawn_as_random_erasing_says():
    """Zhong et al. 2017: area and side ratio (its logarithm) uniform, place as well."""
    images = np.full((4000, 48, 48, 1), 128, np.uint8)
    found = erased_rectangles(changed(images, only(erase_probability=1.0)))
    rng = np.random.default_rng(0)
    expected = []
    for _ in range(4000):
        area = rng.uniform(0.02, 0.2) * 48 * 48
        ratio = math.exp(rng.uniform(math.log(0.3), math.log(1 / 0.3)))
        height = min(48, max(1, round(math.sqrt(area * ratio))))
        width = min(48, max(1, round(math.sqrt(area / ratio))))
        place = (rng.integers(0, 49 - height), rng.integers(0, 49 - width))
        expected.append((*place, height, width))
    shares = np.linspace(0.05, 0.95, 19)
    one, other = (np.quantile(sizes, shares, axis=0) for sizes in (found, expected))
    assert np.abs(one - other).max() <= 2  # px; seen: 1
    assert np.abs(found.mean(axis=0) - np.mean(expected, axis=0)).max() < 0.8


def test_erased_pixels_are_even_noise_of_their_own():
    images = np.full((500, 48, 48, 1), 128, np.uint8)
    result = changed(images, only(erase_probability=1.0))
    shares = np.bincount(result[result != 128], minlength=256) / (result != 128).sum()
    assert np.delete(shares, 128).min() > 0.8 / 255
    assert np.delete(shares, 128).max() < 1.2 / 255
    patches = {image[image != 128][:20].tobytes() for image in result}
    assert len(patches) == 500


def test_erased_share_of_images_is_the_probability():
    images = np.full((400, 16, 16, 1), 128, np.uint8)
    result = changed(images, only(erase_probability=0.25))
    touched = (result != 128).any(axis=(1, 2, 3)).mean()
    assert 0.17 < touched < 0.33


@settings(max_examples=40)
@given(st.integers(0, 2**32), st.integers(8, 64), st.sampled_from([1, 3]))
def test_camera_keeps_shape_and_type_whatever_it_does(seed, size, channels):
    image = generated(1, size, channels)[0]
    result = degrade(image, np.random.default_rng(seed))
    assert (result.shape, result.dtype) == (image.shape, np.uint8)


@pytest.mark.parametrize("channels", [1, 3], ids=["grey", "rgb"])
def test_sensor_noise_is_rounded_and_cut_off(channels):
    image = generated(1, 48, channels)[0]
    for seed in range(10):
        rng = np.random.default_rng(seed)
        noise = rng.normal(0, rng.uniform(2, 10), image.shape)
        expected = np.clip(np.rint(image + noise), 0, 255).astype(np.uint8)
        result = _add_noise(image, np.random.default_rng(seed)).reshape(image.shape)
        assert np.array_equal(result, expected)


@pytest.mark.parametrize("channels", [1, 3], ids=["grey", "rgb"])
def test_blur_is_that_of_opencv_but_for_its_rounded_kernel(channels):
    image = generated(1, 48, channels)[0]
    for seed in range(30):
        sigma = np.random.default_rng(seed).uniform(0.4, 1.2)
        expected = cv2.GaussianBlur(image, (0, 0), sigma).reshape(image.shape)
        result = _blur(image, np.random.default_rng(seed)).reshape(image.shape)
        difference = result.astype(int) - expected
        assert np.abs(difference).max() <= 2
        assert abs(difference.mean()) < 0.3


def test_camera_leaves_the_scene_recognisable():
    y, x = np.indices((48, 48))
    image = ((np.hypot(x - 24, y - 24) < 15) * 200 + 20).astype(np.uint8)[..., None]
    for seed in range(20):
        result = degrade(image, np.random.default_rng(seed))
        assert np.corrcoef(result.ravel(), image.ravel())[0, 1] > 0.8


def flat_colours(*colours):
    return np.array(colours, np.uint8).reshape(-1, 1, 1, 3).repeat(8, 1).repeat(8, 2)


def luma(images):
    return images @ np.array([0.299, 0.587, 0.114])


@pytest.mark.parametrize("name", ["hue_deg", "saturation_frac"])
def test_colour_change_keeps_the_luma_and_leaves_grey_alone(name):
    # Not so strong that a channel would be cut off.
    images = flat_colours((140, 120, 100), (100, 110, 140), (90, 90, 90))
    result = changed(images, only(**{name: STRENGTHS[name]}))
    assert np.abs(luma(result) - luma(images)).max() <= 1
    np.testing.assert_array_equal(result[2], images[2])
    assert (result[:2] != images[:2]).any()


def test_colour_change_does_nothing_to_grey_images():
    images = generated(channels=1)
    strength = only(hue_deg=40.0, saturation_frac=0.5)
    np.testing.assert_array_equal(changed(images, strength), images)


def test_saturation_stays_within_its_share():
    images = flat_colours(*[(140, 120, 100)] * 64)
    result = changed(images, only(saturation_frac=0.5)).astype(float)
    spread = np.ptp(result[:, 0, 0], axis=1) / 40
    assert spread.min() >= 0.48
    assert spread.max() <= 1.52


def test_hue_turns_both_ways_and_no_further_than_told():
    images = flat_colours(*[(140, 120, 100)] * 64)
    result = changed(images, only(hue_deg=30.0))[:, 0, 0]
    to_yiq = np.array([[0.596, -0.274, -0.322], [0.211, -0.523, 0.312]])
    (i, q), (x, y) = (to_yiq @ result.T), (to_yiq @ images[:1, 0, 0].T)[:, 0]
    angle = np.degrees(np.arctan2(q * x - i * y, i * x + q * y))
    assert angle.min() < -20
    assert angle.max() > 20
    assert np.abs(angle).max() < 33  # whole pixels turn a little further


def test_scaled_augmentation_is_stronger_and_mirrors_as_before():
    doubled = Augmentation(flip=False, crop_area_frac=0.7).scaled(2.0)
    assert (doubled.rotation_deg, doubled.shift_frac) == (30.0, 0.2)
    assert (doubled.erase_probability, doubled.camera_probability) == (1.0, 0.4)
    assert (doubled.flip, doubled.crop_area_frac) == (False, pytest.approx(0.4))
    assert Augmentation().scaled(0.0) == dataclasses.replace(NO_AUGMENTATION, flip=True)
    assert Augmentation().scaled(1.0) == Augmentation()
