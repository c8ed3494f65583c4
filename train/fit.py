"""Trains a network and leaves a run folder."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import keras

from edge_runtime.errors import RunError
from edge_runtime.preprocessing import CHANNELS
from edge_runtime.utils.files import remove_leftovers, write_text
from train.data.dataset import Dataset
from train.distillation.distill import (
    check_unseen,
    keep_targets,
    kept_targets,
    trained_on,
    training_targets,
)
from train.feed import TrainingFeed
from train.networks.architectures import build_model
from train.options.config import TrainConfig
from train.run import checkpoint
from train.run.checkpoint import Progress
from train.run.epoch_end import EpochEnd
from train.run.folder import RunFolder, labels_beside, model_path
from train.run.results import (
    backend_name,
    record_calibration,
    write_results,
)

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
    config: TrainConfig,
    data: Dataset,
    run: RunFolder,
    *,
    record: dict[str, Any],
    resume: bool = False,
) -> Outcome:
    """Trains, or continues, a run; every epoch leaves it complete and resumable.

    Args:
        config: What to do.
        data: The images; the same ones as before when the run is continued.
        run: Where everything is written.
        record: Contents of ``config.json``.
        resume: Continue from the run's checkpoint; otherwise it starts over.

    Returns:
        How far it came. Ctrl-C is not an error: the run folder then holds the best
        model so far and what is needed to continue.

    Raises:
        FerEdgeError: The loss is no longer finite, or nothing can be continued.
    """
    keras.utils.set_random_seed(config.seed)
    model, kept = _networks(config, data)
    progress = _progress_of(run) if resume else Progress()
    if config.start_from and not progress.epoch:
        copied = start_from(model, config.start_from, data)
        print(f"begins with the weights of {config.start_from}: {copied} layers")
    targets = (
        kept_targets(config, data, run) if resume else training_targets(config, data)
    )
    images, answers = trained_on(data, targets)
    feed = TrainingFeed(
        images,
        config.batch_size,
        targets=answers,
        augmentation=config.augmentation,
        class_weights=config.class_weights,
        seed=config.seed,
        first_epoch=progress.epoch,
    )
    _compile(model, config, feed.steps_per_epoch)
    remove_leftovers(run.path)
    remove_leftovers(run.checkpoint)
    if resume:
        checkpoint.restore(run.checkpoint, model, progress)
        checkpoint.publish_best(run.checkpoint, run.model, progress)
    else:
        run.clear()  # of an earlier run: only now is it certain that this one can be
        if config.has_soft_targets:
            keep_targets(targets, data, run)
    run.write_json(run.config, record)
    write_text(run.path / "architecture.json", kept.to_json(indent=1))
    record_calibration(run, data, config)
    epochs = EpochEnd(config, data, run, progress=progress, kept=kept)
    finished = _fit_interruptibly(model, feed, config, progress.epoch, epochs)
    if epochs.progress.best_epoch:
        left_out = len(data.train) - len(images)
        write_results(config, data, run, epochs.progress, left_out=left_out)
    return Outcome(epochs.progress, finished)


def _networks(config: TrainConfig, data: Dataset) -> tuple[keras.Model, keras.Model]:
    """Returns the network to train, and its float32 twin, which is kept."""
    shape: dict[str, int] = {
        "size_px": data.size_px,
        "channels": CHANNELS[data.colour],
        "classes": len(data.labels),
    }
    kept = build_model(config.arch, **shape)
    keras.mixed_precision.set_dtype_policy(POLICIES[config.precision])
    try:
        return build_model(config.arch, **shape), kept
    finally:
        keras.mixed_precision.set_dtype_policy("float32")


def _progress_of(run: RunFolder) -> Progress:
    progress = checkpoint.load_progress(run.checkpoint)
    if run.model.exists() and not progress.epoch:
        raise RunError(
            f"{run.path} has a model, but no checkpoint any more to continue it from:"
            f" begin a new run with its weights, --from {run.path}"
        )
    return progress


def start_from(model: keras.Model, source: str, data: Dataset) -> int:
    """Copies the weights of every layer that has the same place and shapes.

    Args:
        model: The network to begin with; its other layers keep their weights.
        source: A run's name or path, or a ``.keras`` file.
        data: Our images and classes; the last layer is copied only from a run whose
            classes are the same in the same order.

    Returns:
        The number of layers copied.

    Raises:
        FerEdgeError: Nothing there, no layer fits, or it was trained on images that
            we evaluate on.
    """
    path = model_path(source)
    try:
        given = keras.models.load_model(path, compile=False, safe_mode=True)
    except Exception as error:  # Keras raises whatever its parsers raise
        raise RunError(f"cannot start from {path}: {error}") from error
    check_unseen(path, data)
    same_labels = labels_beside(path) == list(data.labels)
    copied = 0
    for ours, theirs in zip(model.layers, given.layers, strict=False):
        shapes = [weight.shape for weight in ours.weights]
        if ours is model.layers[-1] and not same_labels:
            continue
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
    first_epoch: int,
    epochs: EpochEnd,
) -> bool:
    try:
        model.fit(
            feed,
            epochs=config.epochs,
            initial_epoch=first_epoch,
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
    # Keras fixes these at construction: they cannot be set on a finished optimizer.
    common: dict[str, Any] = {
        "weight_decay": config.weight_decay or None,
        "use_ema": config.ema_epochs > 0,
        "ema_momentum": 1 - 1 / average_horizon(config, steps_per_epoch),
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


def average_horizon(config: TrainConfig, steps_per_epoch: int) -> float:
    """Returns over how many steps the weights are averaged, 2 or more."""
    # An average over much of a short run still holds the weights it began with, with
    # which BatchNorm's statistics, those of the newest weights, do not go together.
    epochs = min(config.ema_epochs, config.epochs / 15)
    return max(2.0, epochs * steps_per_epoch)


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
    if backend_name() == "torch":  # has no keras.distribution
        return [str(keras.ops.zeros(()).device)]
    found: list[str] = keras.distribution.list_devices()
    return found
