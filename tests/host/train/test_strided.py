"""1x1 convolutions with a stride: no damaged memory, and the same values."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from train.networks.backend import start_keras

start_keras()

import keras  # noqa: E402

from train.networks.strided import avoid_strides  # noqa: E402

ROOT = Path(__file__).resolve().parents[3]
TRAIN = """
from train.networks.backend import start_keras
start_keras()
import numpy as np
from train.networks.architectures import build_model
from train.optimization.optimizer import compile_model
from train.options.config import TrainConfig
model = build_model("mini_xception", size_px={side}, channels=1, classes=2)
compile_model(model, TrainConfig(), 10)
rng = np.random.default_rng(0)
images = rng.integers(0, 255, (8, {side}, {side}, 1), dtype=np.uint8)
for _ in range(6):
    model.train_on_batch(images, np.eye(2, dtype=np.float32)[[0, 1] * 4])
"""


@pytest.mark.parametrize("side", [64, 96])
def test_training_does_not_damage_its_memory(side):
    """Without the detour it is killed, on a processor with AVX-512."""
    done = subprocess.run(
        [sys.executable, "-c", TRAIN.format(side=side)],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr[-500:]


def network(side, padding, channels=4, kernel=1):
    layers = keras.layers
    inputs = keras.Input((side, side, channels))
    convolution = layers.Conv2D(8, kernel, strides=2, padding=padding, name="strided")
    return keras.Model(inputs, convolution(inputs))


@pytest.mark.parametrize("padding", ["same", "valid"])
@pytest.mark.parametrize("side", [7, 8])
def test_values_and_file_are_those_of_the_layer(side, padding):
    model = network(side, padding)
    images = np.random.default_rng(1).normal(size=(3, side, side, 4)).astype(np.float32)
    before, described = model(images), model.to_json()
    avoid_strides(model)
    assert "convolution_op" in vars(model.get_layer("strided"))
    np.testing.assert_allclose(model(images), before, rtol=0, atol=1e-5)
    assert model.to_json() == described


@pytest.mark.parametrize("changed", [{"channels": 16}, {"kernel": 3}])
def test_other_convolutions_stay_as_they_are(changed):
    model = network(8, "same", **changed)
    avoid_strides(model)
    assert "convolution_op" not in vars(model.get_layer("strided"))
