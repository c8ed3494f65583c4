"""examples/export_own_model.py, from a folder of images to an answer."""

import os
import subprocess
import sys

import cv2
import numpy as np

from tests.conftest import ROOT


def test_own_model_is_trained_exported_and_loaded(tmp_path):
    rng = np.random.default_rng(0)
    for label, colour_bgr in (("blue", (200, 40, 40)), ("red", (40, 40, 200))):
        folder = tmp_path / "photos" / label
        folder.mkdir(parents=True)
        for index in range(32):
            image = rng.normal(colour_bgr, 20, (64, 64, 3)).clip(0, 255)
            cv2.imwrite(str(folder / f"{index}.png"), image.astype(np.uint8))
    script = [
        "examples/export_own_model.py",
        tmp_path / "photos",
        tmp_path / "own.keras",
    ]
    done = subprocess.run(
        [sys.executable, *map(str, script)],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "own.int8.tflite").exists()
    assert (tmp_path / "own.int8.onnx").exists()
    assert done.stdout.splitlines()[-1].endswith("%)")
