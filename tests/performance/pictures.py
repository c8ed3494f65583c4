"""Draws image sets of any size: shapes on a gradient, with noise like a camera's."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np

from edge_runtime.utils.stderr import progress_counter
from train.data.workers import Workers, available_cores

CLASSES = ("balls", "boxes", "bars", "nets")
PICTURE_WH = (480, 360)
CHUNK = 64


def draw(seed: int, label: int) -> bytes:
    """Returns a JPEG of one class: label is its number."""
    rng = np.random.default_rng([seed, label])
    width, height = PICTURE_WH
    corners = rng.integers(0, 256, (2, 2, 3), dtype=np.uint8)
    image = cv2.resize(corners, PICTURE_WH, interpolation=cv2.INTER_LINEAR)
    for _ in range(rng.integers(3, 9)):
        x, y = int(rng.integers(width)), int(rng.integers(height))
        size, colour = int(rng.integers(15, 60)), rng.integers(0, 256, 3).tolist()
        if label == 0:
            cv2.circle(image, (x, y), size, colour, -1)
        elif label == 1:
            cv2.rectangle(image, (x, y), (x + size, y + size), colour, -1)
        elif label == 2:
            cv2.line(image, (x, y), (x + 3 * size, y), colour, 8)
        else:
            cv2.line(image, (x, y), (x, y + 3 * size), colour, 3)
            cv2.line(image, (x, y), (x + 3 * size, y), colour, 3)
    noise = rng.integers(0, 24, image.shape, dtype=np.uint8)
    return cv2.imencode(".jpg", cv2.add(image, noise))[1].tobytes()


def draw_some(first: int, folder: Path) -> None:
    """Writes ``CHUNK`` pictures."""
    for seed in range(first, first + CHUNK):
        label = seed % len(CLASSES)
        path = folder / CLASSES[label] / f"{seed:06}.jpg"
        path.write_bytes(draw(seed, label))


def draw_set(folder: Path, count: int) -> int:
    """Writes a set of about that many pictures; returns its bytes."""
    for label in CLASSES:
        (folder / label).mkdir(parents=True)
    starts = range(0, count, CHUNK)
    with (
        Workers(available_cores()) as workers,
        progress_counter(len(starts), "drawing", unit="chunk") as step,
    ):
        for _ in workers.map(draw_some, ((start, folder) for start in starts)):
            step(1)
    return sum(path.stat().st_size for path in folder.glob("*/*.jpg"))
