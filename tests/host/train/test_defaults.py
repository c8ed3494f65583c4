"""Where no flag says it, training suits the images: photos, or small grey pictures."""

import cv2
import numpy as np
import pytest

from edge_runtime.errors import DatasetError
from train.options.defaults import choose, describe

RELEASED = ("fer2013", ["happy", "sad"])


def write_set(root, size_wh=(120, 90), *, colour=True, labels=("cat", "dog")):
    rng = np.random.default_rng(0)
    width, height = size_wh
    shape = (height, width, 3) if colour else (height, width)
    for label in labels:
        (root / label).mkdir(parents=True)
        for index in range(3):
            pixels = rng.integers(0, 256, shape, dtype=np.uint8)
            cv2.imwrite(str(root / label / f"{index}.png"), pixels)
    return str(root)


def chosen(data, *, has_weights=True, **options):
    options = {"data": data, **options}
    return choose(options, has_weights=has_weights, released=RELEASED)


@pytest.mark.parametrize("size_wh", [(120, 90), (640, 480), (66, 300)])
def test_photos_are_learnt_with_published_weights_and_cropped(tmp_path, size_wh):
    found = chosen(write_set(tmp_path / "set", size_wh))
    assert found == {"fit": "crop", "recipe": "transfer", "size_px": 224}


@pytest.mark.parametrize(
    ("size_wh", "options", "told"),
    [
        ((320, 80), {}, True),
        ((80, 320), {}, True),
        ((320, 180), {}, False),
        ((320, 80), {"fit": "crop"}, False),
    ],
)
def test_crop_of_wide_pictures_is_told(tmp_path, caplog, size_wh, options, told):
    chosen(write_set(tmp_path / "set", size_wh), **options)
    assert ("keeps 25 %" in caplog.text) == told


def test_photos_without_the_weights_are_told_of_them(tmp_path):
    found = chosen(write_set(tmp_path / "set"), has_weights=False)
    assert found == {"fit": "crop"}
    line = describe(found, has_weights=False, command="make setup")
    assert "make setup" in line


@pytest.mark.parametrize(
    ("size_wh", "colour"), [((48, 48), False), ((28, 28), False), ((64, 60), True)]
)
def test_small_pictures_begin_with_the_released_network(tmp_path, size_wh, colour):
    data = write_set(tmp_path / "set", size_wh, colour=colour)
    assert chosen(data) == {"start_from": "fer2013"}


@pytest.mark.parametrize(
    ("recipe", "begins"),
    [("long", True), ("quick", True), ("notebook", False), ("demo", False)],
)
def test_recipe_alone_changes_no_initial_weights(tmp_path, recipe, begins):
    data = write_set(tmp_path / "set", (48, 48), colour=False)
    assert ("start_from" in chosen(data, recipe=recipe)) == begins


def test_grey_photos_are_cropped_too(tmp_path):
    data = write_set(tmp_path / "set", colour=False)
    assert chosen(data) == {"start_from": "fer2013", "fit": "crop"}


def test_classes_of_the_released_network_are_learnt_as_before(tmp_path):
    data = write_set(tmp_path / "set", (48, 48), colour=False, labels=("happy", "sad"))
    assert chosen(data) == {}


def test_drawn_faces_are_learnt_as_before():
    assert choose({}, has_weights=True, released=RELEASED) == {}


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"recipe": "quick"}, {"fit": "crop"}),
        ({"arch": "fer_small"}, {"fit": "crop"}),
        ({"start_from": "run"}, {"fit": "crop"}),
        ({"fit": "pad"}, {"recipe": "transfer", "size_px": 224}),
        ({"size_px": 96}, {"recipe": "transfer", "fit": "crop"}),
        (
            {"arch": "efficientnet_lite2"},
            {"recipe": "transfer", "fit": "crop", "size_px": 260},
        ),
        (
            {"arch": "mobilenet_v2", "recipe": "standard"},
            {"fit": "crop", "size_px": 224},
        ),
    ],
)
def test_what_was_given_stays(tmp_path, options, expected):
    assert chosen(write_set(tmp_path / "set"), **options) == expected


def test_missing_set_is_the_usual_error(tmp_path):
    with pytest.raises(DatasetError, match="no such path"):
        chosen(str(tmp_path / "gone"))
