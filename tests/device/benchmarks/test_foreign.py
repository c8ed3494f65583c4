"""Benchmarks of files of others: figures of their own interpreter's answers."""

import json

import cv2
import numpy as np
import pytest

from benchmarks.__main__ import main
from benchmarks.latency.cold_start import measure_fresh_process
from benchmarks.latency.measure import variants_of
from edge_runtime.__main__ import main as edge_runtime_main
from edge_runtime.cli import tune
from edge_runtime.cli.given import given_arguments
from edge_runtime.cli.run_options import add_model
from edge_runtime.errors import MeasurementError
from edge_runtime.model_file.metadata import Given
from edge_runtime.model_file.pixels import SCALINGS, normalized
from edge_runtime.utils.argparser import CommandLine
from tests.foreign_models import (
    SIZE,
    Quantization,
    float_model,
    interpreter_outputs,
    quantized_model,
)
from train.metrics import expected_calibration_error

LABELS = ("blue", "green", "red")  # in the order of their folders
CIFAR = Quantization("int8", 1.0, -128)  # as MLPerf Tiny's
GIVEN = Given(LABELS, SCALINGS["unit"], "probabilities")


@pytest.fixture
def pictures(tmp_path):
    """A folder for each class, and the pixels (N, S, S, 3) RGB with their classes."""
    rng = np.random.default_rng(4)
    pixels, classes = [], []
    for label, name in enumerate(LABELS):
        folder = tmp_path / "data" / "test" / name
        folder.mkdir(parents=True)
        for number in range(12):
            image = rng.integers(0, 256, (SIZE, SIZE, 3), dtype=np.uint8)
            image[..., label] = np.minimum(255, image[..., label].astype(int) + 40)
            cv2.imwrite(str(folder / f"{number}.png"), image[..., ::-1])
            pixels.append(image)
            classes.append(label)
    return tmp_path / "data", np.array(pixels), np.array(classes)


@pytest.fixture
def save(tmp_path):
    def write(model):
        path = tmp_path / "m.tflite"
        path.write_bytes(model)
        return path

    return write


def test_accuracy_and_calibration_are_of_the_files_own_probabilities(
    save, pictures, tmp_path
):
    data, pixels, classes = pictures
    model = quantized_model(CIFAR, gain=0.02)
    result = tmp_path / "result.json"
    arguments = [save(model), "--labels", ",".join(LABELS), "--data", data]
    assert main(["accuracy", *map(str, arguments), "--json", str(result)]) == 0
    (figures,) = json.loads(result.read_text())["models"]
    own = interpreter_outputs(model, (pixels.astype(int) - 128).astype(np.int8))
    assert figures["accuracy"] == np.mean(own.argmax(axis=1) == classes)
    expected = expected_calibration_error(np.log(np.maximum(own, 1e-9)), classes, 1.0)
    assert figures["expected_calibration_error"] == pytest.approx(expected, abs=1e-3)
    twice = expected_calibration_error(own, classes, 1.0)  # a softmax of a softmax
    assert abs(twice - expected) > 0.05


def test_accuracy_takes_pixels_and_asks_for_them(save, pictures, tmp_path, capsys):
    data, pixels, classes = pictures
    path = save(float_model(end="softmax"))
    result = tmp_path / "result.json"
    arguments = [
        "accuracy",
        str(path),
        "--labels",
        ",".join(LABELS),
        "--data",
        str(data),
    ]
    assert main(arguments) == 2
    assert "--pixels raw" in capsys.readouterr().err
    assert main([*arguments, "--pixels", "signed", "--json", str(result)]) == 0
    typed = f"--labels {','.join(LABELS)} --pixels signed"
    assert f" latency {path} {typed}\n" in capsys.readouterr().out
    own = interpreter_outputs(
        path.read_bytes(), (pixels / 127.5 - 1).astype(np.float32)
    )
    (figures,) = json.loads(result.read_text())["models"]
    assert figures["accuracy"] == np.mean(own.argmax(axis=1) == classes)


def test_new_process_opens_the_file_with_what_was_given(save):
    path = save(float_model(end="softmax"))
    (variant,) = variants_of([path], given=GIVEN)
    assert variant.open(1).spec.output == "probabilities"
    assert measure_fresh_process(path, given=GIVEN, repeats=1)["loaded_ms"] > 0
    with pytest.raises(MeasurementError, match="--pixels"):
        measure_fresh_process(path, given=Given(LABELS), repeats=1)


def test_tune_takes_them(save, monkeypatch, capsys):
    monkeypatch.setattr(tune, "SECONDS", 0)
    path = save(float_model(end="softmax"))
    arguments = ["tune", str(path), "--labels", ",".join(LABELS), "--threads", "1"]
    assert edge_runtime_main(arguments) == 2
    assert "--pixels" in capsys.readouterr().err
    flags = ["--pixels", "unit", "--output", "probabilities"]
    assert edge_runtime_main([*arguments, *flags]) == 0


@pytest.mark.parametrize(
    "given",
    [
        Given(),
        GIVEN,
        Given(("a, b", "c")),
        Given(pixels=normalized([1.0, 2.0, 3.0], [50.0])),
        Given(pixels=normalized([0.0], [1.0]), output="logits", colour="bgr"),
    ],
    ids=["nothing", "all", "comma", "own-scaling", "raw"],
)
def test_arguments_say_the_same_again(given, tmp_path):
    parser = CommandLine()
    add_model(parser)
    parsed = parser.parse_args(given_arguments(given, tmp_path))
    assert (parsed.labels, parsed.model_output) == (given.labels, given.output)
    assert parsed.colour == given.colour
    assert (parsed.pixels is None) == (given.pixels is None)
    if given.pixels:
        assert np.allclose(parsed.pixels, given.pixels)
