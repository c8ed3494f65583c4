"""The networks: their stated size, raw pixels in, logits out."""

import numpy as np
import pytest

from edge_runtime.errors import FerEdgeError
from train.networks.backend import start_keras
from train.options.config import ARCHITECTURE_NAMES, SCALABLE_NAMES

start_keras()

from keras import layers  # noqa: E402

from train.networks.architectures import ARCHITECTURES, build_model, count_macs  # noqa: E402
from train.networks.blocks import Scale  # noqa: E402

# Shapes compared at equal cost: residual, plain, shallow and wide, small early.
COMPARED = ("fer_resnet", "fer_plain", "fer_wide", "fer_lowres")
# One of each family: the others differ in width and depth only.
FAMILIES = [
    name
    for name in ARCHITECTURES
    if not name.startswith(("efficientnet_lite", "mobilenet_v2"))
    or name in ("efficientnet_lite0", "mobilenet_v2_035")
]
FER = {"size_px": 48, "channels": 1, "classes": 7}


@pytest.fixture(scope="module")
def networks():
    return {name: build_model(name, **FER) for name in FAMILIES}


@pytest.mark.parametrize(
    ("name", "parameters", "macs"),
    [
        ("fer_resnet", 1.32e6, 58.5e6),
        ("fer_plain", 1.14e6, 58.2e6),
        ("fer_wide", 1.11e6, 58.8e6),
        ("fer_lowres", 0.847e6, 57.7e6),
        ("fer_small", 0.240e6, 24.2e6),
        ("fer_tiny", 0.289e6, 13.9e6),
        ("fer_teacher_resnet", 2.72e6, 128e6),
        ("fer_teacher_vgg", 2.46e6, 149e6),
        ("notebook_cnn", 3.66e6, 238e6),
    ],
)
def test_size_is_what_the_documentation_states(networks, name, parameters, macs):
    model = networks[name]
    assert model.count_params() == pytest.approx(parameters, rel=0.005)
    assert count_macs(model) == pytest.approx(macs, rel=0.005)


@pytest.mark.parametrize("name", COMPARED)
def test_compared_network_fits_the_board(networks, name):
    model = networks[name]
    assert model.count_params() <= 1.5e6
    assert count_macs(model) <= 60e6


def test_compared_networks_cost_the_same(networks):
    macs = [count_macs(networks[name]) for name in COMPARED]
    assert max(macs) / min(macs) < 1.03


def test_small_network_fits_the_smallest_boards(networks):
    assert count_macs(networks["fer_small"]) <= 25e6


def test_macs_of_a_small_network_are_those_counted_by_hand():
    import keras

    inputs = keras.Input((8, 8, 2))
    x = layers.Conv2D(4, 3, padding="same")(inputs)  # 8*8 * 3*3*2*4
    x = layers.SeparableConv2D(6, 3, strides=2, padding="same")(x)  # 4*4 * (9*4 + 4*6)
    x = layers.DepthwiseConv2D(3, padding="same")(x)  # 4*4 * 9*6
    x = layers.Dense(5)(layers.Flatten()(x))  # 96*5
    expected = 64 * 72 + 16 * (36 + 24) + 16 * 54 + 480
    assert count_macs(keras.Model(inputs, x)) == expected


@pytest.mark.parametrize("name", FAMILIES)
def test_pixels_are_scaled_inside_the_network(networks, name):
    first = networks[name].layers[1]
    assert isinstance(first, layers.Rescaling)
    assert first.scale == pytest.approx(1 / 255)


@pytest.mark.parametrize("name", FAMILIES)
def test_output_is_logits_of_finite_size(networks, name):
    model = networks[name]
    images = np.random.default_rng(0).integers(0, 256, (4, 48, 48, 1), dtype=np.uint8)
    logits = np.asarray(model(images.astype(np.float32), training=False))
    assert logits.shape == (4, 7)
    assert np.isfinite(logits).all()
    assert np.abs(logits.sum(axis=1) - 1).max() > 1e-3  # no softmax
    assert model.layers[-1].activation.__name__ == "linear"


@pytest.mark.parametrize("name", FAMILIES)
@pytest.mark.parametrize(
    ("size_px", "channels", "classes"),
    [(16, 1, 2), (32, 3, 10), (96, 3, 5)],
    ids=["smallest", "32-rgb", "96-rgb"],
)
def test_any_image_set_is_taken(name, size_px, channels, classes):
    model = build_model(name, size_px=size_px, channels=channels, classes=classes)
    assert model.input_shape == (None, size_px, size_px, channels)
    assert model.output_shape == (None, classes)


@pytest.mark.parametrize("name", [*COMPARED, "fer_small"])
def test_network_has_no_layer_that_quantizes_badly(networks, name):
    plain = (
        layers.InputLayer,
        layers.Rescaling,
        layers.Conv2D,
        layers.BatchNormalization,
        layers.ReLU,
        layers.Add,
        layers.MaxPooling2D,
        layers.GlobalAveragePooling2D,
        layers.Dropout,
        layers.Dense,
    )
    assert all(type(layer) in plain for layer in networks[name].layers)


def test_command_line_offers_every_network():
    assert set(ARCHITECTURE_NAMES) == set(ARCHITECTURES)


@pytest.mark.parametrize("name", ["", "resnet50", "FER_RESNET"])
def test_unknown_architecture_names_the_known_ones(name):
    with pytest.raises(FerEdgeError, match=r"fer_resnet.*notebook_cnn"):
        build_model(name, **FER)


def test_images_that_are_too_small_are_refused():
    with pytest.raises(FerEdgeError, match="at least 16 pixels, got 15"):
        build_model("fer_resnet", size_px=15, channels=1, classes=2)


@pytest.mark.parametrize("name", SCALABLE_NAMES)
def test_width_changes_the_cost_as_its_square_and_depth_adds_layers(networks, name):
    half = build_model(name, **FER, scale=Scale(0.5, 1))
    deep = build_model(name, **FER, scale=Scale(1.0, 2))
    full = count_macs(networks[name])
    assert 0.2 * full < count_macs(half) < 0.5 * full
    assert len(half.layers) == len(networks[name].layers)
    assert count_macs(deep) > 1.2 * full
    assert len(deep.layers) > len(networks[name].layers)


def test_scaled_filters_are_multiples_of_four():
    assert [Scale(0.3).filters(n) for n in (8, 24, 96)] == [4, 8, 28]
    assert Scale(0.1).filters(8) == 4
    assert Scale(1.0).filters(21) == 21


def test_a_network_of_one_scale_is_refused():
    with pytest.raises(FerEdgeError, match="notebook_cnn has one width and depth"):
        build_model("notebook_cnn", **FER, scale=Scale(0.5, 1))
