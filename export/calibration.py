"""The representative images: which they are, and proof that they may be used."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from edge_runtime.errors import DatasetError, RunError
from train.dataset import Dataset
from train.run_folder import RunFolder
from train.splits import balanced_indices, pixel_hash

FEW_IMAGES = 100


@dataclass(frozen=True)
class Representative:
    """Images that stand for what the model will see.

    Attributes:
        images: uint8 (N, S, S, C), raw pixels 0..255.
        record: Source, count, seed and hash of the images, JSON-ready.
    """

    images: npt.NDArray[np.uint8]
    record: dict[str, Any]


def chosen_by_run(run: RunFolder, data: Dataset) -> Representative:
    """Returns the training images that the run chose, found again by their pixels.

    Raises:
        DatasetError: The images at hand are not those of the run.
        RunError: The run's choice is missing or damaged.
    """
    choice = run.read_json(run.calibration)
    hashes = choice.get("pixel_hashes")
    if not isinstance(hashes, list) or not hashes:
        raise RunError(f"{run.calibration} names no images: delete the run")
    if choice.get("data_fingerprint") != data.fingerprint:
        raise DatasetError(
            f"{data.name} does not hold the images that {run.name} was trained on:"
            " restore them, or give others with --calibration-data"
        )
    images = data.train.images[np.array(choice["indices"], dtype=np.int64)]
    if [pixel_hash(image) for image in images] != hashes:
        raise DatasetError(f"{data.name}: the run's choice of images does not match")
    return _representative(images, data, choice["seed"])


def chosen_from(data: Dataset, count: int, seed: int) -> Representative:
    """Returns a class-balanced, seeded choice of a user's own training images.

    Args:
        data: The images; only the training split is used.
        count: Wanted number in all.
        seed: Decides which.
    """
    indices = balanced_indices(data.train.labels, count, seed)
    return _representative(data.train.images[indices], data, seed)


def refuse_leaks(representative: Representative, data: Dataset) -> None:
    """Raises DatasetError if a representative image is an evaluation image."""
    chosen = {pixel_hash(image) for image in representative.images}
    evaluation = (*data.validation.images, *data.test.images)
    leaks = sum(pixel_hash(image) in chosen for image in evaluation)
    if leaks:
        raise DatasetError(
            f"{leaks} calibration images are validation or test images:"
            " the int8 figures would be flattered; choose training images"
        )


def _representative(
    images: npt.NDArray[np.uint8], data: Dataset, seed: int
) -> Representative:
    hashes = sorted(pixel_hash(image) for image in images)
    record = {
        "source": data.name,
        "split": "train",
        "count": len(images),
        "seed": seed,
        "sha256": hashlib.sha256("".join(hashes).encode()).hexdigest(),
    }
    return Representative(images, record)
