"""The same inputs through the same wheel on a board and here, and what differs."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from tests.arm64.emulator import Board
from train.data.drawn_faces import drawn_faces

SCRIPT = Path(__file__).resolve().parent / "guest" / "replay.py"
IMAGES, FRAMES, BOXES = 200, 12, 12
# Steps of the output scale by which a library's int8 logits may differ between x86 and
# arm64. tflite-runtime's convolutions without ReLU differ in one value of 6,000, by 1
# or 2 steps (tiny.int8.tflite, 200 images); those with ReLU do not. Seen in logits: 2.
STEPS = {"ai-edge-litert": 0, "tflite-runtime": 4}


@dataclass(frozen=True)
class Replay:
    """What one machine made of the inputs.

    Attributes:
        faces: uint8 (boxes, S, S, 1): the preprocessing of frames and boxes.
        logits: float32 (images, classes).
        scale: Step of the int8 output.
        golden_difference: Largest difference of a logit from the golden vectors'.
        backend: Library and version.
        machine: Architecture.
    """

    faces: npt.NDArray[np.uint8]
    logits: npt.NDArray[np.float32]
    scale: float
    golden_difference: float
    backend: str
    machine: str


def differences(here: Replay, board: Replay) -> list[str]:
    """Returns in words what is not as it must be; empty where all is.

    Libraries and pixels must be the same, logits within the library's ``STEPS``.
    """
    found = []
    if here.backend != board.backend:
        found.append(f"libraries: {here.backend} here, {board.backend} there")
    pixels = here.faces != board.faces
    if pixels.any():
        count = int(pixels.any(axis=(1, 2, 3)).sum())
        found.append(
            f"preprocessing: {int(pixels.sum())} pixels in {count} of"
            f" {len(here.faces)} faces"
        )
    allowed = STEPS[here.backend.split()[0]]
    steps = np.rint(np.abs(here.logits - board.logits) / here.scale)
    if steps.max() > allowed:
        images = int((steps > 0).any(axis=1).sum())
        found.append(
            f"logits: {images} of {len(steps)} images, by up to {steps.max():.0f} steps"
            f" of which {allowed} are allowed"
        )
    golden_steps = abs(here.golden_difference - board.golden_difference) / here.scale
    if round(golden_steps) > allowed:
        found.append(
            f"golden vectors: off by {here.golden_difference} here,"
            f" {board.golden_difference} there"
        )
    return found


def write_cases(path: Path) -> None:
    """Writes the inputs: 48x48 grey images, and frames with boxes to cut faces from.

    A quarter of the images is noise. Frames are grey and BGR of many sizes; boxes are
    smaller and larger than the network's input and reach over the edges.
    """
    random = np.random.default_rng(6)
    images = drawn_faces(IMAGES, 206)[0][..., np.newaxis]
    images[::4] = random.integers(0, 256, images[::4].shape, dtype=np.uint8)
    arrays: dict[str, Any] = {"images": images, "frames": FRAMES}
    boxes = []
    for i in range(FRAMES):
        height, width = (int(size) for size in random.integers(120, 500, 2))
        colours = (3,) if i % 3 else ()
        arrays[f"frame_{i}"] = _frame(random, height, width, colours)
        boxes.append([_box(random, width, height) for _ in range(BOXES)])
    np.savez(path, boxes_xywh=np.array(boxes), **arrays)


def _frame(
    random: np.random.Generator, height: int, width: int, colours: tuple[int, ...]
) -> npt.NDArray[np.uint8]:
    y, x = np.mgrid[:height, :width]
    ramp = ((3 * x + 2 * y) % 256).reshape(height, width, *(1 for _ in colours))
    noise = random.integers(0, 256, (height, width, *colours))
    return np.asarray((ramp + noise) // 2, dtype=np.uint8)


def _box(random: np.random.Generator, width: int, height: int) -> list[int]:
    left, top = random.integers(-20, (width - 20, height - 20))
    wide, tall = random.integers(10, min(width, height), 2)
    return [int(left), int(top), int(wide), int(tall)]


def replay_on(
    board: Board, cases: Path, model: Path, out: Path, images: int = IMAGES
) -> Replay:
    """Returns what a board makes of the inputs, of so many images.

    Raises:
        RuntimeError: Its program failed; the message is what it said.
    """
    backend = board.environment.backend
    arguments = (cases, model.resolve(), backend, f"{images}", out)
    return _read(board.run(SCRIPT, *arguments), out)


def replay_here(
    python: Path,
    path: Sequence[Path],
    backend: str,
    cases: Path,
    model: Path,
    out: Path,
    images: int = IMAGES,
) -> Replay:
    """Returns what this machine makes of the inputs, with the same wheel.

    Args:
        python: Of an environment with the same library.
        path: Folders to import from before it.
        backend: The library.
        cases: As ``write_cases`` wrote them.
        model: The model file.
        out: Where the results are written.
        images: How many of the images.

    Raises:
        RuntimeError: As ``replay_on``.
    """
    words = (python, SCRIPT, cases, model.resolve(), backend, images, out)
    done = subprocess.run(
        [str(word) for word in words],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(map(str, path))},
        capture_output=True,
        text=True,
    )
    return _read(done, out)


def _read(done: subprocess.CompletedProcess[str], out: Path) -> Replay:
    if done.returncode:
        raise RuntimeError(done.stderr[-2000:])
    with np.load(out, allow_pickle=False) as found:
        return Replay(
            faces=found["faces"],
            logits=found["logits"],
            scale=float(found["scale"]),
            golden_difference=float(found["golden_difference"]),
            backend=str(found["backend"]),
            machine=str(found["machine"]),
        )
