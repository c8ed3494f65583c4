"""Images that are not square: one rule for training, file and device."""

import tracemalloc
from dataclasses import replace

import cv2
import numpy as np
import pytest

from edge_runtime.errors import MetadataError
from edge_runtime.inference.classifier import Classifier
from edge_runtime.model_file.metadata import ModelSpec
from edge_runtime.preprocessing import PAD_VALUE, to_model_input
from train.data import dataset
from train.data.decoding import load_split

SPEC = ModelSpec(("a", "b"), 16, "rgb")


def disc(width, height, radius=20):
    """Returns a white disc on black in the centre, uint8 (height, width, 3)."""
    image = np.zeros((height, width, 3), np.uint8)
    cv2.circle(image, (width // 2, height // 2), radius, (255, 255, 255), -1)
    return image


def extent(image):
    """Returns width and height of what is white, in pixels."""
    rows, columns = np.nonzero(image[..., 0] > 192)
    return np.ptp(columns) + 1, np.ptp(rows) + 1


@pytest.mark.parametrize("size", [(160, 90), (128, 96), (90, 160), (200, 50)])
@pytest.mark.parametrize("fit", ["crop", "pad"])
def test_round_stays_round(size, fit):
    width, height = extent(to_model_input(disc(*size), 96, "rgb", fit))
    assert abs(int(width) - int(height)) <= 1


def test_stretching_makes_it_oval():
    width, height = extent(to_model_input(disc(160, 80), 96, "rgb", "stretch"))
    assert height > 1.8 * width


def noise(*shape):
    return np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)


@pytest.mark.parametrize("shape", [(9, 30), (30, 9), (10, 31, 3), (31, 10, 3)])
def test_crop_is_the_square_in_the_centre(shape):
    image = noise(*shape)
    side, (height, width) = min(shape[:2]), shape[:2]
    top, left = (height - side) // 2, (width - side) // 2
    square = image[top : top + side, left : left + side]
    cropped = to_model_input(image, 16, "rgb", "crop")
    np.testing.assert_array_equal(cropped, to_model_input(square, 16, "rgb"))


@pytest.mark.parametrize("shape", [(9, 30), (30, 9), (10, 31, 3), (31, 10, 3)])
def test_padding_keeps_every_pixel_between_grey_borders(shape):
    image, size_px = noise(*shape), max(shape[:2])
    padded = to_model_input(image, size_px, "rgb", "pad")
    top, left = ((size_px - side) // 2 for side in shape[:2])
    inside = np.s_[top : top + shape[0], left : left + shape[1]]
    expected = image[..., ::-1] if image.ndim == 3 else image[..., np.newaxis]
    np.testing.assert_array_equal(
        padded[inside], np.broadcast_to(expected, (*shape[:2], 3))
    )
    padded[inside] = PAD_VALUE
    assert (padded == PAD_VALUE).all()


@pytest.mark.parametrize(
    ("shape", "inner_wh"),
    [
        ((40, 100), (48, 19)),
        ((100, 40), (19, 48)),
        ((5, 20), (48, 12)),
        ((2, 5000), (48, 1)),
        ((5000, 1), (1, 48)),
        ((99, 100), (48, 48)),
    ],
    ids=str,
)
def test_padded_image_is_resized_with_its_proportions(shape, inner_wh):
    padded = to_model_input(np.full(shape, 255, np.uint8), 48, "grey", "pad")[..., 0]
    assert tuple((padded == 255).any(axis=axis).sum() for axis in (0, 1)) == inner_wh


@pytest.mark.parametrize("shape", [(10, 8000), (8000, 10, 3), (3, 9000, 4)], ids=str)
@pytest.mark.parametrize("fit", ["stretch", "crop", "pad"])
def test_no_fit_takes_much_more_memory_than_the_picture(shape, fit):
    image = noise(*shape)
    tracemalloc.start()
    try:
        to_model_input(image, 48, "rgb", fit)
        assert tracemalloc.get_traced_memory()[1] < 4 * 2**20
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("fit", ["stretch", "crop", "pad"])
def test_square_image_is_the_same_with_every_fit(fit):
    image = np.random.default_rng(0).integers(0, 256, (40, 40, 3), dtype=np.uint8)
    expected = to_model_input(image, 16, "rgb")
    np.testing.assert_array_equal(to_model_input(image, 16, "rgb", fit), expected)


@pytest.mark.parametrize("fit", ["crop", "pad"])
def test_fit_is_in_the_document(fit):
    spec = replace(SPEC, fit=fit)
    assert spec.to_document()["input"]["fit"] == fit
    assert ModelSpec.from_document(spec.to_document()) == spec


def test_file_that_says_nothing_stretches_as_before():
    assert "fit" not in SPEC.to_document()["input"]
    assert ModelSpec.from_document(SPEC.to_document()).fit == "stretch"


@pytest.mark.parametrize("fit", ["zoom", "", 3, None, ["crop"]])
def test_unknown_fit_is_refused(fit):
    document = SPEC.to_document()
    document["input"]["fit"] = fit
    with pytest.raises(MetadataError):
        ModelSpec.from_document(document)


@pytest.mark.parametrize("fit", ["stretch", "crop", "pad"])
def test_device_and_training_see_the_same_pixels(tmp_path, tiny_model_path, fit):
    for label in ("a", "b"):
        for index in range(2):
            path = tmp_path / "set" / label / f"{index}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            cv2.imwrite(str(path), disc(60 + index, 40, 7 + index))
    classifier = Classifier.load(tiny_model_path)
    size_px, colour = classifier.spec.size_px, classifier.spec.colour
    classifier.spec = replace(classifier.spec, fit=fit)
    data = dataset.load(
        tmp_path / "set", size_px=size_px, colour=colour, fit=fit, validation_frac=0.5
    )
    split = load_split(
        tmp_path / "set",
        split="train",
        size_px=size_px,
        colour=colour,
        fit=fit,
        labels=("a", "b"),
    )
    for part in (data.train, data.validation, split):
        for name, pixels in zip(part.names, part.images, strict=True):
            image = cv2.imread(str(tmp_path / "set" / name))
            np.testing.assert_array_equal(classifier.prepare(image), pixels)
