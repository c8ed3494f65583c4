"""``make demo``: the whole pipeline on the built-in drawn faces, in a few minutes.

Runs the commands a user would type, one after the other, and says which they are.
"""

from __future__ import annotations

import shlex
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np

from edge_runtime.errors import OutputError, exit_code_of
from edge_runtime.utils.argparser import CommandLine
from train.drawn_faces.dataset import LABELS, draw_scene, interpolate, sample_parameters

DESCRIPTION = (
    "Trains a classifier of drawn faces, exports it to int8, runs both files on a clip"
    " and compares them: a few minutes. No flags; results are in artifacts/demo."
)
OUT = Path("artifacts/demo")
CLIP = OUT / "clip.avi"
FLOAT, INT8 = OUT / "demo.float32.tflite", OUT / "demo.int8.tflite"
FRAME_WH = (640, 480)
FPS = 15
FRAMES_PER_EXPRESSION = 20
FRAMES_OF_CHANGE = 6


def main(argv: Sequence[str] | None = None) -> int:
    """Returns the exit code of the first command that fails, else 0."""
    CommandLine(prog="python -m demo", description=DESCRIPTION).parse_args(argv)
    started = time.perf_counter()
    OUT.mkdir(parents=True, exist_ok=True)
    print("fer-edge demo, on DRAWN faces: no figure here says anything about real ones")
    train = "train --recipe demo --name demo --force"
    export = f"export runs/demo --int8 --out {OUT} --force"
    latency = f"benchmarks latency {FLOAT} {INT8} --json {OUT}/latency.json --force"
    accuracy = (
        f"benchmarks accuracy {FLOAT} {INT8} --data drawn --json {OUT}/accuracy.json"
        f" --picture {OUT}/confusion_matrix.png --force"
    )
    report = (
        f"benchmarks report {OUT}/accuracy.json --latency {OUT}/latency.json"
        f" --output {OUT}/report.html --force"
    )
    run = (
        f"edge_runtime run {INT8} --source {CLIP} --output {OUT}/annotated.mp4 --force"
    )
    write_clip(CLIP)
    for step in (train, export, run, accuracy, latency, report):
        print(f"\n$ python -m {step}", flush=True)
        command = [sys.executable, "-m", *shlex.split(step)]
        code = subprocess.run(command, check=False).returncode
        if code:
            return code
    print(f"\ndone in {(time.perf_counter() - started) / 60:.1f} minutes; look at")
    for name in ("annotated.mp4", "confusion_matrix.png", "report.html"):
        print(f"  {(OUT / name)}")
    print("next: python -m train --data YOUR_IMAGES   (one folder per class)")
    return 0


def write_clip(path: Path) -> None:
    """Writes a clip in which one drawn person goes through all expressions."""
    rng = np.random.default_rng(7)
    person = sample_parameters("neutral", rng, variation=0.0).identity
    faces = [
        sample_parameters(label, rng, identity=person, variation=0.0)
        for label in ("neutral", *LABELS)
    ]
    video = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"MJPG"), FPS, FRAME_WH)
    if not video.isOpened():
        raise OutputError(f"cannot write {path}: this OpenCV has no MJPG encoder")
    try:
        for index in range((len(faces) - 1) * FRAMES_PER_EXPRESSION):
            number, step = divmod(index, FRAMES_PER_EXPRESSION)
            weight = min(1.0, step / FRAMES_OF_CHANGE)
            face = interpolate(faces[number], faces[number + 1], weight)
            sway = 60 * np.sin(index / 15), 15 * np.sin(index / 9)
            centre = (FRAME_WH[0] / 2 + sway[0], FRAME_WH[1] / 2 + sway[1])
            video.write(draw_scene(face, frame_size_wh=FRAME_WH, center_xy=centre))
    finally:
        video.release()


if __name__ == "__main__":
    sys.exit(exit_code_of(main))
