"""Plants faults in a labelled image set, seeded: wrong labels and changed copies."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import cv2
import numpy as np
import numpy.typing as npt

from train.data.decoding import decode
from train.data.listing.entries import Entry

Image = npt.NDArray[np.uint8]
Rng = np.random.Generator
GOOD_QUALITY = 90  # of JPEG, where the quality is not the change


@dataclass(frozen=True)
class PlantedCopy:
    """A changed copy of an image.

    Attributes:
        entry: The copy.
        source: Name of the image.
        change: One of ``CHANGES``.
    """

    entry: Entry
    source: str
    change: str


def resized(image: Image, rng: Rng) -> bytes:
    """Returns the image at 40 to 80 % of its size."""
    scale = rng.uniform(0.4, 0.8)
    height, width = (round(side * scale) for side in image.shape[:2])
    return _encode(cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA))


def recompressed(image: Image, rng: Rng) -> bytes:
    """Returns the image as JPEG of quality 20 to 50."""
    return _encode(image, int(rng.integers(20, 51)))


def brightened(image: Image, rng: Rng) -> bytes:
    """Returns the image with pixels times 1.1 to 1.3, plus 0 to 20, cut off at 255."""
    gain, offset = rng.uniform(1.1, 1.3), rng.uniform(0, 20)
    return _encode(cv2.convertScaleAbs(image, alpha=gain, beta=offset))


def cropped(image: Image, rng: Rng) -> bytes:
    """Returns 95 % of each side, from anywhere."""
    height, width = (round(0.95 * side) for side in image.shape[:2])
    top = int(rng.integers(0, image.shape[0] - height + 1))
    left = int(rng.integers(0, image.shape[1] - width + 1))
    return _encode(image[top : top + height, left : left + width])


def cropped_all_round(image: Image, rng: Rng) -> bytes:
    """Returns the image without 5 % at each of its edges."""
    height, width = (round(0.05 * side) for side in image.shape[:2])
    return _encode(image[height : image.shape[0] - height, width:-width])


def mirrored(image: Image, rng: Rng) -> bytes:
    """Returns the mirror image."""
    return _encode(np.ascontiguousarray(image[:, ::-1]))


CHANGES: dict[str, Callable[[Image, Rng], bytes]] = {
    "resized": resized,
    "recompressed": recompressed,
    "brightened": brightened,
    "cropped": cropped,
    "cropped all round": cropped_all_round,
    "mirrored": mirrored,
}


def plant_copies(
    entries: Sequence[Entry], share: float, seed: int
) -> list[PlantedCopy]:
    """Returns changed copies of a share of the images, as many of each change."""
    rng = np.random.default_rng([seed, 1])
    chosen = rng.choice(len(entries), round(share * len(entries)), replace=False)
    planted = []
    for number, row in enumerate(chosen.tolist()):
        change = list(CHANGES)[number % len(CHANGES)]
        source = entries[row]
        data = CHANGES[change](decode(source).pixels, rng)
        name = f"planted/{change}/{number}.jpg"
        entry = Entry(name, source.split, source.label, lambda data=data: data)
        planted.append(PlantedCopy(entry, source.name, change))
    return planted


def plant_labels(
    entries: Sequence[Entry], share: float, seed: int
) -> tuple[list[Entry], frozenset[str]]:
    """Returns the images, a share of them with another label, and the names of these.

    Every other class is equally likely.
    """
    rng = np.random.default_rng([seed, 2])
    labels = sorted({entry.label for entry in entries})
    chosen = rng.choice(len(entries), round(share * len(entries)), replace=False)
    changed = list(entries)
    for row in chosen.tolist():
        others = [label for label in labels if label != entries[row].label]
        changed[row] = replace(entries[row], label=str(rng.choice(others)))
    return changed, frozenset(entries[row].name for row in chosen.tolist())


def _encode(image: Image, quality: int = GOOD_QUALITY) -> bytes:
    _, data = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, quality])
    return bytes(data.tobytes())
