"""Tries the exporter on a network that has learnt nothing yet: in seconds, not hours.

``export`` imports ``train``, so it is started as a program of its own. It knows nothing
of the user's module there: what it can read then, it can read later.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from importlib.util import find_spec
from pathlib import Path

import cv2
import keras
import numpy as np

from edge_runtime.errors import RunError
from edge_runtime.utils.files import write_text

CHECKOUT = Path(__file__).resolve().parents[2]
NEEDED = ("tensorflow", "ai_edge_quantizer", "ai_edge_litert")
NOISE_IMAGES = 8  # no figure depends on what they show


def try_export(model: keras.Model, arch: str, *, allow_float: bool) -> str:
    """Returns what became of a network's int8 file, in words.

    Args:
        model: Takes raw pixels (N, S, S, C), gives logits.
        arch: Its name, for messages.
        allow_float: Operators without an integer kernel may stay in float32.

    Raises:
        RunError: There is no such file, or an operator has no integer kernel.
    """
    missing = [name for name in NEEDED if find_spec(name) is None]
    if missing:
        return f"not tried on the exporter: {missing[0]} is not installed here"
    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder)
        model.save(work / "network.keras")
        _write_noise(model, work / "noise")
        classes = range(model.outputs[0].shape[1])
        write_text(work / "labels.txt", "".join(f"class {n}\n" for n in classes))
        command = [
            *(sys.executable, "-m", "export", "network.keras", "--formats", "int8"),
            *("--labels", "labels.txt", "--pixels", "raw", "--out", "files"),
            *("--calibration-data", "noise", "--json", "export.json"),
            *(["--allow-float"] if allow_float else []),
        ]
        # Its GPU memory would be missing in the training.
        environment = {
            **os.environ,
            "PYTHONPATH": str(CHECKOUT),
            "CUDA_VISIBLE_DEVICES": "-1",
        }
        done = subprocess.run(
            command, cwd=work, env=environment, capture_output=True, text=True
        )
        if done.returncode:
            raise RunError(f"{arch} cannot be exported: {_reason(done.stderr)}")
        document = json.loads((work / "export.json").read_text(encoding="utf-8"))
    file = document["files"][0]
    share = f", {file['int8_share']:.0%} of it in int8" if allow_float else ""
    return (
        f"its {file['format'].removeprefix('tflite-')} file: {file['bytes'] / 1e6:.2f}"
        f" MB, {file['latency_ms']:.3f} ms for an image on one thread of this machine"
        f"{share}"
    )


def _write_noise(model: keras.Model, folder: Path) -> None:
    folder.mkdir()
    rng = np.random.default_rng(1)
    shape = (NOISE_IMAGES, *model.inputs[0].shape[1:])
    for number, image in enumerate(rng.integers(0, 256, shape, dtype=np.uint8)):
        cv2.imwrite(str(folder / f"{number}.png"), image)


def _reason(stderr: str) -> str:
    lines = stderr.strip().splitlines() or ["it ended without a reason"]
    told = [line for line in lines if line.startswith("error: ")]
    return (told or lines)[-1].removeprefix("error: ").removeprefix("not written: ")
