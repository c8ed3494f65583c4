"""What an installed edge_runtime makes of inputs: run on a board, and here.

    python replay.py CASES.npz MODEL BACKEND IMAGES OUT.npz

Loading the model replays its golden vectors; an error ends it with one line.
"""

from __future__ import annotations

import platform
import sys
from pathlib import Path

import numpy as np

from edge_runtime import Classifier
from edge_runtime.preprocessing import square_crop
from edge_runtime.utils.argparser import exit_code_of


def main() -> int:
    """Reads, replays and writes."""
    cases_path, model, backend, count, out = sys.argv[1:]
    with np.load(cases_path, allow_pickle=False) as cases:
        frames = [cases[f"frame_{i}"] for i in range(int(cases["frames"]))]
        boxes = cases["boxes_xywh"].tolist()  # several for each frame
        images = cases["images"][: int(count)]
    classifier = Classifier.load(Path(model), backend=backend)
    faces = [
        classifier.prepare(square_crop(frame, tuple(box), margin_frac=0.1))
        for frame, in_frame in zip(frames, boxes, strict=True)
        for box in in_frame
    ]
    np.savez(
        out,
        faces=np.stack(faces),
        logits=classifier.logits(images),
        scale=classifier.backend.output.quantization.scale,
        golden_difference=classifier.golden_difference or 0.0,
        backend=f"{classifier.backend.name} {classifier.backend.version}",
        machine=platform.machine(),
    )
    return 0


if __name__ == "__main__":
    sys.exit(exit_code_of(main))
