"""An image set for tests: three noisy patterns that are learnt in a few steps."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import cv2
import numpy as np

CLASSES = ("dots", "lines", "waves")


def picture(label: str, rng: np.random.Generator, size: int = 16) -> np.ndarray:
    """Returns a noisy pattern that tells the classes apart, uint8 (size, size)."""
    y, x = np.indices((size, size)) + rng.integers(0, 8, (2, 1, 1))
    pattern = {
        "dots": (x % 4 < 2) & (y % 4 < 2),
        "lines": x % 4 < 2,
        "waves": (x + y) % 8 < 4,
    }[label]
    noisy = 150 * pattern + rng.integers(0, 100, (size, size))
    return noisy.astype(np.uint8)


def write_patterns(
    root: Path,
    counts: Mapping[str, int],
    *,
    size: int = 16,
    colour: bool = False,
    seed: int = 3,
) -> Path:
    """Writes so many pictures of each class into each split; returns the folder."""
    rng = np.random.default_rng(seed)
    for split, count in counts.items():
        for label in CLASSES:
            folder = root / split / label
            folder.mkdir(parents=True)
            for i in range(count):
                image = picture(label, rng, size)
                if colour:
                    image = np.dstack([image, image // 2, 255 - image])
                cv2.imwrite(str(folder / f"{i}.png"), image)
    return root
