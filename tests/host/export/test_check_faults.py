"""``check`` on files built to be wrong, and on healthy ones of a real network."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf
from ai_edge_quantizer import qtyping, quantizer, recipe, recipe_manager
from ai_edge_quantizer.algorithm_manager import AlgorithmName
from keras import layers

from edge_runtime.__main__ import main
from edge_runtime.model_file.container import attach
from edge_runtime.model_file.metadata import ModelSpec
from edge_runtime.utils.onnxruntime import import_onnxruntime
from export.calibration.activations import onnx_reader, tflite_reader
from export.calibration.measure import measure_ranges
from export.convert import onnx_model, quantize_tflite, tflite
from export.suppress_output import suppress_output
from train.networks.architectures import build_model, count_macs

ROOT = Path(__file__).resolve().parents[3]
CPU_SECONDS = 1.0

Operation = qtyping.TFLOperationName


def pixels(size: int) -> Any:
    shape = (6, size, size, 1)
    return np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)


def with_noise(model: keras.Model) -> keras.Model:
    """Gives BatchNorm statistics that do not fold away for being 0 and 1."""
    dice = np.random.default_rng(1)
    for layer in model.layers:
        if isinstance(layer, layers.BatchNormalization):
            shapes = [weight.shape for weight in layer.weights]
            layer.set_weights([dice.uniform(0.5, 1.5, shape) for shape in shapes])
    return model


def small_network(kind: str = "plain") -> keras.Model:
    inputs = keras.Input((16, 16, 1))
    x = layers.Conv2D(16, 3, padding="same", name="first")(inputs)
    if kind == "conv-relu-bn":
        x = layers.BatchNormalization()(layers.ReLU()(x))
    if kind == "bn-and-another-reader":
        x = layers.Add()([layers.ReLU()(layers.BatchNormalization()(x)), x])
    x = layers.Conv2D(16, 3, padding="same", activation="relu", name="second")(x)
    x = layers.GlobalAveragePooling2D()(x)
    return with_noise(keras.Model(inputs, layers.Dense(3)(x)))


class CumulativeProduct(layers.Layer):
    """TFLite has no such operator, TensorFlow has."""

    def call(self, x: Any) -> Any:
        return tf.math.cumprod(x, axis=1)


def flex_network() -> keras.Model:
    inputs = keras.Input((16, 16, 1))
    return keras.Model(inputs, small_network()(CumulativeProduct()(inputs)))


def converted(
    model: keras.Model, *, optimize: bool = False, flex: bool = False
) -> bytes:
    with tempfile.TemporaryDirectory() as folder, suppress_output():
        model.export(folder, format="tf_saved_model", verbose=False)
        converter = tf.lite.TFLiteConverter.from_saved_model(folder)
        if optimize:
            converter.optimizations = [tf.lite.Optimize.DEFAULT]
        if flex:
            builtin, select = (
                tf.lite.OpsSet.TFLITE_BUILTINS,
                tf.lite.OpsSet.SELECT_TF_OPS,
            )
            converter.target_spec.supported_ops = [builtin, select]
        return bytes(converter.convert())


def quantized(model: bytes, rules: list[dict[str, Any]]) -> bytes:
    """Returns a model quantized by a recipe of the quantizer's own."""
    ranges = measure_ranges(tflite_reader(model), pixels(16)).clipped
    shape = (1, 1, 1, 1)
    result = {
        name: {"min": np.full(shape, low, "f4"), "max": np.full(shape, high, "f4")}
        for name, (low, high) in ranges.items()
    }
    with suppress_output():
        done = quantizer.Quantizer(model, rules).quantize(
            result, enable_progress_bar=False, enable_progress_report=False
        )
    return bytes(done.quantized_model)


def with_island(model: bytes) -> bytes:
    exception = recipe_manager.RecipeManager()
    exception.add_quantization_config(
        ".*second.*", Operation.CONV_2D, algorithm_key=AlgorithmName.NO_QUANTIZE
    )
    more = exception.get_quantization_recipe()
    return quantized(model, [*recipe.static_wi8_ai8(), *more])


def per_tensor(model: bytes) -> bytes:
    manager = recipe_manager.RecipeManager()
    manager.add_static_config(
        ".*",
        Operation.ALL_SUPPORTED,
        8,
        8,
        weight_granularity=qtyping.QuantGranularity.TENSORWISE,
    )
    return quantized(model, manager.get_quantization_recipe())


def int8(model: bytes) -> bytes:
    return quantize_tflite.quantize(
        model, measure_ranges(tflite_reader(model), pixels(16)).clipped
    )


def int8_onnx(model: bytes) -> bytes:
    return onnx_model.quantize(
        model, measure_ranges(onnx_reader(model), pixels(16)).clipped
    )


def onnx_with_float_weights() -> bytes:
    """Returns an int8 ONNX model of which one convolution was left out."""
    quantization = import_onnxruntime("quantization")

    class Reader(quantization.CalibrationDataReader):
        def __init__(self) -> None:
            self.images = iter(pixels(16).astype(np.float32))

        def get_next(self) -> dict[str, Any] | None:
            image = next(self.images, None)
            return None if image is None else {onnx_model.INPUT: image[np.newaxis]}

    with tempfile.TemporaryDirectory() as folder, suppress_output():
        source, target = Path(folder) / "float.onnx", Path(folder) / "int8.onnx"
        source.write_bytes(onnx_model.to_onnx(small_network()))
        import onnx

        nodes = onnx.load(source).graph.node
        excluded = [one.name for one in nodes if one.op_type == "Conv"][1:]
        quantization.quantize_static(
            source,
            target,
            Reader(),
            per_channel=True,
            weight_type=quantization.QuantType.QInt8,
            nodes_to_exclude=excluded,
        )
        return target.read_bytes()


FAULTS: dict[str, tuple[str, Callable[[], bytes], set[str]]] = {
    "dynamic range called int8": (
        "a.int8.tflite",
        lambda: converted(small_network(), optimize=True),
        {"compute", "weights"},
    ),
    "float32 that is secretly dynamic range": (
        "a.float32.tflite",
        lambda: converted(small_network(), optimize=True),
        {"compute", "weights"},
    ),
    "a float island": (
        "a.int8.tflite",
        lambda: with_island(tflite.to_tflite(small_network())),
        {"compute", "weights", "float-island"},
    ),
    "per-tensor weights": (
        "a.int8.tflite",
        lambda: per_tensor(tflite.to_tflite(small_network())),
        {"per-tensor-weights"},
    ),
    "BatchNorm behind ReLU": (
        "a.int8.tflite",
        lambda: int8(tflite.to_tflite(small_network("conv-relu-bn"))),
        {"unfolded-batchnorm"},
    ),
    "BatchNorm of a convolution with another reader": (
        "a.int8.tflite",
        lambda: int8(tflite.to_tflite(small_network("bn-and-another-reader"))),
        {"unfolded-batchnorm"},
    ),
    "a Flex operator": (
        "a.float32.tflite",
        lambda: converted(flex_network(), flex=True),
        {"custom-operator"},
    ),
    "ONNX with float weights": (
        "a.int8.onnx",
        onnx_with_float_weights,
        {"compute", "weights", "float-island"},
    ),
    "ONNX with BatchNorm behind ReLU": (
        "a.int8.onnx",
        lambda: int8_onnx(onnx_model.to_onnx(small_network("conv-relu-bn"))),
        {"unfolded-batchnorm"},
    ),
}


def checked(
    path: Path, capsys: pytest.CaptureFixture[str]
) -> tuple[int, dict[str, Any]]:
    code = main(["check", str(path), "--json"])
    return code, json.loads(capsys.readouterr().out)


@pytest.mark.parametrize("fault", FAULTS)
def test_planted_fault_is_caught_and_named(
    fault: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    name, build, expected = FAULTS[fault]
    path = tmp_path / name
    path.write_bytes(build())
    capsys.readouterr()  # what converters print
    code, document = checked(path, capsys)
    assert {one["rule"] for one in document["verdict"]["violations"]} == expected
    assert code == 3


def test_fault_is_caught_behind_metadata_that_promise_otherwise(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model = converted(small_network(), optimize=True)
    spec = ModelSpec(("a", "b", "c"), 16, "grey", format="tflite-int8")
    path = tmp_path / "a.tflite"
    path.write_bytes(attach(model, spec.to_document(), "tflite"))
    capsys.readouterr()
    code, document = checked(path, capsys)
    assert code == 3
    assert document["verdict"]["judged_by"] == "metadata"


@pytest.mark.parametrize("kind", ["conv-relu-bn", "bn-and-another-reader"])
def test_unfolded_batchnorm_in_a_float_file_is_a_note(
    kind: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "a.float32.tflite"
    path.write_bytes(tflite.to_tflite(small_network(kind)))
    capsys.readouterr()
    code, document = checked(path, capsys)
    assert code == 0
    assert any("did not fold" in one for one in document["verdict"]["notes"])


# --- the network that is released ---------------------------------------------------


@pytest.fixture(scope="session")
def network() -> keras.Model:
    keras.utils.set_random_seed(1)
    return with_noise(build_model("fer_resnet", size_px=48, channels=1, classes=7))


@pytest.fixture(scope="session")
def exported(network: keras.Model, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with fer_resnet in all formats, random weights, no metadata."""
    from export.convert.pixel_scaling import fold_rescaling

    folder = tmp_path_factory.mktemp("exported")
    folded = fold_rescaling(network)
    floats = tflite.to_tflite(folded)
    ranges = measure_ranges(tflite_reader(floats), pixels(48)).clipped
    onnx = onnx_model.to_onnx(folded)
    onnx_ranges = measure_ranges(onnx_reader(onnx), pixels(48)).clipped
    files = {
        "float32.tflite": floats,
        "float16.tflite": quantize_tflite.to_float16(floats),
        "dynamic-range.tflite": quantize_tflite.to_dynamic_range(floats),
        "int8.tflite": quantize_tflite.quantize(floats, ranges),
        "int16x8.tflite": quantize_tflite.quantize(floats, ranges, activation_bits=16),
        "float32.onnx": onnx,
        "int8.onnx": onnx_model.quantize(onnx, onnx_ranges),
    }
    for name, content in files.items():
        (folder / f"fer.{name}").write_bytes(content)
    return folder


EXPORTED = ["float32.tflite", "float16.tflite", "dynamic-range.tflite", "int8.tflite"]
EXPORTED += ["int16x8.tflite", "float32.onnx", "int8.onnx"]


@pytest.mark.parametrize("name", EXPORTED)
def test_every_healthy_export_passes_with_the_macs_of_the_keras_model(
    name: str,
    exported: Path,
    network: keras.Model,
    capsys: pytest.CaptureFixture[str],
) -> None:
    code, document = checked(exported / f"fer.{name}", capsys)
    assert document["verdict"]["violations"] == []
    assert code == 0
    assert document["macs"]["total"] == count_macs(network)
    share = {"int8.tflite": 1.0, "int8.onnx": 1.0}.get(name, 0.0)
    assert document["macs"]["int8_share"] == share


@pytest.mark.parametrize("io", ["uint8", "float32"])
def test_int8_model_with_other_ends_is_healthy(
    io: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model = tflite.to_tflite(small_network())
    ranges = measure_ranges(tflite_reader(model), pixels(16)).clipped
    path = tmp_path / "a.int8.tflite"
    path.write_bytes(quantize_tflite.quantize(model, ranges, io=io))  # type: ignore[arg-type]
    capsys.readouterr()
    code, document = checked(path, capsys)
    assert (code, document["input"]["dtype"]) == (0, io)


def test_check_of_a_large_int8_file_takes_under_a_second(exported: Path) -> None:
    """In CPU time, from process start, the replay included: wall time is the host's."""
    path = exported / "fer.int8.tflite"
    assert path.stat().st_size > 1_300_000
    command = [sys.executable, "-m", "edge_runtime", "check", str(path)]
    command += ["--labels", "a,b,c,d,e,f,g"]  # loads and allocates the interpreter
    before = os.times()
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True)
    after = os.times()
    used = (after.children_user - before.children_user) + (
        after.children_system - before.children_system
    )
    assert used < CPU_SECONDS
