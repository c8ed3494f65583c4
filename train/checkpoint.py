"""The state of an unfinished run: written after every epoch, complete or not at all."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path

import keras

from edge_runtime.errors import RunError
from edge_runtime.files import replacing, write_text


@dataclass
class Progress:
    """How far a run has come.

    Attributes:
        epoch: Epochs finished.
        best_epoch: The epoch (from 1) whose model is kept; 0 before the first.
        best_accuracy: Its validation accuracy in [0, 1].
        history: One row of figures an epoch.
        weights_file: Name of the file with weights and optimizer state.
    """

    epoch: int = 0
    best_epoch: int = 0
    best_accuracy: float = -1.0
    history: list[dict[str, float]] = field(default_factory=list)
    weights_file: str = ""


def save(folder: Path, model: keras.Model, progress: Progress) -> None:
    """Writes weights, optimizer state and progress; then removes the older state.

    The small JSON file is written last and names the weights it belongs to, so a kill
    at any moment leaves the previous state or this one, never a mixture.
    """
    progress.weights_file = f"epoch-{progress.epoch:04d}.weights.h5"
    with replacing(folder / progress.weights_file) as temporary:
        # "x.weights.h5" is the only suffix Keras accepts here.
        file = temporary.with_name(temporary.name.replace(".h5", ".weights.h5"))
        model.save_weights(file)
        file.replace(temporary)
    write_text(folder / "progress.json", json.dumps(asdict(progress)))
    for old in folder.glob("*.weights.h5"):
        if old.name != progress.weights_file:
            old.unlink()


def load_progress(folder: Path) -> Progress:
    """Returns how far the run came; a fresh ``Progress`` where nothing was saved.

    Raises:
        RunError: The file is damaged.
    """
    file = folder / "progress.json"
    if not file.exists():
        return Progress()
    try:
        return Progress(**json.loads(file.read_text(encoding="utf-8")))
    except (OSError, TypeError, ValueError) as error:
        raise RunError(f"{file} is damaged ({error}): start over") from error


def restore(folder: Path, model: keras.Model, progress: Progress) -> None:
    """Loads weights and optimizer state into a compiled model.

    Raises:
        RunError: The state is missing or belongs to another network.
    """
    if not progress.epoch:
        return
    try:
        model.optimizer.build(model.trainable_variables)
        model.load_weights(folder / progress.weights_file)
    except (OSError, ValueError, KeyError) as error:
        raise RunError(f"cannot resume from {folder}: {error}") from error
