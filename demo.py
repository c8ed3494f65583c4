"""``make demo``: the whole pipeline on the built-in drawn faces, in a few minutes.

Prints and runs the commands that a user would type.
"""

from __future__ import annotations

import shlex
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import cv2

from edge_runtime.errors import OutputError
from edge_runtime.sources.fake.scenes import DrawnScene
from edge_runtime.utils.argparser import CommandLine, exit_code_of, invocation

DESCRIPTION = (
    "Trains a classifier of drawn faces, exports it to int8, runs both files on a clip"
    " and compares them: a few minutes. No flags; results are in artifacts/demo."
)
OUT = Path("artifacts/demo")
CLIP = OUT / "clip.avi"
FLOAT, INT8 = OUT / "demo.float32.tflite", OUT / "demo.int8.tflite"
FRAME_WH = (640, 480)
FPS = 15
SCENE_FPS = 5  # played at 15, everything moves three times as fast
CLIP_FRAMES = 140  # all seven expressions


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
    print(f"next: {invocation('train')} --data YOUR_IMAGES   (one folder per class)")
    return 0


def write_clip(path: Path) -> None:
    """Writes a clip in which one drawn person goes through all expressions."""
    scene = DrawnScene(FRAME_WH, SCENE_FPS, seed=7)
    video = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"MJPG"), FPS, FRAME_WH)
    if not video.isOpened():
        raise OutputError(f"cannot write {path}: this OpenCV has no MJPG encoder")
    try:
        for number in range(CLIP_FRAMES):
            video.write(scene.render(number))
    finally:
        video.release()


if __name__ == "__main__":
    sys.exit(exit_code_of(main))
