"""The networks of a run with simulated int8, from those of the run it begins with."""

from __future__ import annotations

from pathlib import Path

import keras
import numpy as np

from edge_runtime.errors import RunError
from edge_runtime.untrusted import read_bounded
from train.data.dataset import Dataset
from train.data.splits import balanced_indices
from train.distillation.teachers import require_no_leak
from train.networks.run_networks import RunNetworks
from train.options.config import TrainConfig
from train.quantization.calibration import calibrate
from train.quantization.folding import fold_batch_norms, round_first_kernels
from train.quantization.network import simulate
from train.quantization.operators import find_operators
from train.quantization.record import load_trained_ranges
from train.run.checkpoint import Progress
from train.run.folder import MAX_JSON_BYTES, RunFolder, find_model, read_labels


def make_simulated(
    config: TrainConfig, data: Dataset, run: RunFolder, progress: Progress
) -> RunNetworks:
    """Returns the networks of a run with simulated int8.

    Args:
        config: Names the run to begin with.
        data: The images; the ranges are measured on those that are chosen for
            calibration.
        run: The run's folder; a resumed one needs nothing else.
        progress: How far the run has come.

    Raises:
        RunError: A layer cannot be simulated, the weights do not fit, or the folder is
            damaged.
    """
    resumed = bool(progress.epoch)
    load = _load_resumed if resumed else _load_start
    path = run.architecture if resumed else find_model(config.start_from)
    model, saved = load(path), load(path)
    operators = find_operators(model)
    if not resumed:
        _require_fit(model, path, data)
    # Of a resumed run the weights come later, but what is frozen is decided here.
    fold_batch_norms(operators)
    round_first_kernels(model, operators)
    if resumed:
        ranges = load_trained_ranges(run.ranges)
    else:
        indices = balanced_indices(
            data.train.labels, config.calibration_images, config.seed
        )
        print(f"simulating int8: {len(operators)} operators,", end=" ", flush=True)
        print(f"ranges of {len(indices)} training images")
        ranges = calibrate(
            model, operators, np.asarray(data.train.take(indices).images)
        )
    trained = simulate(model, operators, ranges)
    validated = simulate(saved, find_operators(saved), ranges)
    return RunNetworks(trained, validated, saved, ranges)


def _load_start(path: Path) -> keras.Model:
    try:
        return keras.models.load_model(path, compile=False, safe_mode=True)
    except Exception as error:  # Keras raises whatever its parsers raise
        raise RunError(f"cannot start from {path}: {error}") from error


def _load_resumed(path: Path) -> keras.Model:
    try:
        text = read_bounded(path, MAX_JSON_BYTES).decode()
        return keras.models.model_from_json(text)
    except Exception as error:  # Keras raises whatever its parsers raise
        raise RunError(
            f"{path.parent} cannot be resumed: {path.name}, its network, is missing or"
            f" damaged ({error})"
        ) from error


def _require_fit(model: keras.Model, path: Path, data: Dataset) -> None:
    """Raises RunError unless a network is one for these images and classes."""
    expected = (*data.train.images.shape[1:], len(data.labels))
    found = (*model.input_shape[1:], model.output_shape[-1])
    labels = read_labels(path) or list(data.labels)
    if found != expected or labels != list(data.labels):
        raise RunError(
            f"--qat goes on with the network of {path}: expected images and classes"
            f" {found} ({', '.join(labels)}), got {expected}"
            f" ({', '.join(data.labels)})"
        )
    require_no_leak(path, data)
