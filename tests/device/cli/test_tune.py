"""The tuning file: measured, chosen, written, used where it matches, else ignored."""

import re
import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest

from edge_runtime.__main__ import build_parser, main
from edge_runtime.cli import tune as tune_command
from edge_runtime.cli.tuning_file import apply_tuning, tuning_path, tuning_text
from edge_runtime.detection.base import DETECT_WIDTH_PX
from edge_runtime.errors import ConfigError, GateError, ModelError
from edge_runtime.pipeline.tuning import Setting, choose, time_settings
from tests.detectors import SOME_DETECTOR

SETTING = {"threads": 2, "backend": "ai-edge-litert", "detect_width": 240}


def timed(threads, p50, width=None, p90=None):
    return Setting(threads, "ai-edge-litert", width, p50, p90 or p50, runs=60)


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    monkeypatch.setattr(tune_command, "SECONDS", 0)


@pytest.fixture
def model(tiny_model_path, tmp_path):
    return Path(shutil.copy(tiny_model_path, tmp_path / "fer.int8.tflite"))


@pytest.fixture
def tuned(model):
    tuning_path(model).write_text(tuning_text(model, SETTING))
    return model


def run_arguments(*typed):
    return build_parser().parse_args(["run", *typed])


def settings(model):
    args = run_arguments()
    apply_tuning(args, model)
    return args.threads, args.backend, args.detect_width


def test_without_a_limit_the_fastest_is_chosen():
    assert choose([timed(1, 3.0), timed(2, 2.0)]).threads == 2


def test_fewest_threads_that_are_fast_enough_are_chosen():
    rows = [timed(1, 9.0), timed(2, 5.0), timed(4, 3.0)]
    assert choose(rows, max_latency_ms=6).threads == 2


def test_widest_detection_that_is_fast_enough_is_chosen():
    rows = [timed(1, 3, 160), timed(1, 9, 320), timed(2, 5, 320), timed(2, 20, 640)]
    best = choose(rows, max_latency_ms=10)
    assert (best.detect_width, best.threads) == (320, 1)


def test_latency_is_that_of_nine_of_ten_frames():
    with pytest.raises(GateError):
        choose([timed(1, 4.0, p90=8.0)], max_latency_ms=5)


def test_frames_per_second_are_those_of_the_median():
    rows = [timed(1, 60.0), timed(2, 45.0, p90=90.0)]
    assert choose(rows, min_fps=20).threads == 2


def test_limit_that_nothing_meets_is_an_error_with_what_was_reached():
    with pytest.raises(GateError, match=r"p50 3\.00 and p90"):
        choose([timed(1, 3.0)], max_latency_ms=1)


def test_command_writes_what_run_reads(model, capsys):
    argv = ["tune", str(model), "--threads", "1,2", "--max-latency", "10000"]
    assert main(argv) == 0
    args = run_arguments()
    assert "tuned for this board" in apply_tuning(args, model)
    assert args.threads == 1
    assert args.backend != "auto"
    assert main(argv) == 2
    assert "--force" in capsys.readouterr().err
    assert main([*argv, "--force"]) == 0


def test_run_uses_the_tuning_and_says_so(model, tmp_path, capsys):
    picture = tmp_path / "face.png"
    cv2.imwrite(str(picture), np.zeros((48, 48), np.uint8))
    assert main(["tune", str(model), "--threads", "1"]) == 0
    capsys.readouterr()
    argv = ["run", str(model), "--source", str(picture), "--faces", "none"]
    assert main(argv) == 0
    err = capsys.readouterr().err
    assert f"tuned for this board: {tuning_path(model).name}" in err


def test_frames_are_searched_at_every_width(model, tmp_path):
    picture = tmp_path / "frame.png"
    noise = np.random.default_rng(0).integers(0, 256, (120, 160, 3), dtype=np.uint8)
    cv2.imwrite(str(picture), noise)
    argv = ["tune", str(model), "--threads", "1", "--frames", str(picture)]
    argv += [
        "--faces",
        SOME_DETECTOR,
        "--detect-widths",
        "80,120",
        "--min-fps",
        "0.001",
    ]
    assert main(argv) == 0
    assert settings(model)[2] == 120


def test_regions_of_the_frames_are_what_is_searched(model, tmp_path, monkeypatch):
    sizes = []

    class Detector:
        name = "noted"

        def detect(self, frame):
            sizes.append(frame.shape[:2])
            return []

    monkeypatch.setattr(tune_command, "open_detector", lambda *_, **__: Detector())
    clip = f"{tmp_path}/*.png"
    cv2.imwrite(str(tmp_path / "a.png"), np.full((60, 80, 3), 90, np.uint8))
    regions = ["--roi", "a=0,0,50%,100%", "--roi", "b=10,0,30,20"]
    command = ["tune", str(model), "--frames", clip, *regions]
    assert main([*command, "--threads", "1"]) == 0
    assert set(sizes) == {(60, 40), (20, 30)}


def test_regions_without_frames_are_one_error(model, capsys):
    assert main(["tune", str(model), "--roi", "0,0,9,9"]) == 2
    assert "--roi needs --frames" in capsys.readouterr().err


def test_every_setting_is_timed_as_long_as_required(model):
    times = time_settings(model, [1, 2], seconds=0)
    assert {one.threads for one in times} == {1, 2}
    assert all(one.runs >= 60 and 0 < one.p50_ms <= one.p90_ms for one in times)


def test_several_widths_need_a_limit(model, capsys):
    argv = ["tune", str(model), "--frames", "fake:scene", "--detect-widths", "80,120"]
    assert main(argv) == 2
    assert "--max-latency or --min-fps" in capsys.readouterr().err


def test_unmet_limit_ends_with_3_and_writes_nothing(model):
    argv = ["tune", str(model), "--threads", "1", "--max-latency", "0.000001"]
    assert main(argv) == 3
    assert not tuning_path(model).exists()


def test_folder_that_cannot_be_written_is_refused_before_measuring(
    model, monkeypatch, capsys
):
    monkeypatch.setattr(tune_command.os, "access", lambda *_: False)
    monkeypatch.setattr(tune_command, "time_settings", None)
    assert main(["tune", str(model)]) == 2
    assert "no permission to write" in capsys.readouterr().err


def test_missing_model_is_one_error(tmp_path):
    with pytest.raises(ModelError):
        time_settings(tmp_path / "none.tflite", [1], seconds=0)


def test_unset_flags_take_what_is_tuned(tuned):
    assert settings(tuned) == (2, "ai-edge-litert", 240)


def test_typed_flags_take_precedence(tuned):
    args = run_arguments("--threads", "1", "--detect-width", "99")
    message = apply_tuning(args, tuned)
    assert (args.threads, args.backend, args.detect_width) == (1, "ai-edge-litert", 99)
    assert "threads 1, ai-edge-litert, width 99" in message


def test_setting_without_a_detector_leaves_the_default_width(tuned):
    setting = SETTING | {"detect_width": None}
    tuning_path(tuned).write_text(tuning_text(tuned, setting))
    assert settings(tuned) == (2, "ai-edge-litert", DETECT_WIDTH_PX)


def test_without_a_tuning_file_the_defaults_hold(model):
    args = run_arguments()
    assert apply_tuning(args, model) == ""
    assert settings(model) == (1, "auto", DETECT_WIDTH_PX)


def test_tuning_file_is_a_configuration_file_too(tuned, tmp_path, capsys):
    argv = ["run", "--config", str(tuning_path(tuned)), "--print-config"]
    assert main(argv) == 0
    assert "threads = 2" in capsys.readouterr().out


@pytest.mark.parametrize("key", ["model", "processor", "cores", "Python", "library"])
def test_tuning_for_something_else_is_ignored_with_a_message(key, tuned):
    path = tuning_path(tuned)
    text = re.sub(f"^{key} = .*$", f'{key} = "other"', path.read_text(), flags=re.M)
    path.write_text(text)
    args = run_arguments()
    message = apply_tuning(args, tuned)
    assert f"ignored: it was measured with another {key}" in message
    assert (args.threads, args.backend) == (1, "auto")


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        pytest.param("{", "is not a TOML file", id="no TOML"),
        pytest.param("threads = 0", "from 1 to 256", id="no thread"),
        pytest.param("threads = true", "text or a number", id="no number"),
        pytest.param('backend = "/bin/sh"', "expected one of", id="unknown library"),
        pytest.param("detect-width = -5", "from 1 to", id="width"),
        pytest.param("speed = 1", "not a flag", id="unknown key"),
    ],
)
def test_damaged_tuning_file_is_one_error(text, reason, model):
    tuning_path(model).write_text(text)
    with pytest.raises(ConfigError, match=reason):
        settings(model)


def test_tuning_file_without_its_conditions_is_ignored(model):
    tuning_path(model).write_text("measured-with = 1\nthreads = 2\n")
    assert settings(model)[0] == 1
