"""The tuning file: measured, chosen, written, used where it matches, else ignored."""

import argparse
import dataclasses
import json
import shutil

import cv2
import numpy as np
import pytest

from benchmarks.__main__ import main
from benchmarks.cli import tune as tune_command
from benchmarks.tune.measure import PROTOCOL, Target, choose
from edge_runtime.cli.run_options import apply_tuning, unset_tunable_defaults
from edge_runtime.detection.base import DETECT_WIDTH_PX
from edge_runtime.errors import GateError, ModelError
from edge_runtime.pipeline.tuning import (
    TuningResult,
    read_choice,
    tuning_document,
    tuning_path,
)

QUICK = dataclasses.replace(
    PROTOCOL, runs=3, seconds=0, windows=1, window_seconds=0, block_seconds=0
)


def row(threads, p50, width=None, p90=None):
    return {
        "threads": threads,
        "backend": "ai-edge-litert",
        "detect_width": width,
        "p50_ms": p50,
        "p90_ms": p90 or p50,
    }


@pytest.fixture
def model(tiny_model_path, tmp_path):
    return shutil.copy(tiny_model_path, tmp_path / "fer.int8.tflite")


@pytest.fixture
def tuned(model):
    document = tuning_document(model, TuningResult(2, "ai-edge-litert", 240), {})
    tuning_path(model).write_text(json.dumps(document))
    return model


def nothing_set():
    parser = argparse.ArgumentParser()
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--backend", default="auto")
    parser.add_argument("--detect-width", type=int, default=320)
    unset_tunable_defaults(parser)
    return parser


def test_without_a_target_the_fastest_is_chosen():
    assert choose([row(1, 3.0), row(2, 2.0)], Target())["threads"] == 2


def test_fewest_threads_that_meet_the_target_are_chosen():
    rows = [row(1, 9.0), row(2, 5.0), row(4, 3.0)]
    assert choose(rows, Target(max_latency_ms=6))["threads"] == 2


def test_widest_detection_that_meets_the_target_is_chosen():
    rows = [row(1, 3, 160), row(1, 9, 320), row(2, 5, 320), row(2, 20, 640)]
    best = choose(rows, Target(max_latency_ms=10))
    assert (best["detect_width"], best["threads"]) == (320, 1)


def test_latency_is_that_of_nine_of_ten_frames():
    with pytest.raises(GateError):
        choose([row(1, 4.0, p90=8.0)], Target(max_latency_ms=5))


def test_frames_per_second_are_those_of_the_median():
    rows = [row(1, 60.0), row(2, 45.0, p90=90.0)]
    assert choose(rows, Target(min_fps=20))["threads"] == 2


def test_target_that_nothing_meets_says_what_was_reached():
    with pytest.raises(GateError, match=r"p50 3\.00 and p90"):
        choose([row(1, 3.0)], Target(max_latency_ms=1))


def test_command_writes_what_run_reads(model, monkeypatch, capsys):
    monkeypatch.setattr(tune_command, "PROTOCOL", QUICK)
    argv = ["tune", str(model), "--threads", "1,2", "--max-latency", "10000"]
    assert main(argv) == 0
    choice, said = read_choice(model)
    assert choice.threads == 1
    assert "tuned for this board" in said
    assert main(argv) == 2
    assert "--force" in capsys.readouterr().err


def test_frames_are_searched_at_every_width(model, tmp_path, monkeypatch):
    monkeypatch.setattr(tune_command, "PROTOCOL", QUICK)
    picture = tmp_path / "frame.png"
    noise = np.random.default_rng(0).integers(0, 256, (120, 160, 3), dtype=np.uint8)
    cv2.imwrite(str(picture), noise)
    argv = ["tune", str(model), "--threads", "1", "--frames", str(picture)]
    argv += ["--faces", "haar", "--detect-widths", "80,120", "--min-fps", "0.001"]
    assert main(argv) == 0
    assert read_choice(model)[0].detect_width == 120


def test_unmet_target_ends_with_3_and_writes_nothing(model, monkeypatch):
    monkeypatch.setattr(tune_command, "PROTOCOL", QUICK)
    argv = ["tune", str(model), "--threads", "1", "--max-latency", "0.000001"]
    assert main(argv) == 3
    assert not tuning_path(model).exists()


def test_nothing_set_takes_what_is_tuned(tuned):
    args = nothing_set().parse_args([])
    said = apply_tuning(args, tuned)
    assert (args.threads, args.backend, args.detect_width) == (2, "ai-edge-litert", 240)
    assert "threads 2" in said


def test_what_was_typed_goes_before_what_is_tuned(tuned):
    args = nothing_set().parse_args(["--threads", "1", "--detect-width", "99"])
    apply_tuning(args, tuned)
    assert (args.threads, args.backend, args.detect_width) == (1, "ai-edge-litert", 99)


def test_without_a_tuning_file_the_defaults_hold(model):
    args = nothing_set().parse_args([])
    assert apply_tuning(args, model) == ""
    assert vars(args) == {
        "threads": 1,
        "backend": "auto",
        "detect_width": DETECT_WIDTH_PX,
    }


@pytest.mark.parametrize(
    ("key", "value", "said"),
    [
        pytest.param("model_sha256", "0" * 64, "another model", id="model"),
        pytest.param("cpu", "0x41/0xd0b", "another cpu", id="processor"),
        pytest.param("versions", {}, "another library versions", id="versions"),
    ],
)
def test_tuning_for_something_else_is_ignored_and_said_so(key, value, said, tuned):
    path = tuning_path(tuned)
    path.write_text(json.dumps(json.loads(path.read_text()) | {key: value}))
    args = nothing_set().parse_args([])
    told = apply_tuning(args, tuned)
    assert "ignored" in told
    assert said in told
    assert args.threads == 1


@pytest.mark.parametrize(
    "text",
    [
        pytest.param("{", id="no JSON"),
        pytest.param("[]", id="no object"),
        pytest.param('{"schema": "fer-edge/tuning/9"}', id="newer schema"),
    ],
)
def test_damaged_tuning_file_is_one_error(text, model):
    tuning_path(model).write_text(text)
    with pytest.raises(ModelError, match="tuning file"):
        read_choice(model)


@pytest.mark.parametrize(
    "choice",
    [
        pytest.param({"threads": 0, "backend": "ai-edge-litert"}, id="no thread"),
        pytest.param({"threads": True, "backend": "ai-edge-litert"}, id="no number"),
        pytest.param({"threads": 1, "backend": "/bin/sh"}, id="unknown library"),
        pytest.param(
            {"threads": 1, "backend": "onnxruntime", "detect_width": -5}, id="width"
        ),
        pytest.param("fast", id="no object"),
    ],
)
def test_impossible_choice_is_one_error(choice, tuned):
    path = tuning_path(tuned)
    path.write_text(json.dumps(json.loads(path.read_text()) | {"choice": choice}))
    with pytest.raises(ModelError, match="tuning file"):
        read_choice(tuned)
