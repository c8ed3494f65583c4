"""EfficientNet-Lite with the published weights gives its source's own logits."""

import json

import numpy as np
import pytest

from train.networks.backend import start_keras

start_keras(None)

import keras  # noqa: E402
from keras import layers  # noqa: E402

from edge_runtime.errors import RunError  # noqa: E402
from train.networks import efficientnet_lite  # noqa: E402
from train.networks.architectures import count_macs  # noqa: E402
from train.networks.efficientnet_lite import VARIANTS, load_imagenet_weights  # noqa: E402
from train.networks.pretrained import is_installed, load_weights  # noqa: E402


def network(name, classes=1000, channels=3):
    size = VARIANTS[name].size_px
    pixels = keras.Input((size, size, channels))
    x = efficientnet_lite.features(name)(layers.Rescaling(1 / 255)(pixels))
    return keras.Model(pixels, layers.Dense(classes, name="logits")(x))


def blocks(size_px):
    """Returns a generated picture, float32 (1, size_px, size_px, 3), 0..255."""
    colours = np.random.default_rng(0).integers(0, 256, (1, 8, 8, 3))
    side = (size_px + 7) // 8
    large = np.kron(colours.astype(np.float32), np.ones((1, side, side, 1)))
    return large[:, :size_px, :size_px]


@pytest.mark.parametrize("name", VARIANTS)
def test_published_weights_give_the_logits_of_their_source(name, data_folder):
    if not is_installed(name):
        pytest.skip(f"the weights of {name} are not installed: make setup")
    model = network(name)
    origin = load_weights(model, name, "imagenet")
    assert (origin["architecture"], origin["licence"]) == (name, "Apache-2.0")
    logits = model.predict(blocks(VARIANTS[name].size_px), verbose=0)[0]
    recorded = json.loads((data_folder / "efficientnet_lite_logits.json").read_text())
    source = recorded["networks"][name]
    # Float sums in another order; a wrong stride, padding or epsilon is off by 0.01.
    np.testing.assert_allclose(logits[:20], source["logits"], atol=2e-4)
    assert logits.argsort()[-5:][::-1].tolist() == source["top5"]


def test_another_number_of_classes_keeps_its_own_last_layer():
    name = "efficientnet_lite0"
    weights = fake_weights(name)
    model = network(name, classes=3)
    before = model.layers[-1].get_weights()[0]
    load_imagenet_weights(model, name, weights)
    np.testing.assert_array_equal(model.layers[-1].get_weights()[0], before)
    stem = model.get_layer("stem").get_weights()[0]
    np.testing.assert_array_equal(
        stem, weights["_conv_stem.weight"].transpose(2, 3, 1, 0)
    )


def test_weights_of_another_network_are_one_error():
    model = network("efficientnet_lite2", classes=3)
    with pytest.raises(RunError, match="not those of efficientnet_lite2"):
        load_imagenet_weights(
            model, "efficientnet_lite2", fake_weights("efficientnet_lite0")
        )


def test_grey_network_answers_as_for_grey_in_all_three_channels():
    name = "efficientnet_lite0"
    weights = fake_weights(name)
    colour, grey = network(name, classes=3), network(name, classes=3, channels=1)
    for model in (colour, grey):
        load_imagenet_weights(model, name, weights)
    grey.layers[-1].set_weights(colour.layers[-1].get_weights())
    picture = blocks(VARIANTS[name].size_px)[..., :1]
    np.testing.assert_allclose(
        grey.predict(picture, verbose=0),
        colour.predict(np.repeat(picture, 3, axis=3), verbose=0),
        atol=1e-4,
    )


def test_cost_is_that_of_the_published_network():
    model = network("efficientnet_lite0")
    trainable = sum(int(np.prod(one.shape)) for one in model.trainable_weights)
    assert round(trainable / 1e6, 2) == 4.65
    assert round(count_macs(model) / 1e6) == 385


def fake_weights(name):
    """Returns weights of a network's shapes, named as in the published file."""
    model = network(name, classes=1000)
    found = {}
    for layer, prefix, norm in efficientnet_lite._layer_names(VARIANTS[name]):
        kernel = model.get_layer(layer).get_weights()[0]
        depthwise = isinstance(model.get_layer(layer), layers.DepthwiseConv2D)
        order = (2, 3, 0, 1) if depthwise else (3, 2, 0, 1)
        found[f"{prefix}.weight"] = kernel.transpose(order)
        parts = ("weight", "bias", "running_mean", "running_var")
        norms = model.get_layer(f"{layer}_bn").get_weights()
        found |= {
            f"{norm}.{part}": value for part, value in zip(parts, norms, strict=True)
        }
    kernel, bias = model.layers[-1].get_weights()
    return found | {"_fc.weight": kernel.T, "_fc.bias": bias}
