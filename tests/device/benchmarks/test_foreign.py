"""Benchmarks of files of others: figures of their own interpreter's answers."""

import json
from pathlib import Path

import cv2
import numpy as np
import pytest

from benchmarks.__main__ import main
from benchmarks.latency.cold_start import measure_fresh_process
from benchmarks.latency.measure import variants_of
from benchmarks.pipeline.measure import Setup
from edge_runtime.__main__ import build_parser
from edge_runtime.__main__ import main as edge_runtime_main
from edge_runtime.cli import tune
from edge_runtime.cli.given import GIVEN_NAMES, given
from edge_runtime.errors import MeasurementError
from edge_runtime.model_file.metadata import Given
from edge_runtime.model_file.pixels import SCALINGS
from edge_runtime.utils.argparser import typed
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
GIVEN = Given(LABELS, SCALINGS["unit"], "probabilities", fit="crop")


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
    ("words", "said"),
    [
        ("", Given()),
        ("--labels a,b --pixels=unit", Given(("a", "b"), SCALINGS["unit"])),
        ("--output logits --colour bgr", Given(output="logits", colour="bgr")),
        ("--fit crop", Given(fit="crop")),
    ],
    ids=["nothing", "labels", "other-name", "fit"],
)
def test_run_in_a_new_process_is_told_what_was_typed(words, said):
    typed_words = typed(["pipeline", "a.tflite", *words.split()], GIVEN_NAMES)
    setup = Setup(Path("a.tflite"), "0", 1, given_words=typed_words)
    arguments = setup.run_arguments(Path("frame.png"))
    assert given(build_parser("run").parse_args(arguments)) == said
