"""The whole way through the command lines: train, export, run, compare."""

import json
import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import cv2
import numpy as np
import pytest

from tests.patterns import CLASSES, picture, write_patterns

ROOT = Path(__file__).resolve().parents[2]
FRAMES = 6


def write_clip(path):
    rng = np.random.default_rng(4)
    fourcc = cv2.VideoWriter.fourcc(*"MJPG")
    writer = cv2.VideoWriter(str(path), fourcc, 10, (64, 64))
    for number in range(FRAMES):
        grey = picture(CLASSES[number % 3], rng, 64)
        writer.write(cv2.cvtColor(grey, cv2.COLOR_GRAY2BGR))
    writer.release()


@pytest.fixture(scope="module")
def work(tmp_path_factory):
    """The folder in which the four commands ran, and what they printed."""
    folder = tmp_path_factory.mktemp("work")
    write_patterns(folder / "images", {"train": 40, "val": 25, "test": 25})
    write_clip(folder / "clip.avi")
    outputs = {}

    def command(name, *arguments):
        done = subprocess.run(
            [sys.executable, "-m", *arguments],
            cwd=folder,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            capture_output=True,
            text=True,
        )
        assert done.returncode == 0, (name, done.stdout[-2000:], done.stderr[-2000:])
        outputs[name] = done.stdout

    training = ["--data", "images", "--name", "small", "--epochs", "2"]
    training += ["--recipe", "demo", "--batch-size", "24"]
    command("train", "train", *training)
    command("export", "export", "small", "--int8", "--json", "export.json")
    models = [f"artifacts/small/small.{one}.tflite" for one in ("float32", "int8")]
    running = ["--source", "clip.avi", "--faces", "none", "--json"]
    command("run", "edge_runtime", "run", models[1], *running)
    measured = ["--data", "images", "--json", "accuracy.json"]
    command("accuracy", "benchmarks", "accuracy", *models, *measured)
    return SimpleNamespace(folder=folder, outputs=outputs)


def read(work, name):
    return json.loads((work.folder / name).read_text())


def test_training_leaves_a_run_and_names_the_next_command(work):
    assert (work.folder / "runs" / "small" / "model.keras").exists()
    assert "python -m export runs/small --int8" in work.outputs["train"]


def test_export_leaves_four_files_in_artifacts(work):
    names = {path.name for path in (work.folder / "artifacts" / "small").iterdir()}
    assert names >= {
        f"small.{kind}.{suffix}"
        for kind in ("float32", "int8")
        for suffix in ("tflite", "onnx")
    }


def test_export_agrees_with_the_keras_model(work):
    for one in read(work, "export.json")["files"]:
        least = 0.9 if "int8" in one["format"] else 0.999
        assert one["figures"]["agreement"] >= least


def test_every_frame_of_the_clip_is_answered(work):
    frames = [json.loads(line) for line in work.outputs["run"].splitlines()]
    assert [frame["frame"] for frame in frames] == list(range(FRAMES))
    for frame in frames:
        (face,) = frame["objects"]
        assert face["label"] in CLASSES
        assert len(face["probabilities"]) == 3


def test_benchmark_measures_both_files_on_the_test_split(work):
    document = read(work, "accuracy.json")
    text = json.dumps(document)
    assert "small.int8.tflite" in text
    assert "small.float32.tflite" in text
    assert '"count": 75' in text


def test_nothing_lands_outside_the_working_folder(work):
    assert not (ROOT / "runs" / "small").exists()
    assert not (ROOT / "artifacts" / "small").exists()


@pytest.mark.parametrize(("flag", "code"), [("--help", 0), ("--epochs", 2)])
def test_demo_with_a_flag_begins_nothing(flag, code, tmp_path):
    done = subprocess.run(
        [sys.executable, "-m", "demo", flag],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        timeout=60,
    )
    assert done.returncode == code
    assert list(tmp_path.iterdir()) == []
