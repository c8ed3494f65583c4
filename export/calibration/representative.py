"""The representative images for calibration: how they are chosen and checked."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from edge_runtime.errors import DatasetError, RunError
from edge_runtime.model_file.metadata import ModelSpec
from edge_runtime.preprocessing import to_model_input
from train.data.dataset import Dataset
from train.data.decoding import decode
from train.data.listing.entries import Entry
from train.data.listing.stored_files import stored_file
from train.data.splits import balanced_indices, pixel_hash, pixel_hashes
from train.run.folder import RunFolder, understood

FEW_IMAGES = 100
LARGEST_IMBALANCE = 2.0


@dataclass(frozen=True)
class Representative:
    """Training images that represent what the model will see.

    Attributes:
        images: uint8 (N, S, S, C), raw pixels 0..255.
        record: Source, count, seed and hash of the images, JSON-ready.
        class_counts: Number of images of each class.
    """

    images: npt.NDArray[np.uint8]
    record: dict[str, Any]
    class_counts: dict[str, int] = field(default_factory=dict)


def select_run_images(run: RunFolder, data: Dataset) -> Representative:
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
    with understood(run.calibration):
        indices = np.array(choice["indices"], dtype=np.int64)
        images, seed = data.train.images[indices], int(choice["seed"])
    if [pixel_hash(image) for image in images] != hashes:
        raise DatasetError(f"{data.name}: the run's choice of images does not match")
    return _representative(indices, data, seed)


def select_images(data: Dataset, count: int, seed: int) -> Representative:
    """Returns a class-balanced, seeded choice of a user's own training images.

    Args:
        data: The images; only the training split is used.
        count: Number of images in all.
        seed: Of the random choice.
    """
    indices = balanced_indices(data.train.labels, count, seed)
    return _representative(indices, data, seed)


def select_unlabelled(
    folder: Path, spec: ModelSpec, count: int, seed: int
) -> Representative | None:
    """Returns a seeded choice of the pictures in a folder without class folders.

    None where it is no such folder. Nothing but ranges can be measured on them.
    """
    if not folder.is_dir() or any(one.is_dir() for one in folder.iterdir()):
        return None
    files = sorted(one for one in folder.iterdir() if one.is_file())
    order = np.random.default_rng(seed).permutation(len(files))
    images = []
    for index in order:
        name = files[index].name
        entry = Entry(name, "train", "", stored_file(files[index], name).read)
        try:
            picture = decode(entry)
        except ValueError:
            continue  # of another kind, or damaged
        if picture.dark:
            continue  # its values have fewer than 16 bits: black, the ranges too small
        pixels = to_model_input(picture.pixels, spec.size_px, spec.colour, spec.fit)
        images.append(pixels)
        if len(images) == count:
            break
    if not images:
        return None
    chosen = np.stack(images)
    hashes = sorted(pixel_hash(image) for image in chosen)
    record = {
        "source": folder.name,
        "split": "unlabelled",
        "count": len(chosen),
        "seed": seed,
        "sha256": hashlib.sha256("".join(hashes).encode()).hexdigest(),
    }
    return Representative(chosen, record)


def check_leaks(representative: Representative, *sets: Dataset) -> int:
    """Returns the number of evaluation images the representative ones differ from.

    Raises:
        DatasetError: A representative image is a validation or test image of one of
            the image sets.
    """
    chosen = {pixel_hash(image) for image in representative.images}
    evaluation = {
        pixels
        for data in sets
        for split in (data.validation, data.test)
        for pixels in pixel_hashes(split.images)
    }
    leaks = len(chosen & evaluation)
    if leaks:
        raise DatasetError(
            f"{leaks} calibration images are validation or test images:"
            " the int8 figures would be flattered; choose training images"
        )
    return len(evaluation)


def check_usable(representative: Representative) -> None:
    """Raises DatasetError where images cannot be raw pixels, or show nothing.

    Refused are: fewer than two different images; images that are constant, each of
    one value; and images whose largest value over all of them is 1, as when values
    scaled to 0..1 were saved as pixels.
    """
    images, name = representative.images, representative.record["source"]
    different = len({pixel_hash(image) for image in images})
    if different < 2:
        raise DatasetError(
            f"{name}: expected at least 2 different calibration images, got {different}"
        )
    if images.max() <= 1:
        raise DatasetError(
            f"{name}: expected raw pixels 0..255 to calibrate with, got none above"
            f" {images.max()}: these images were scaled before they were saved"
        )
    flat = images.reshape(len(images), -1)
    if np.all(flat.min(axis=1) == flat.max(axis=1)):
        raise DatasetError(
            f"{name}: expected photographs or drawings to calibrate with, got images of"
            " one value each"
        )


def collect_warnings(representative: Representative) -> Sequence[str]:
    """Returns what is doubtful about images that are used nevertheless."""
    warnings = []
    count = len(representative.images)
    if count < FEW_IMAGES:
        warnings.append(f"{count} calibration images are few, 200 to 500 are good")
    different = len({pixel_hash(image) for image in representative.images})
    if different < count:
        warnings.append(f"only {different} of {count} calibration images are different")
    counts = representative.class_counts.values()
    if counts and max(counts) > LARGEST_IMBALANCE * max(1, min(counts)):
        warnings.append(
            f"calibration classes are unequal: {representative.class_counts}"
        )
    return warnings


def _representative(
    indices: npt.NDArray[np.int64], data: Dataset, seed: int
) -> Representative:
    chosen = data.train.take(indices)
    hashes = sorted(pixel_hashes(chosen.images))
    record = {
        "source": data.name,
        "split": "train",
        "count": len(chosen),
        "seed": seed,
        "sha256": hashlib.sha256("".join(hashes).encode()).hexdigest(),
    }
    counts = np.bincount(chosen.labels, minlength=len(data.labels))
    named = zip(data.labels, counts.tolist(), strict=True)
    return Representative(np.asarray(chosen.images), record, dict(named))
