"""Targets that say more than one label: teachers' answers and raters' votes.

After Hinton et al., "Distilling the knowledge in a neural network" (2015): the student
learns from a mixture of the label, the mean answer of its teachers, and (Lopez-Paz et
al., "Unifying distillation and privileged information", 2016) what raters who are not
there at run time said. All of it is computed once before training and kept, so a run
with teachers costs no more per epoch than one without.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Sequence
from pathlib import Path

import keras
import numpy as np
import numpy.typing as npt
from scipy.special import softmax

from edge_runtime.errors import DatasetError, RunError
from edge_runtime.utils.files import replacing, write_text
from train.data.dataset import Dataset
from train.data.splits import Split, pixel_hash
from train.distillation.soft_labels import label_distribution, mostly_voted, read_votes
from train.options.config import TrainConfig
from train.run.folder import RunFolder, labels_beside, model_path
from train.run.results import predict_logits

TARGETS = "targets.npy"
TARGETS_ORDER = "targets.json"  # which image each row of the targets belongs to
Targets = npt.NDArray[np.float32]


def training_targets(config: TrainConfig, data: Dataset) -> Targets:
    """Returns what the network is to answer on each training image.

    ``(1 - t - s) * label + t * teachers + s * votes`` with the shares
    ``config.teacher_share`` and ``config.soft_label_share``; the label is smoothed as
    ``config.label_smoothing`` says. An image without votes leaves their share to its
    label.

    Args:
        config: Names the teachers and the votes.
        data: The images.

    Returns:
        float32 (N, classes). Rows sum to 1; rows of NaN are images that
        ``config.drop_category`` leaves out.

    Raises:
        FerEdgeError: A teacher or the votes are missing, or of other images, inputs
            or classes.
    """
    labels, classes = data.train.labels, len(data.labels)
    shared: list[tuple[float, Targets]] = []
    dropped = np.zeros(len(labels), dtype=bool)
    if config.soft_labels:
        votes = read_votes(config.soft_labels, data.train.names)
        distribution = label_distribution(votes, labels, classes)
        shared.append((config.soft_label_share, distribution))
        if config.drop_category:
            dropped = mostly_voted(votes, config.drop_category)
    if config.teachers:
        shared.append((config.teacher_share, teacher_answers(config, data)))
    targets = mix(hard_targets(labels, classes, config.label_smoothing), shared)
    targets[dropped] = np.nan
    return targets


def trained_on(data: Dataset, targets: Targets) -> tuple[Split, Targets]:
    """Returns the training images that are not left out, and their targets.

    Args:
        data: The images.
        targets: float32 (N, classes), a row of NaN for an image to leave out.

    Raises:
        DatasetError: A class would have no image left.
    """
    kept = np.flatnonzero(~np.isnan(targets).any(axis=1))
    left = np.bincount(data.train.labels[kept], minlength=len(data.labels))
    if not left.all():
        raise DatasetError(
            f"--drop-category leaves no training image of {data.labels[left.argmin()]}"
        )
    if len(kept) == len(data.train):
        return data.train, targets
    print(f"left out by the raters' votes: {len(data.train) - len(kept):,} images")
    return data.train.take(kept), targets[kept]


def kept_targets(config: TrainConfig, data: Dataset, run: RunFolder) -> Targets:
    """Returns the targets a run began with, even where a teacher is gone since.

    Raises:
        RunError: They are missing or damaged, or of other images or another order.
    """
    if not config.has_soft_targets:
        return training_targets(config, data)
    path = run.checkpoint / TARGETS
    try:
        targets: Targets = np.load(path, allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise RunError(f"{run.path} cannot be continued: {error}") from error
    order = _kept_order(run)
    wanted = (len(data.train), len(data.labels))
    if targets.shape != wanted or order != order_hash(data.train):
        raise RunError(
            f"{run.path} cannot be continued: {path} is of other images, or of these"
            " in another order: restore them, or begin a new run"
        )
    return targets


def keep_targets(targets: Targets, data: Dataset, run: RunFolder) -> None:
    """Writes the targets, and which images they are of, into the run's checkpoint."""
    run.checkpoint.mkdir(parents=True, exist_ok=True)
    order = {"images_sha256": order_hash(data.train)}
    write_text(run.checkpoint / TARGETS_ORDER, json.dumps(order) + "\n")
    with replacing(run.checkpoint / TARGETS) as temporary, temporary.open("wb") as file:
        np.save(file, targets, allow_pickle=False)


def order_hash(split: Split) -> str:
    """Returns the SHA-256 of the images' pixels in their order, hexadecimal."""
    hashes = "\n".join(map(pixel_hash, split.images))
    return hashlib.sha256(hashes.encode()).hexdigest()


def hard_targets(
    labels: npt.NDArray[np.int64], classes: int, label_smoothing: float
) -> Targets:
    """Returns the labels as distributions, float32 (N, classes), smoothed."""
    one_hot = np.eye(classes, dtype=np.float32)[labels]
    return one_hot * (1 - label_smoothing) + np.float32(label_smoothing / classes)


def mix(hard: Targets, shared: Sequence[tuple[float, Targets]]) -> Targets:
    """Returns the labels mixed with other distributions.

    Args:
        hard: float32 (N, classes).
        shared: Pairs of a share in [0, 1] and distributions float32 (N, classes);
            a row of NaN leaves its share to the label. The shares add up to at most 1.
    """
    result = hard.astype(np.float64)
    for share, distribution in shared:
        known = ~np.isnan(distribution).any(axis=1)
        result[known] += share * (distribution[known].astype(np.float64) - hard[known])
    return result.astype(np.float32)


def teacher_answers(config: TrainConfig, data: Dataset) -> Targets:
    """Returns the teachers' mean answer on each training image, float32 (N, classes).

    Each teacher's logits are averaged over the image and its mirror image, if the run
    mirrors its images at all; then the probabilities over the teachers.

    Args:
        config: Names the teachers: runs or ``.keras`` files.
        data: The images to answer on.

    Raises:
        RunError: A teacher is missing, of another input or other classes, or was
            trained on evaluation images.
    """
    models = [load_teacher(model_path(one), data) for one in config.teachers]
    views = [data.train]
    if config.augmentation.flip:
        mirrored = data.train.images[:, :, ::-1]
        views.append(dataclasses.replace(data.train, images=mirrored))
    answers = np.zeros((len(data.train), len(data.labels)))
    for teacher, model in zip(config.teachers, models, strict=True):
        print(f"teacher {teacher}: answers on {len(data.train):,} training images")
        logits = np.mean([predict_logits(model, view) for view in views], axis=0)
        answers += softmax(logits, axis=1) / len(models)
    return answers.astype(np.float32)


def load_teacher(path: Path, data: Dataset) -> keras.Model:
    """Returns a teacher that takes these images, knows these classes, answers logits.

    Raises:
        RunError: It does not, cannot be loaded, or was trained on evaluation images.
    """
    try:
        model = keras.models.load_model(path, compile=False, safe_mode=True)
    except Exception as error:  # Keras raises whatever its parsers raise
        raise RunError(f"cannot load the teacher {path}: {error}") from error
    takes, answers = model.input_shape, model.output_shape
    wanted = (None, *data.train.images.shape[1:])
    if takes != wanted:
        raise RunError(f"teacher {path}: expected an input of {wanted}, got {takes}")
    ours = list(data.labels)
    labels = labels_beside(path) or ours
    if answers != (None, len(ours)) or labels != ours:
        raise RunError(
            f"teacher {path}: expected the classes {', '.join(ours)} in this order,"
            f" got {', '.join(labels) if labels != ours else f'{answers[-1]} classes'}"
        )
    if not _ends_in_logits(model):
        raise RunError(f"teacher {path}: expected logits, got probabilities")
    check_unseen(path, data)
    return model


def check_unseen(path: Path, data: Dataset) -> None:
    """Refuses a model that was trained on evaluation images: they would leak in.

    A run records the pixels of some of its training images. A model that lies in no
    run, or was trained on another image size, cannot be checked and passes.

    Raises:
        RunError: An image it was trained on is one to validate or test on.
    """
    run = RunFolder(path.parent)
    if not run.calibration.is_file():
        return
    trained = run.read_json(run.calibration).get("pixel_hashes", [])
    evaluated = map(pixel_hash, (*data.validation.images, *data.test.images))
    seen = len(set(trained).intersection(evaluated))
    if seen:
        raise RunError(
            f"{path}: expected a model trained on none of the validation and test"
            f" images, got one that learnt from at least {seen} of them: give both"
            " runs the same --validation and --seed"
        )


def _kept_order(run: RunFolder) -> str:
    path = run.checkpoint / TARGETS_ORDER
    try:
        return str(json.loads(path.read_text(encoding="utf-8"))["images_sha256"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise RunError(
            f"{run.path} cannot be continued: {path.name}, which says whose its targets"
            " are, is missing or damaged: begin a new run"
        ) from error


def _ends_in_logits(model: keras.Model) -> bool:
    last = model.layers[-1]
    linear = keras.activations.linear
    softmax_layer = isinstance(last, keras.layers.Softmax)
    return not softmax_layer and getattr(last, "activation", linear) is linear
