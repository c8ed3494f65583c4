"""Writes a run's results: metrics, plots and the choice of calibration images."""

from __future__ import annotations

import platform
import sys
from typing import Any

import cv2
import keras
import numpy as np
import numpy.typing as npt

from train import metrics
from train.data.dataset import Dataset
from train.data.splits import Split, balanced_indices, in_batches, pixel_hashes
from train.data.stored_images import Pixels
from train.networks.architectures import count_macs
from train.options.config import TrainConfig
from train.parallel.replicas import devices_in_scope
from train.run.checkpoint import Progress, stop_reason
from train.run.folder import RUN_SCHEMA, RunFolder
from train.run.plots import plot_confusion_matrices, plot_curves

EVALUATION_PIXELS = 512 * 48 * 48
BATCHES_IN_MEMORY = 4


def backend_name() -> str:
    """Returns the library Keras computes with: tensorflow, jax or torch."""
    name: str = keras.backend.backend()
    return name


def predict_logits(model: keras.Model, images: Pixels) -> npt.NDArray[np.float32]:
    """Returns a Keras model's logits, float32 (N, classes), no softmax.

    Args:
        model: Takes raw pixels.
        images: uint8 (N, S, S, C).
    """
    # Memory depends on the number of pixels.
    batch = max(1, EVALUATION_PIXELS // images.shape[1] ** 2)
    devices = devices_in_scope()
    batch += -batch % devices
    at_once = batch * BATCHES_IN_MEMORY
    logits = [
        _predict(model, part, batch, devices) for part in in_batches(images, at_once)
    ]
    return np.concatenate(logits, dtype=np.float32)


def _predict(
    model: keras.Model, images: npt.NDArray[np.uint8], batch: int, devices: int
) -> npt.NDArray[np.float32]:
    """Returns logits; the last batch is filled up where devices share it evenly."""
    count = len(images)
    if missing := -count % devices:
        images = np.concatenate([images, images[:1].repeat(missing, axis=0)])
    logits: npt.NDArray[np.float32]
    logits = model.predict(images, batch_size=batch, verbose=0)[:count]
    return logits


def write_calibration_choice(
    run: RunFolder, data: Dataset, config: TrainConfig
) -> None:
    """Writes which training images calibrate the quantized model.

    Indices are positions in the training split as loaded; the pixel hashes identify
    the images in any order, and prove that none is an evaluation image.
    """
    indices = balanced_indices(
        data.train.labels, config.calibration_images, config.seed
    )
    document = {
        "schema": "fer-edge/calibration/1",
        "split": "train",
        "seed": config.seed,
        "data_fingerprint": data.fingerprint,
        "indices": indices.tolist(),
        "labels": data.train.labels[indices].tolist(),
        "pixel_hashes": pixel_hashes(data.train.take(indices).images),
    }
    run.write_json(run.calibration, document)


def write_results(
    config: TrainConfig,
    data: Dataset,
    run: RunFolder,
    progress: Progress,
    *,
    dropped: int = 0,
    ended_early: bool = False,
) -> None:
    """Measures the saved model and writes ``metrics.json`` and both plots.

    Args:
        config: The run's configuration.
        data: The images.
        run: The run's folder, with the best model.
        progress: Epochs and history of the run.
        dropped: Number of training images dropped because of the raters' votes.
        ended_early: It has fewer epochs than planned, and is finished.
    """
    model = keras.models.load_model(run.model, safe_mode=True)
    splits = {"validation": data.validation, "test": data.test}
    splits = {name: split for name, split in splits.items() if len(split)}
    logits = {name: predict_logits(model, each.images) for name, each in splits.items()}
    temperature = metrics.fit_temperature(logits["validation"], data.validation.labels)
    figures = {
        name: evaluate(split, logits[name], data.labels, temperature)
        for name, split in splits.items()
    }
    record = run.read_json(run.config)
    document = {
        "schema": RUN_SCHEMA,
        "run": run.name,
        "arch": config.network,
        "labels": list(data.labels),
        "input": {
            "size_px": data.size_px,
            "colour": data.colour,
            "fit": config.fit,
        },
        "parameters": model.count_params(),
        "macs": count_macs(model),
        "epochs": progress.epoch,
        "best_epoch": progress.best_epoch,
        "ended_early": stop_reason(config, progress)
        or ("a callback stopped it" if ended_early else ""),
        "temperature": round(temperature, 4),
        "data": {**describe_data(data), "left_out": dropped},
        "versions": versions(),
        "git_revision": record.get("git_revision", ""),
        **figures,
    }
    if record.get("weights"):
        document["weights"] = record["weights"]
    if "averaged" in record:  # the mean of several runs is of no epoch
        document["averaged"] = record["averaged"]
        del document["best_epoch"]
    run.write_json(run.metrics, document)
    title = f"{run.name}: {data.name}"
    plot_curves(progress.history, run.path / "curves.png", title=title)
    plotted = "test" if "test" in figures else "validation"
    matrix = np.array(figures[plotted]["confusion_matrix"], dtype=np.int64)
    plot_confusion_matrices(
        {f"{title}\n{plotted}, {len(splits[plotted]):,} images": matrix},
        data.labels,
        run.path / "confusion_matrix.png",
    )


def evaluate(
    split: Split,
    logits: npt.NDArray[np.float32],
    labels: tuple[str, ...],
    temperature: float,
) -> dict[str, Any]:
    """Returns the metrics of one split, JSON-ready.

    Args:
        split: Images and true labels.
        logits: float32 (N, classes).
        labels: Class names in order.
        temperature: For the calibration error.
    """
    predicted = logits.argmax(axis=1)
    matrix = metrics.confusion_matrix(split.labels, predicted, len(labels))
    recall = metrics.recall_by_class(matrix)
    return {
        **metrics.summarize(matrix),
        "expected_calibration_error": round(
            metrics.expected_calibration_error(logits, split.labels, temperature), 5
        ),
        "recall": {
            label: None if np.isnan(value) else round(float(value), 5)
            for label, value in zip(labels, recall, strict=True)
        },
        "confusion_matrix": matrix.tolist(),
    }


def describe_data(data: Dataset) -> dict[str, Any]:
    """Returns what identifies the data of a run, JSON-ready."""
    return {
        "name": data.name,
        "fingerprint": data.fingerprint,
        "train": len(data.train),
        "validation": len(data.validation),
        "test": len(data.test),
        "validation_from": data.validation_from,
        "dropped_as_copies": len(data.dropped),
        "unreadable": len(data.unreadable),
        "left_out_by_csv": len(data.marked),
    }


def versions() -> dict[str, str]:
    """Returns the versions of the libraries that a result depends on, by name."""
    return {
        "python": platform.python_version(),
        "keras": keras.__version__,
        backend_name(): _backend_version(),
        "numpy": np.__version__,
        "opencv": cv2.__version__,
    }


def _backend_version() -> str:
    module = sys.modules.get(backend_name())
    return str(getattr(module, "__version__", "unknown"))
