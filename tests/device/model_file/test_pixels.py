"""What --pixels means: names, and files that say it."""

import argparse
import json

import numpy as np
import pytest

from edge_runtime.model_file.pixels import SCALINGS, pixels

HUGGING_FACE = {
    "image_mean": [0.485, 0.456, 0.406],
    "image_std": [0.229, 0.224, 0.225],
    "rescale_factor": 1 / 255,
}


EXTREME = ("huge", "huge-std", "huge-factor", "flipped", "offset")


def values(scaling, pixel):
    return np.asarray(scaling.scale) * pixel + np.asarray(scaling.offset)


@pytest.mark.parametrize(
    ("name", "black", "white"),
    [
        ("raw", [0], [255]),
        ("unit", [0], [1]),
        ("signed", [-1], [1]),
        ("imagenet", [-2.1179, -2.0357, -1.8044], [2.2489, 2.4286, 2.64]),
    ],
)
def test_named_scaling(name, black, white):
    assert np.allclose(values(pixels(name), 0), black, atol=1e-4)
    assert np.allclose(values(pixels(name), 255), white, atol=1e-4)


@pytest.mark.parametrize(
    ("document", "name"),
    [
        ({"mean": 127.5, "std": 127.5}, "signed"),
        ({"mean": [0, 0, 0], "std": [255, 255, 255]}, "unit"),
        ({"mean": [0.0], "std": [255.0]}, "unit"),
        (HUGGING_FACE, "imagenet"),
        ({"image_mean": 0.5, "image_std": [0.5] * 3}, "signed"),
        ({"image_mean": 127.5, "image_std": 127.5, "do_rescale": False}, "signed"),
        ({**HUGGING_FACE, "do_normalize": False}, "unit"),
        ({**HUGGING_FACE, "do_flip_channel_order": False}, "imagenet"),
    ],
    ids=[
        "one",
        "three",
        "list",
        "hugging-face",
        "mixed",
        "unscaled",
        "rescale-only",
        "kept",
    ],
)
def test_file_that_says_it(tmp_path, document, name):
    path = tmp_path / "pixels.json"
    path.write_text(json.dumps(document))
    for pixel in (0, 100, 255):
        found, expected = (
            values(pixels(str(path)), pixel),
            values(SCALINGS[name], pixel),
        )
        assert np.allclose(found, expected, atol=1e-6)


@pytest.mark.parametrize(
    ("content", "part"),
    [
        ("{", "is not a JSON file"),
        ("[1]", "JSON object"),
        ("{}", "expected mean"),
        ('{"mean": 0.5, "std": 0.5}', "multiply those of 0..1 by 255"),
        ('{"mean": [1, 2], "std": 3}', "one number or three"),
        ('{"mean": "x", "std": 3}', "one number or three"),
        ('{"mean": 0, "std": [255, 0, 255]}', "above 0"),
        ('{"image_mean": 0, "image_std": 1, "rescale_factor": 0}', "rescale_factor"),
        (f'{{"mean": 1{"0" * 400}, "std": 3}}', "one number or three"),
        (f'{{"mean": 0, "std": [1, 1, -1{"0" * 400}]}}', "one number or three"),
        (f'{{"image_mean": 0, "rescale_factor": 1{"0" * 400}}}', "rescale_factor"),
        ('{"image_mean": 0, "do_flip_channel_order": true}', "give --colour bgr"),
        ('{"image_mean": 0, "image_std": 1, "rescale_offset": true}', "takes 1 off"),
    ],
    ids=["cut", "list", "empty", "unit", "two", "text", "zero", "factor", *EXTREME],
)
def test_file_that_does_not_say_it(tmp_path, content, part):
    path = tmp_path / "pixels.json"
    path.write_text(content)
    with pytest.raises(argparse.ArgumentTypeError, match=part):
        pixels(str(path))


@pytest.mark.parametrize(
    "mean",
    [[103.939, 116.779, 123.68], [127.5], [1.5, 1.5, 1.5]],
    ids=["Caffe", "centred", "near black"],
)
def test_mean_alone_is_of_pixels(tmp_path, mean):
    path = tmp_path / "pixels.json"
    path.write_text(json.dumps({"mean": mean, "std": [1.0] * len(mean)}))
    assert np.allclose(values(pixels(str(path)), 200), 200 - np.asarray(mean))


@pytest.mark.parametrize("text", ["", "Unit", "0..1", "nothing.json"])
def test_what_is_neither_a_name_nor_a_file(text):
    with pytest.raises(argparse.ArgumentTypeError, match="raw, unit, signed, imagenet"):
        pixels(text)
