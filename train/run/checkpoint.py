"""The state of an unfinished run, written atomically after every epoch."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import keras

from edge_runtime.errors import RunError
from edge_runtime.untrusted import read_bounded, read_json, require_regular
from edge_runtime.utils.files import replacing, write_bytes, write_text
from train.options.config import TrainConfig

Row = dict[str, float]
PROGRESS = "progress.json"
MAX_MODEL_BYTES = 2 * 2**30


MAX_PROGRESS_BYTES = 8 * 2**20


@dataclass(frozen=True)
class Progress:
    """How far a run has come.

    Attributes:
        epoch: Epochs finished.
        best_epoch: The epoch (from 1) of the saved model, see ``is_kept``; 0 before
            the first.
        best_accuracy: Its validation accuracy in [0, 1].
        history: One row of metrics per epoch.
        weights_file: Name of the file with weights and optimizer state.
        best_file: Name of the file with the best model.
    """

    epoch: int = 0
    best_epoch: int = 0
    best_accuracy: float = -1.0
    history: tuple[Row, ...] = ()
    weights_file: str = ""
    best_file: str = ""


def is_kept(config: TrainConfig, history: Sequence[Row], images: int) -> bool:
    """Returns whether the model of the last epoch replaces the one saved before.

    With ``config.keep`` as ``"best"`` it does if its validation accuracy is the highest
    so far. With ``"latest"`` also if it is as high, or lower by less than a standard
    error: the highest of many epochs on a few images is chance, and the later ones have
    the lower learning rate (the rule of one standard error, Hastie et al., "The
    elements of statistical learning", 2009, section 7.10).

    Args:
        config: The configuration.
        history: One row of metrics per epoch.
        images: Number of validation images.
    """
    before, now = history[:-1], history[-1]["val_accuracy"]
    highest = max((row["val_accuracy"] for row in before), default=-1.0)
    if config.keep == "best":
        return now > highest
    # All of few images may be right: then the standard error is 0.
    return now >= highest or now > highest - math.sqrt(highest * (1 - highest) / images)


def stop_reason(config: TrainConfig, progress: Progress) -> str:
    """Returns why a run ends before its last epoch; empty while it continues.

    It ends without a better validation accuracy in ``config.patience`` epochs, and
    before an epoch that, as long as those so far, would not end in
    ``config.max_time_s``.
    """
    if not progress.epoch or progress.epoch >= config.epochs:
        return ""
    accuracies = [row["val_accuracy"] for row in progress.history]
    waited = progress.epoch - 1 - accuracies.index(max(accuracies))
    if config.patience and waited >= config.patience:
        return f"no better validation accuracy in {waited} epochs"
    spent_s = sum(row["seconds"] for row in progress.history)
    next_s = spent_s * (progress.epoch + 1) / progress.epoch
    if config.max_time_s and next_s > config.max_time_s:
        return f"--max-time: another epoch would end after {next_s:.0f} s"
    return ""


def save(
    folder: Path, model: keras.Model, progress: Progress, *, best: keras.Model | None
) -> Progress:
    """Writes weights, optimizer state and progress; then removes the older state.

    The JSON file is written last and names the other files, so a kill at any moment
    leaves the previous state or this one, never a mixture.

    Args:
        folder: The run's checkpoint folder.
        model: The network in training, with its optimizer.
        progress: Epochs and history so far.
        best: The model, if this epoch is the best so far.

    Returns:
        The progress with the names of the files.
    """
    weights_file = f"epoch-{progress.epoch:04d}.weights.h5"
    best_file = progress.best_file
    with replacing(folder / weights_file) as temporary:
        model.save_weights(temporary)
    if best is not None:
        best_file = f"best-{progress.epoch:04d}.keras"
        with replacing(folder / best_file) as temporary:
            best.save(temporary)
    saved = replace(progress, weights_file=weights_file, best_file=best_file)
    write_text(folder / PROGRESS, json.dumps(asdict(saved)))
    for old in (*folder.glob("epoch-*.weights.h5"), *folder.glob("best-*.keras")):
        if old.name not in (saved.weights_file, saved.best_file):
            old.unlink()
    return saved


def publish_best(folder: Path, path: Path, progress: Progress) -> None:
    """Copies the best model so far to its place in the run folder, if there is one."""
    if progress.best_file:
        best = folder / progress.best_file
        try:
            write_bytes(path, read_bounded(best, MAX_MODEL_BYTES))
        except OSError as error:
            raise RunError(f"cannot read {best}: {error.strerror}") from error


def load_progress(folder: Path) -> Progress:
    """Returns the saved progress; an empty one where nothing was saved.

    Raises:
        RunError: The file is damaged.
    """
    file = folder / PROGRESS
    if not file.exists():
        return Progress()
    try:
        document = read_json(file, MAX_PROGRESS_BYTES)
        progress = Progress(**{**document, "history": tuple(document["history"])})
        _check(progress)
        return progress
    except (OSError, TypeError, ValueError, KeyError) as error:
        raise RunError(f"{file} is damaged ({error}): start over") from error


def _check(progress: Progress) -> None:
    """Raises ValueError if a value is of another type, or names a file elsewhere."""
    for name, value in asdict(progress).items():
        kinds = (
            (int, float) if name == "best_accuracy" else type(getattr(Progress, name))
        )
        if not isinstance(value, kinds):
            raise ValueError(f"{name} is {value!r}")
    for row in progress.history:
        if not isinstance(row, dict) or not all(
            isinstance(value, int | float) for value in row.values()
        ):
            raise ValueError(f"a row of its history is {row!r}")
    for name in (progress.weights_file, progress.best_file):
        if name and (Path(name).name != name or name == ".."):
            raise ValueError(f"expected the name of a file in it, got {name!r}")


def restore(folder: Path, model: keras.Model, progress: Progress) -> None:
    """Loads weights and optimizer state into a compiled model.

    Raises:
        RunError: The state is missing or belongs to another network.
    """
    if not progress.epoch:
        return
    try:
        require_regular(folder / progress.weights_file)
        if not model.optimizer.built:  # that of float16 cannot be built twice
            model.optimizer.build(model.trainable_variables)
        model.load_weights(folder / progress.weights_file)
    except (OSError, ValueError, KeyError) as error:
        raise RunError(f"cannot resume from {folder}: {error}") from error
