"""``check`` of files of others: what they say, and what is wrong with their ends."""

import dataclasses
import json
import shlex

import cv2
import numpy as np
import pytest

from edge_runtime.__main__ import main
from edge_runtime.graph.tflite import read_tflite
from edge_runtime.inspection.foreign_rules import check_foreign
from edge_runtime.model_file.metadata import Given
from edge_runtime.model_file.statements import Statements
from tests.foreign_models import (
    Quantization,
    float_model,
    official_metadata,
    quantized_model,
    with_files,
)

CORAL = Quantization("uint8", 1 / 128, 128)
LABELS = ["--labels", "a,b,c"]


@pytest.fixture
def save(tmp_path):
    def write(model, name="m.tflite"):
        path = tmp_path / name
        path.write_bytes(model)
        return str(path)

    return write


@pytest.fixture
def checked(capsys):
    """The exit code and the document of a check."""

    def check(*arguments):
        code = main(["check", *arguments, "--json"])
        return code, json.loads(capsys.readouterr().out)

    return check


def rules(document):
    return [one["rule"] for one in document["verdict"]["violations"]]


def test_quantized_file_says_its_pixels_and_its_answer(save, checked):
    code, document = checked(save(quantized_model(CORAL)))
    stated = document["stated"]
    assert (code, stated["pixels"]["values"]) == (0, "-1..0.9922 (signed)")
    assert stated["pixels_by"] == "the quantization of its input"
    assert (stated["output"], stated["output_by"]) == (
        "probabilities",
        "it ends in a softmax",
    )
    assert document["verdict"]["notes"][-1] == "its probabilities have steps of 0.00391"


def test_official_metadata_are_reported(save, checked, capsys):
    metadata = official_metadata(
        mean=[127.5], std=[127.5], label_file="labels.txt", name="MobileNet"
    )
    model = float_model(end="softmax", metadata=metadata)
    path = save(with_files(model, {"labels.txt": "a\nb\nc\n"}))
    code, document = checked(path)
    stated = document["stated"]
    assert code == 0
    assert stated["tflite_metadata"]["name"] == "MobileNet"
    assert (stated["labels"], stated["labels_by"]) == (["a", "b", "c"], "labels.txt")
    assert stated["pixels"]["values"] == "-1..1 (signed)"
    assert document["backend"]["name"]  # opened, with the labels of the file
    assert main(["check", path]) == 0
    out = capsys.readouterr().out
    assert "official TFLite metadata: MobileNet" in out
    assert f"run {path} --source 0   # each face; with --faces none the whole" in out


@pytest.mark.parametrize(
    "files",
    [{}, {"labels.txt": "a\n"}],
    ids=["no-archive", "one-name"],
)
def test_labels_that_cannot_be_read_do_not_hide_the_rest(save, capsys, files):
    metadata = official_metadata(mean=[0], std=[255], label_file="labels.txt")
    path = save(with_files(float_model(end="softmax", metadata=metadata), files))
    assert main(["check", path]) == (2 if files else 0)
    printed = capsys.readouterr()
    assert "0..1 (unit), by its TFLite metadata" in printed.out
    if not files:
        assert "'labels.txt' cannot be read" in printed.out
        assert "give the names with --labels" in printed.out
    assert main(["check", path, *LABELS]) == 0


def test_file_that_does_not_say_its_pixels_is_described(save, capsys):
    path = save(float_model())
    assert main(["check", path]) == 0
    out = capsys.readouterr().out
    assert "note: nothing in the file says what its network takes for pixels" in out
    assert f"run {path} --labels A,B,... --pixels SCALE --source 0" in out


@pytest.mark.parametrize(
    "flags",
    [
        ["--labels", "a,b,c", "--pixels", "unit"],
        ["--labels", "big cat,dog,fox", "--pixels", "signed", "--colour", "bgr"],
        ["--labels", '"a, b",c,d', "--pixels", "raw", "--model-output", "logits"],
    ],
    ids=["short", "spaces", "comma"],
)
def test_next_command_repeats_what_was_given_and_works(save, capsys, flags, tmp_path):
    path = save(float_model())
    assert main(["check", path, *flags]) == 0
    command = shlex.split(capsys.readouterr().out.splitlines()[-1], comments=True)
    run = command[command.index("run") :]
    assert run == ["run", path, *flags, "--source", "0"]
    cv2.imwrite(str(tmp_path / "a.png"), np.zeros((8, 8, 3), np.uint8))
    run[-1] = str(tmp_path / "a.png")
    capsys.readouterr()
    assert main([*run, "--faces", "none"]) == 0
    again, check = map(shlex.split, capsys.readouterr().out.splitlines()[-2:])
    assert again[again.index("run") :][: 2 + len(flags)] == ["run", path, *flags]
    assert check[check.index("check") :] == ["check", path, *flags]


def test_next_command_asks_for_what_the_graph_does_not_show(save, capsys):
    path = save(float_model(end="exponentials", first=[("MUL", 1 / 255)]))
    tail = "--labels A,B,... --source 0"
    assert main(["check", path]) == 0
    assert f"run {path} {tail}" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("source", "pixels", "count"),
    [
        (CORAL, "raw", 255),
        (Quantization("int8", 1 / 255, -128), "signed", 128),
        (Quantization("int8", 1 / 128, 0), "imagenet", 127),
    ],
    ids=["raw", "signed", "imagenet"],
)
def test_pixels_beyond_the_input_are_a_violation(save, checked, source, pixels, count):
    code, document = checked(save(quantized_model(source)), "--pixels", pixels)
    assert (code, rules(document)) == (3, ["pixel-range"])
    (violation,) = document["verdict"]["violations"]
    found = int(violation["found"].split()[0])
    assert found == pytest.approx(count, abs=20)


@pytest.mark.parametrize("pixels", ["signed", None], ids=["given", "stated"])
def test_pixels_that_fit_are_none(save, checked, pixels):
    flags = ["--pixels", pixels] if pixels else []
    code, document = checked(save(quantized_model(CORAL)), *LABELS, *flags)
    assert (code, rules(document)) == (0, [])


@pytest.mark.parametrize(
    "source",
    [Quantization("int8", 1 / 127, 0), Quantization("int8", 4.12 / 255, -5)],
    ids=["symmetric", "CIFAR"],
)
def test_range_that_says_nothing_is_no_error(save, checked, source):
    code, document = checked(save(quantized_model(source)), *LABELS)
    assert (code, rules(document)) == (0, [])
    assert document["backend"]["name"]  # opened
    assert document["stated"]["pixels"] is None


def test_calibration_without_white_is_a_note(save, checked):
    source = Quantization("int8", 200 / 255, -128)
    code, document = checked(save(quantized_model(source)))
    assert code == 0
    assert "calibrated without black or white: 55 of 256" in str(
        document["verdict"]["notes"]
    )


def test_coarse_input_is_a_note(save, checked):
    model = quantized_model(Quantization("int8", 1.9, -128))
    code, document = checked(save(model), "--pixels", "raw")
    assert (code, rules(document)) == (0, [])
    assert "tells 135 of 256 pixel values apart" in str(document["verdict"]["notes"])


def test_output_that_cannot_hold_probabilities_is_a_violation(save, checked):
    model = quantized_model(CORAL, output=(1 / 512, -128))
    code, document = checked(save(model))
    assert (code, rules(document)) == (3, ["output-range"])


@pytest.mark.parametrize("dtype", ["float32", "int32"])
def test_output_of_another_type_with_a_scale_is_no_range(dtype):
    graph = read_tflite(quantized_model(CORAL))
    tensors = list(graph.tensors)
    index = graph.outputs[0]
    tensors[index] = dataclasses.replace(tensors[index], dtype=dtype)
    graph = dataclasses.replace(graph, tensors=tuple(tensors))
    stated = Statements(output="probabilities")
    assert check_foreign(graph, stated, Given()).violations == ()


def test_answer_that_contradicts_the_graph_is_a_note(save, checked):
    _, document = checked(save(quantized_model(CORAL)), "--output", "logits")
    note = "it ends in a softmax: it gives probabilities, not logits"
    assert note in document["verdict"]["notes"]


def test_files_with_metadata_state_nothing_beside_them(tiny_model_path, checked):
    code, document = checked(str(tiny_model_path))
    assert (code, document["stated"]) == (0, None)
