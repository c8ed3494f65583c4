"""Trains a network and leaves a run folder."""

from __future__ import annotations

import sys
import time
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np

from edge_runtime.errors import FerEdgeError, RunError
from edge_runtime.files import replacing, write_text
from edge_runtime.preprocess import CHANNELS
from train import checkpoint, metrics
from train.architectures import build_model
from train.checkpoint import Progress
from train.config import TrainConfig
from train.dataset import Dataset
from train.feed import TrainingFeed
from train.results import (
    matrix_of,
    predict_logits,
    record_calibration,
    write_results,
)
from train.run_folder import RunFolder, model_path

POLICIES = {
    "float32": "float32",
    "bfloat16": "mixed_bfloat16",
    "float16": "mixed_float16",
}


@dataclass(frozen=True)
class Outcome:
    """How a call of ``fit`` ended.

    Attributes:
        progress: Epochs finished and the best of them.
        finished: False where the run was interrupted.
    """

    progress: Progress
    finished: bool


def fit(
    config: TrainConfig, data: Dataset, run: RunFolder, *, record: dict[str, Any]
) -> Outcome:
    """Trains, or continues, a run; every epoch leaves it complete and resumable.

    Args:
        config: What to do.
        data: The images; the same ones as before when the run is continued.
        run: Where everything is written.
        record: Contents of ``config.json``.

    Returns:
        How far it came. Ctrl-C is not an error: the run folder then holds the best
        model so far and what is needed to continue.

    Raises:
        FerEdgeError: The loss is no longer finite, or nothing can be continued.
    """
    keras.utils.set_random_seed(config.seed)
    size = {"size_px": data.size_px, "channels": CHANNELS[data.colour]}
    kept = build_model(config.arch, classes=len(data.labels), **size)
    keras.mixed_precision.set_dtype_policy(POLICIES[config.precision])
    try:
        model = build_model(config.arch, classes=len(data.labels), **size)
    finally:
        keras.mixed_precision.set_dtype_policy("float32")
    progress = checkpoint.load_progress(run.checkpoint)
    if config.start_from and not progress.epoch:
        copied = start_from(model, config.start_from)
        print(f"begins with the weights of {config.start_from}: {copied} layers")
    feed = TrainingFeed(
        data.train,
        config.batch_size,
        classes=len(data.labels),
        augmentation=config.augmentation,
        label_smoothing=config.label_smoothing,
        class_weights=config.class_weights,
        seed=config.seed,
        first_epoch=progress.epoch,
    )
    _compile(model, config, feed.steps_per_epoch)
    checkpoint.restore(run.checkpoint, model, progress)
    run.write_json(run.config, record)
    write_text(run.path / "architecture.json", kept.to_json(indent=1))
    record_calibration(run, data, config)
    epochs = _EpochEnd(config, data, run, progress=progress, kept=kept)
    finished = _fit_interruptibly(model, feed, config, progress, epochs)
    if progress.best_epoch:
        write_results(config, data, run, progress)
    return Outcome(progress, finished)


def start_from(model: keras.Model, source: str) -> int:
    """Copies the weights of every layer that has the same place and shapes.

    Args:
        model: The network to begin with; its other layers keep their weights.
        source: A run's name or path, or a ``.keras`` file.

    Returns:
        The number of layers copied.

    Raises:
        FerEdgeError: Nothing there, or no layer fits.
    """
    path = model_path(source)
    try:
        given = keras.models.load_model(path, compile=False, safe_mode=True)
    except (OSError, ValueError, TypeError) as error:
        raise RunError(f"cannot start from {path}: {error}") from error
    copied = 0
    for ours, theirs in zip(model.layers, given.layers, strict=False):
        shapes = [weight.shape for weight in ours.weights]
        if shapes and shapes == [weight.shape for weight in theirs.weights]:
            ours.set_weights(theirs.get_weights())
            copied += 1
    if not copied:
        raise RunError(f"cannot start from {path}: no layer of {model.name} fits")
    return copied


def _fit_interruptibly(
    model: keras.Model,
    feed: TrainingFeed,
    config: TrainConfig,
    progress: Progress,
    epochs: _EpochEnd,
) -> bool:
    try:
        model.fit(
            feed,
            epochs=config.epochs,
            initial_epoch=progress.epoch,
            steps_per_epoch=feed.steps_per_epoch,
            shuffle=False,
            verbose=0,
            callbacks=[epochs],
        )
    except KeyboardInterrupt:
        epochs.close()
        return False
    return True


def _compile(model: keras.Model, config: TrainConfig, steps_per_epoch: int) -> None:
    horizon = max(2.0, config.ema_epochs * steps_per_epoch)
    # Keras fixes these at construction: they cannot be set on a finished optimizer.
    common: dict[str, Any] = {
        "weight_decay": config.weight_decay or None,
        "use_ema": config.ema_epochs > 0,
        "ema_momentum": 1 - 1 / horizon,
    }
    if config.optimizer == "adam":
        optimizer = keras.optimizers.Adam(config.learning_rate, **common)
    else:
        optimizer = keras.optimizers.SGD(
            _schedule(config, steps_per_epoch), momentum=0.9, nesterov=True, **common
        )
    optimizer.exclude_from_weight_decay(var_names=["gamma", "beta", "bias"])
    model.compile(
        optimizer,
        keras.losses.CategoricalCrossentropy(from_logits=True),
        metrics=["accuracy"],
        # XLA's convolutions on a CPU are slower than oneDNN's, and know no bfloat16.
        jit_compile="auto" if _on_accelerator() else False,
    )


def _schedule(
    config: TrainConfig, steps_per_epoch: int
) -> keras.optimizers.schedules.LearningRateSchedule:
    """Returns a linear warm-up and then a cosine to zero, over the whole run."""
    total = config.epochs * steps_per_epoch
    warmup = min(round(config.warmup_epochs * steps_per_epoch), total // 3)
    return keras.optimizers.schedules.CosineDecay(
        initial_learning_rate=0.0 if warmup else config.learning_rate,
        decay_steps=max(1, total - warmup),
        warmup_target=config.learning_rate if warmup else None,
        warmup_steps=warmup,
    )


def _on_accelerator() -> bool:
    return any(not name.startswith("cpu") for name in devices())


def devices() -> list[str]:
    """Returns the names of the devices Keras trains on, such as ``["gpu:0"]``."""
    found: list[str] = keras.distribution.list_devices("gpu")
    return found or ["cpu"]


class _EpochEnd(keras.callbacks.Callback):
    """After every epoch: validate, keep the best, write the checkpoint, say so."""

    def __init__(
        self,
        config: TrainConfig,
        data: Dataset,
        run: RunFolder,
        *,
        progress: Progress,
        kept: keras.Model,
    ) -> None:
        super().__init__()
        self._config, self._data, self._run = config, data, run
        self._progress = progress
        self._kept = kept
        self._swap = keras.callbacks.SwapEMAWeights() if config.ema_epochs else None
        self._bar: Any = None
        self._started = self._epoch_started = 0.0
        self._first_epoch = progress.epoch

    def on_train_begin(self, logs: dict[str, Any] | None = None) -> None:
        if self._swap:
            self._swap.set_model(self.model)
        self._started = time.perf_counter()

    def on_epoch_begin(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        self._epoch_started = time.perf_counter()
        self._bar = _step_bar(self.params["steps"], f"epoch {epoch + 1}")

    def on_train_batch_end(
        self, batch: int, logs: dict[str, Any] | None = None
    ) -> None:
        if self._bar is not None:
            self._bar.update()
            self._bar.set_postfix(loss=f"{(logs or {})['loss']:.3f}", refresh=False)

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        self.close()
        logs = logs or {}
        if not np.isfinite(logs["loss"]):
            raise FerEdgeError(
                f"the loss is {logs['loss']} in epoch {epoch + 1}:"
                f" start again with a lower --learning-rate"
                f" than {self._config.learning_rate}"
            )
        self._copy_weights()
        split = self._data.validation
        logits = predict_logits(self._kept, split)
        matrix = matrix_of(split, logits, len(self._data.labels))
        row = {
            "epoch": epoch + 1,
            "loss": round(float(logs["loss"]), 5),
            "accuracy": round(float(logs["accuracy"]), 5),
            "val_loss": round(
                metrics.negative_log_likelihood(logits, split.labels, 1.0), 5
            ),
            "val_accuracy": round(metrics.accuracy(matrix), 5),
            "val_macro_f1": round(metrics.macro_f1(matrix), 5),
            "learning_rate": round(float(self.model.optimizer.learning_rate), 7),
            "seconds": round(time.perf_counter() - self._epoch_started, 1),
        }
        self._keep(epoch + 1, row)

    def _copy_weights(self) -> None:
        """Copies the averaged weights (or the weights) into the float32 twin."""
        if self._swap:
            self._swap.on_test_begin()
        self._kept.set_weights(self.model.get_weights())
        if self._swap:
            self._swap.on_test_end()

    def _keep(self, epoch: int, row: dict[str, float]) -> None:
        progress = self._progress
        progress.epoch = epoch
        progress.history.append(row)
        if row["val_accuracy"] > progress.best_accuracy:
            progress.best_accuracy, progress.best_epoch = row["val_accuracy"], epoch
            with replacing(self._run.model) as temporary:
                self._kept.save(temporary)
        checkpoint.save(self._run.checkpoint, self.model, progress)
        self._run.write_history(progress.history)
        print(self._line(epoch, row), flush=True)

    def _line(self, epoch: int, row: dict[str, float]) -> str:
        done = epoch - self._first_epoch
        each = (time.perf_counter() - self._started) / done
        left = each * (self._config.epochs - epoch)
        best = "  best so far" if self._progress.best_epoch == epoch else ""
        return (
            f"epoch {epoch:>3}/{self._config.epochs}"
            f"  loss {row['loss']:.3f}  accuracy {row['accuracy']:.1%}"
            f"  validation {row['val_accuracy']:.2%}"
            f"  {row['seconds']:.0f} s, {_duration(left)} left{best}"
        )

    def close(self) -> None:
        if self._bar is not None:
            self._bar.close()
            self._bar = None


def _step_bar(steps: int, description: str) -> Any:
    if not sys.stderr.isatty():
        return None
    from tqdm import tqdm

    return tqdm(total=steps, desc=description, unit="step", leave=False)


def _duration(seconds: float) -> str:
    minutes = round(seconds / 60)
    if minutes < 2:
        return f"{seconds:.0f} s"
    return (
        f"{minutes // 60} h {minutes % 60} min" if minutes >= 60 else f"{minutes} min"
    )
