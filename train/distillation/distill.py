"""Soft targets: a mixture of labels and raters' votes.

After Lopez-Paz et al., "Unifying distillation and privileged information" (2016). They
are computed once before training and saved: a resumed run does not need the votes.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from edge_runtime.errors import DatasetError, RunError
from edge_runtime.untrusted import read_json, require_regular
from edge_runtime.utils.files import replacing, write_text
from train.data.dataset import Dataset
from train.data.splits import Split, pixel_hashes
from train.data.vote_labels import vote_shares
from train.data.votes import has_majority, read_votes
from train.distillation.soft_labels import label_distribution
from train.options.config import TrainConfig
from train.run.folder import RunFolder

TARGETS = "targets.npy"
TARGETS_ORDER = "targets.json"  # hash of the images in the order of the rows
MAX_ORDER_BYTES = 64 * 2**10
Targets = npt.NDArray[np.float32]


def compute_targets(config: TrainConfig, data: Dataset) -> Targets:
    """Returns the target distribution of each training image.

    ``(1 - t - s) * label + s * votes``, divided by ``1 - t``, with t
    ``config.teacher_share`` (0 without teachers) and s ``config.soft_label_share``. The
    label, or by ``config.label_rule`` each label's share of the votes, is smoothed by
    ``config.label_smoothing``. The share s of an image without votes goes to its label.

    Args:
        config: The votes and the shares.
        data: The images.

    Returns:
        float32 (N, classes). Rows sum to 1; rows of NaN are images dropped by
        ``config.drop_categories``.

    Raises:
        FerEdgeError: The votes are missing, or do not fit the images.
    """
    labels, classes = data.train.labels, len(data.labels)
    hard = hard_targets(labels, classes, config.label_smoothing)
    if config.label_rule == "probability":
        votes = read_votes(config.labels_from, data.train.names)
        hard = smooth(vote_shares(votes, data.labels), config.label_smoothing)
    parts: list[tuple[float, Targets]] = []
    dropped = np.zeros(len(labels), dtype=bool)
    if config.soft_labels:
        votes = read_votes(config.soft_labels, data.train.names)
        distribution = label_distribution(votes, labels, classes)
        share = config.soft_label_share / (1 - config.used_teacher_share)
        parts.append((share, distribution))
        for category in () if config.labels_from else config.drop_categories or ():
            dropped |= has_majority(votes, category)
    targets = mix(hard, parts)
    targets[dropped] = np.nan
    return targets


def select_images(data: Dataset, targets: Targets) -> tuple[Split, Targets]:
    """Returns the training images that are not dropped, and their targets.

    Args:
        data: The images.
        targets: float32 (N, classes), a row of NaN for each image to drop.

    Raises:
        DatasetError: A class would have no image left.
    """
    selected = np.flatnonzero(~np.isnan(targets).any(axis=1))
    counts = np.bincount(data.train.labels[selected], minlength=len(data.labels))
    if not counts.all():
        raise DatasetError(
            "--drop-category leaves no training image of"
            f" {data.labels[counts.argmin()]}"
        )
    if len(selected) == len(data.train):
        return data.train, targets
    dropped = len(data.train) - len(selected)
    print(f"dropped because of the raters' votes: {dropped:,} images")
    return data.train.take(selected), targets[selected]


def load_targets(config: TrainConfig, data: Dataset, run: RunFolder) -> Targets:
    """Returns the targets that a run started with; the votes are not needed.

    Raises:
        RunError: They are missing, damaged, or of other images.
    """
    if not config.has_soft_targets:
        return compute_targets(config, data)
    path = run.checkpoint / TARGETS
    try:
        require_regular(path)
        targets: Targets = np.load(path, allow_pickle=False)
    except (OSError, ValueError, EOFError, MemoryError) as error:
        raise RunError(f"{run.path} cannot be resumed: {error}") from error
    shape = (len(data.train), len(data.labels))
    if targets.shape != shape or _load_order_hash(run) != order_hash(data.train):
        raise RunError(
            f"{run.path} cannot be resumed: {path} is of other images, or of these"
            " in another order: restore them, or start a new run"
        )
    return targets


def save_targets(targets: Targets, data: Dataset, run: RunFolder) -> None:
    """Writes the targets and a hash of their images into the run's checkpoint."""
    run.checkpoint.mkdir(parents=True, exist_ok=True)
    order = {"images_sha256": order_hash(data.train)}
    write_text(run.checkpoint / TARGETS_ORDER, json.dumps(order) + "\n")
    with replacing(run.checkpoint / TARGETS) as temporary, temporary.open("wb") as file:
        np.save(file, targets, allow_pickle=False)


def order_hash(split: Split) -> str:
    """Returns the SHA-256 of the images' pixels in their order, hexadecimal."""
    hashes = "\n".join(pixel_hashes(split.images))
    return hashlib.sha256(hashes.encode()).hexdigest()


def hard_targets(
    labels: npt.NDArray[np.int64], classes: int, label_smoothing: float
) -> Targets:
    """Returns the labels as distributions, float32 (N, classes), smoothed."""
    return smooth(np.eye(classes, dtype=np.float32)[labels], label_smoothing)


def smooth(targets: Targets, label_smoothing: float) -> Targets:
    """Returns distributions with a share of them spread evenly over all classes."""
    even = np.float32(label_smoothing / targets.shape[1])
    return targets * np.float32(1 - label_smoothing) + even


def mix(hard: Targets, parts: Sequence[tuple[float, Targets]]) -> Targets:
    """Returns the labels mixed with other distributions.

    Args:
        hard: float32 (N, classes).
        parts: Pairs of a share in [0, 1] and distributions float32 (N, classes);
            the share of a row of NaN goes to the label. The shares sum to at most 1.
    """
    result = hard.astype(np.float64)
    for share, distribution in parts:
        known = ~np.isnan(distribution).any(axis=1)
        result[known] += share * (distribution[known].astype(np.float64) - hard[known])
    return result.astype(np.float32)


def _load_order_hash(run: RunFolder) -> str:
    path = run.checkpoint / TARGETS_ORDER
    try:
        return str(read_json(path, MAX_ORDER_BYTES)["images_sha256"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise RunError(
            f"{run.path} cannot be resumed: {path.name}, the record of its targets,"
            " is missing or damaged: start a new run"
        ) from error
