"""What range the first weights see for pixels 0..255, and what is done about it."""

import numpy as np
import pytest

from edge_runtime.errors import ModelError
from edge_runtime.model_file.pixels import RAW, SCALINGS
from train.networks.backend import start_keras

start_keras()

import keras  # noqa: E402
from keras import layers, ops  # noqa: E402

from export.convert.pixel_scaling import (  # noqa: E402
    first_values,
    fold_rescaling,
    scaled,
    scales_pixels,
)
from export.trained_model import find_trained_model  # noqa: E402

pytestmark = pytest.mark.filterwarnings("ignore")

applications = keras.applications
FACTORS = [1 / 58.4, 1 / 37.1, 1 / 87.4]


def network(scaling, *, channels=3, filters=4, **convolution):
    keras.utils.set_random_seed(2)
    pixels = keras.Input((16, 16, channels))
    values = layers.Conv2D(filters, 3, **convolution)(scaling(pixels))
    return keras.Model(pixels, layers.Dense(3)(layers.Flatten()(values)))


def row(*first):
    convolution = layers.Conv2D(4, 3)
    return keras.Sequential(
        [
            keras.Input((16, 16, 3)),
            *first,
            convolution,
            layers.Flatten(),
            layers.Dense(3),
        ]
    )


def nested(scaling):
    pixels = keras.Input((16, 16, 3))
    return keras.Model(pixels, row(scaling)(layers.RandomFlip()(pixels)))


def pictures(channels=3):
    rng = np.random.default_rng(1)
    return rng.integers(0, 256, (4, 16, 16, channels)).astype(np.float32)


def answers(model, images):
    return np.asarray(model(images, training=False))


def adapted(images):
    layer = layers.Normalization()
    layer.adapt(images)
    return layer


@pytest.mark.parametrize(
    ("make", "expected"),
    [
        (lambda: network(layers.Rescaling(1 / 255)), (0, 1)),
        (lambda: network(applications.mobilenet_v2.preprocess_input), (-1, 1)),
        (lambda: network(applications.resnet.preprocess_input), (-123.68, 151.06)),
        (lambda: network(applications.densenet.preprocess_input), (-2.118, 2.64)),
        (lambda: network(lambda x: (x - 127.5) / 128), (-0.996, 0.996)),
        (lambda: row(layers.RandomZoom(0.1), layers.Rescaling(1 / 255)), (0, 1)),
        (lambda: nested(layers.Rescaling(1 / 127.5, -1)), (-1, 1)),
        (lambda: row(layers.Rescaling(1 / 255), layers.ZeroPadding2D()), (0, 1)),
        (lambda: row(adapted(np.array([[[[0.0] * 3, [200.0] * 3]]]))), (-1, 1.55)),
    ],
    ids=[
        *("rescaling", "mobilenet", "resnet", "densenet", "operations", "augmented"),
        *("nested", "padded", "normalization"),
    ],
)
def test_scaling_inside_is_found(make, expected):
    model = make()
    assert scales_pixels(model)
    assert np.allclose(first_values(model), expected, atol=0.01)


@pytest.mark.parametrize(
    "make",
    [
        lambda: network(lambda x: x),
        lambda: row(layers.RandomRotation(0.1), layers.ZeroPadding2D()),
        lambda: row(layers.Resizing(8, 8)),
        lambda: network(ops.image.rgb_to_grayscale),
        lambda: nested(layers.RandomContrast(0.1)),
        # Made for values 0..1: for pixels it gives hundreds.
        lambda: row(adapted(np.array([[[[0.2] * 3, [0.8] * 3]]]))),
    ],
    ids=["none", "augmented", "resized", "grey", "nested", "normalization-of-unit"],
)
def test_no_scaling_inside_is_found(make):
    assert not scales_pixels(make())


@pytest.mark.parametrize("name", ["unit", "signed", "imagenet"])
@pytest.mark.parametrize("channels", [1, 3])
def test_scaling_put_before_a_model_is_part_of_it(name, channels):
    model, images = network(lambda x: x, channels=channels), pictures(channels)
    scale, offset = (np.asarray(one, np.float32) for one in SCALINGS[name])
    if channels == 1:
        scale, offset = scale.mean(), offset.mean()
    expected = answers(model, images * scale + offset)
    raw = scaled(model, SCALINGS[name])
    assert np.allclose(answers(raw, images), expected, atol=1e-4)
    assert scales_pixels(raw)


@pytest.mark.parametrize("filters", [3, 4, 6])
@pytest.mark.parametrize(
    ("scale", "groups", "folds"),
    [(FACTORS, 1, True), (1 / 255, 3, True), (FACTORS, 3, False)],
    ids=["each-channel", "groups", "each-channel-groups"],
)
def test_scaling_folds_along_the_inputs_of_the_kernel(filters, scale, groups, folds):
    if filters % groups:
        pytest.skip("no such layer")
    model = network(layers.Rescaling(scale), filters=filters, groups=groups)
    folded, images = fold_rescaling(model), pictures()
    assert np.allclose(answers(folded, images), answers(model, images), atol=1e-3)
    kept = [one for one in folded.layers if isinstance(one, layers.Rescaling)]
    assert bool(kept) != folds


def test_offset_of_each_channel_is_not_folded():
    model = network(layers.Rescaling(1 / 127.5, [-1.0, 0.0, 0.0]), padding="same")
    assert fold_rescaling(model) is model


@pytest.fixture
def bare(tmp_path):
    """Saves a model and returns a function that finds it for a --pixels."""

    def find(model, pixels):
        model.save(tmp_path / "m.keras")
        path = str(tmp_path / "m.keras")
        return find_trained_model(path, ("a", "b", "c"), pixels).model

    return find


@pytest.mark.parametrize("pixels", [SCALINGS["unit"], SCALINGS["signed"]])
def test_pixels_are_not_scaled_twice(bare, pixels):
    model = network(applications.mobilenet_v2.preprocess_input)
    with pytest.raises(ModelError, match=r"itself \(.* -1 to 1 for 0 to 255\)"):
        bare(model, pixels)


def test_model_that_scales_nothing_is_asked_about(bare):
    with pytest.raises(ModelError, match=r"sees 0 to 255 .*--pixels raw"):
        bare(network(lambda x: x), None)


def test_model_of_pixels_as_they_are_is_left_alone(bare):
    model, images = network(lambda x: x), pictures()
    assert np.allclose(answers(bare(model, RAW), images), answers(model, images))


def test_normalization_of_scaled_values_gets_them(bare):
    values = np.random.default_rng(0).random((8, 4, 4, 3))
    model, images = row(adapted(values)), pictures()
    found = bare(model, SCALINGS["unit"])
    assert np.allclose(answers(found, images), answers(model, images / 255), atol=1e-4)
