"""Published weights: the source's own answers, and their licence in run and file."""

import json

import numpy as np
import pytest

from edge_runtime.errors import MissingDependencyError, RunError
from train.__main__ import build_config, main
from train.networks import pretrained
from train.networks.backend import start_keras
from train.networks.pretrained import PRETRAINED, load_weights, require_weights

start_keras()

import keras  # noqa: E402

from export.trained_model import find_trained_model  # noqa: E402
from tests.host.train.test_fit import write_images  # noqa: E402
from train.networks.architectures import build_model  # noqa: E402
from train.networks.mobilenet_v2 import WIDTHS  # noqa: E402
from train.options.config import ARCHITECTURE_NAMES  # noqa: E402


def theirs(width, folder, size_px=96):
    """Returns a MobileNetV2 of keras.applications and the file of its weights."""
    keras.utils.set_random_seed(1)
    rng = np.random.default_rng(1)
    model = keras.applications.MobileNetV2(
        input_shape=(size_px, size_px, 3),
        alpha=width,
        include_top=False,
        weights=None,
        pooling="avg",
    )
    for layer in model.layers:
        if isinstance(layer, keras.layers.BatchNormalization):
            values = [v + 0.1 * rng.random(v.shape) for v in layer.get_weights()]
            layer.set_weights(values)
    path = folder / "mobilenet_v2.weights.h5"
    model.save_weights(path)
    return model, path


def features_of(model):
    return keras.Model(model.inputs[0], model.layers[-1].input)


def noise(size_px):
    return np.random.default_rng(0).uniform(0, 255, (2, size_px, size_px, 3))


@pytest.mark.parametrize("name", WIDTHS)
@pytest.mark.parametrize("size_px", [96, 97], ids=["even", "odd"])
def test_mobilenet_gives_the_features_of_keras_applications(tmp_path, name, size_px):
    source, path = theirs(WIDTHS[name], tmp_path, size_px)
    model = build_model(name, size_px=size_px, channels=3, classes=3)
    load_weights(model, name, str(path))
    images = noise(size_px)
    np.testing.assert_allclose(
        features_of(model).predict(images, verbose=0),
        source.predict(images / 127.5 - 1, verbose=0),
        atol=1e-4,  # float sums in another order
    )


def test_grey_mobilenet_answers_as_for_grey_in_all_three_channels(tmp_path):
    name = "mobilenet_v2_035"
    source, path = theirs(WIDTHS[name], tmp_path)
    model = build_model(name, size_px=96, channels=1, classes=3)
    load_weights(model, name, str(path))
    grey = noise(96)[..., :1]
    np.testing.assert_allclose(
        features_of(model).predict(grey, verbose=0),
        source.predict(np.repeat(grey, 3, axis=3) / 127.5 - 1, verbose=0),
        atol=1e-4,
    )


@pytest.mark.parametrize("name", ["mobilenet_v2", "efficientnet_lite0"])
def test_file_of_another_network_is_one_error(tmp_path, name):
    _, path = theirs(0.35, tmp_path)
    model = build_model(name, size_px=32, channels=3, classes=3)
    with pytest.raises(RunError) as caught:
        load_weights(model, name, str(path))
    assert "\n" not in str(caught.value)


def test_damaged_file_names_the_way_out(tmp_path):
    path = tmp_path / "mobilenet_v2.h5"
    path.write_bytes(b"no hdf5")
    model = build_model("mobilenet_v2", size_px=32, channels=3, classes=3)
    with pytest.raises(RunError, match="--pretrained none"):
        load_weights(model, "mobilenet_v2", str(path))


@pytest.mark.parametrize("name", ["fer_resnet", "notebook_cnn", "mini_xception"])
def test_network_without_published_weights_names_those_that_have_some(name):
    with pytest.raises(RunError, match="choose --arch of efficientnet_lite0"):
        require_weights(name, "imagenet")


@pytest.mark.parametrize("name", ["efficientnet_lite0", "efficientnet_lite2"])
def test_missing_weights_are_named_with_their_command(monkeypatch, name):
    monkeypatch.setattr(pretrained, "find_spec", lambda _: None)
    with pytest.raises(MissingDependencyError, match="--group pretrained"):
        require_weights(name, "imagenet")
    require_weights(name, "none")


def test_missing_file_is_named():
    with pytest.raises(RunError, match=r"got 'gone\.pth': no such file"):
        require_weights("efficientnet_lite0", "gone.pth")


def test_every_network_with_weights_can_be_chosen():
    assert set(PRETRAINED) <= set(ARCHITECTURE_NAMES)


@pytest.mark.parametrize(
    ("options", "weights"),
    [
        ({"arch": "efficientnet_lite0"}, "imagenet"),
        ({"arch": "mobilenet_v2"}, "imagenet"),
        ({"arch": "mobilenet_v2", "pretrained": "none"}, "none"),
        ({"arch": "mobilenet_v2", "start_from": "run"}, "none"),
        ({"arch": "fer_small"}, "none"),
    ],
)
def test_network_with_published_weights_begins_with_them(options, weights):
    assert build_config(options).pretrained == weights


def test_two_kinds_of_initial_weights_are_refused(tmp_path, capsys):
    data = write_images(tmp_path / "set", 4)
    arguments = ["--data", str(data), "--arch", "mobilenet_v2", "--from", "x"]
    assert main([*arguments, "--pretrained", "imagenet"]) == 2
    assert "--from and --pretrained both name" in capsys.readouterr().err


def test_source_and_licence_go_into_run_and_model_file(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    data, (_, path) = write_images(tmp_path / "set", 8), theirs(0.35, tmp_path)
    flags = ["--data", str(data), "--arch", "mobilenet_v2_035", "--epochs", "1"]
    flags += ["--size", "32", "--batch-size", "8"]
    first = [*flags, "--pretrained", str(path), "--name", "first"]
    assert main(first) == 0
    weights = json.loads((tmp_path / "runs/first/config.json").read_text())["weights"]
    assert weights["source"] == path.name
    assert weights["licence"] == "unknown"
    assert find_trained_model("first", None).spec.origin["weights"] == weights
    # They are in what begins with that run, too.
    assert main([*flags, "--from", "first", "--name", "second"]) == 0
    assert find_trained_model("second", None).spec.origin["weights"] == weights
    # And stay on record when a run is resumed.
    assert main(["--resume", "first"]) == 0
    assert find_trained_model("first", None).spec.origin["weights"] == weights
