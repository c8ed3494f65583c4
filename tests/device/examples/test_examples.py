"""The scripts in examples/ run as their docstrings show them."""

import os
import subprocess
import sys

import cv2
import pytest

from edge_runtime.sources import open_source
from tests.conftest import ROOT


@pytest.fixture(scope="module")
def frames():
    with open_source("fake:scene?clock=virtual&frames=45&fps=15") as source:
        return [frame.image for frame in source]


@pytest.fixture(scope="module")
def clip(frames, tmp_path_factory):
    path = tmp_path_factory.mktemp("clip") / "clip.avi"
    height, width = frames[0].shape[:2]
    codec = cv2.VideoWriter.fourcc(*"MJPG")
    writer = cv2.VideoWriter(str(path), codec, 15, (width, height))
    for frame in frames:
        writer.write(frame)
    writer.release()
    return path


def run_program(*arguments, standard_input=""):
    """What a Python program prints that is started in the checkout."""
    done = subprocess.run(
        [sys.executable, *map(str, arguments)],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        input=standard_input,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize(
    "name",
    [
        "camera_to_terminal",
        "classify_picture",
        "export_own_model",
        "own_loop",
        "train_own_network",
    ],
)
def test_without_arguments_a_script_says_how_it_is_used(name):
    if name in ("export_own_model", "train_own_network"):
        pytest.importorskip("keras", reason="Keras is not in this environment")
    done = subprocess.run(
        [sys.executable, f"examples/{name}.py"],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
    )
    assert f"python examples/{name}.py" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_picture_is_classified(frames, tmp_path):
    path = tmp_path / "face.png"
    cv2.imwrite(str(path), frames[0])
    printed = run_program("examples/classify_picture.py", path)
    assert printed.startswith("face.png: ") and "%" in printed


def test_a_camera_is_followed_on_the_terminal():
    source = "fake:scene?frames=60&fps=20"
    printed = run_program("examples/camera_to_terminal.py", source)
    assert "face 1  face appeared: " in printed


def test_an_own_loop_writes_every_frame(clip, tmp_path, frames):
    path = tmp_path / "annotated.avi"
    printed = run_program("examples/own_loop.py", clip, path)
    assert f"{len(frames)} frames written" in printed
    with open_source(str(path)) as source:
        images = [frame.image for frame in source]
    assert len(images) == len(frames)
    assert any(
        (image[..., 1] > 150 + image[..., 0].astype(int)).any() for image in images
    )


def test_json_lines_are_summed_up(clip):
    command = ["-m", "edge_runtime", "run", "--source", clip, "--json"]
    lines = run_program(*command)
    printed = run_program("examples/read_json_lines.py", standard_input=lines)
    assert printed.startswith("face 1: ")
