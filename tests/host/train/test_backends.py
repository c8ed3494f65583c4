"""Training with Keras on something else than TensorFlow."""

import csv
import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest

ROOT = Path(__file__).resolve().parents[3]
INFER = """
import numpy, keras, sys
model = keras.models.load_model(sys.argv[1], safe_mode=True)
pixels = numpy.full((3, 16, 16, 1), 90, numpy.uint8)
print(numpy.isfinite(model.predict(pixels, verbose=0)).all())
"""


@pytest.mark.parametrize("backend", ["jax", "torch"])
def test_one_epoch_trains_and_the_model_answers(tmp_path, backend):
    if importlib.util.find_spec(backend) is None:
        pytest.skip(f"{backend} is not installed here")
    rng = np.random.default_rng(0)
    for label, level in (("dark", 0), ("light", 120)):
        (tmp_path / "set" / label).mkdir(parents=True)
        for number in range(20):
            image = rng.integers(level, level + 100, (16, 16), dtype=np.uint8)
            cv2.imwrite(str(tmp_path / "set" / label / f"{number}.png"), image)
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "KERAS_BACKEND": backend}
    flags = ["--data", "set", "--name", "one", "--epochs", "1", "--batch-size", "8"]
    for command in (
        ["-m", "train", *flags, "--arch", "mini_xception"],
        ["-c", INFER, "runs/one/model.keras"],
    ):
        done = subprocess.run(
            [sys.executable, *command],
            cwd=tmp_path,
            env=environment,
            capture_output=True,
            text=True,
        )
        assert done.returncode == 0, done.stderr[-2000:]
    assert done.stdout.strip() == "True"  # finite logits, not only a finite loss
    with (tmp_path / "runs" / "one" / "history.csv").open() as file:
        (row,) = csv.DictReader(file)
    assert np.isfinite(float(row["loss"]))
