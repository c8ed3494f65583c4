"""Trains a network and writes its run folder."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import keras

from edge_runtime.errors import RunError
from edge_runtime.preprocessing import CHANNELS
from edge_runtime.untrusted import read_bounded
from edge_runtime.utils.files import remove_leftovers, write_text
from train.data.dataset import Dataset
from train.data.workers import Workers, available_cores
from train.distillation.distill import (
    compute_targets,
    load_targets,
    save_targets,
    select_images,
)
from train.distillation.teachers import (
    VIEWS_SEED,
    load_answers,
    require_no_leak,
    save_answers,
    teacher_answers,
)
from train.feed import TrainingFeed
from train.networks import pretrained
from train.networks.architectures import build_model
from train.networks.blocks import Scale
from train.networks.export_trial import try_export
from train.networks.own import require_same_twice
from train.optimization.head import fit_head
from train.optimization.optimizer import compile_model, devices
from train.options.config import TrainConfig, is_own
from train.run import checkpoint
from train.run.checkpoint import Progress
from train.run.epoch_callback import EpochCallback
from train.run.folder import (
    MAX_JSON_BYTES,
    RunFolder,
    find_model,
    read_labels,
    read_weights,
)
from train.run.results import write_calibration_choice, write_results
from train.tracking.callback import TrackingCallback
from train.tracking.factory import open_trackers
from train.tracking.tracker import (
    Outcome,
    RunTrackers,
    flatten,
    outcome_of,
)

NETWORK = "network.json"  # the user's own, in its training's arithmetic
POLICIES = {
    "float32": "float32",
    "bfloat16": "mixed_bfloat16",
    "float16": "mixed_float16",
}


@dataclass(frozen=True)
class FitResult:
    """Result of ``fit``.

    Attributes:
        progress: Epochs finished and the best of them.
        finished: False if the run was interrupted.
        path: The run folder.
    """

    progress: Progress
    finished: bool
    path: Path


def fit(
    config: TrainConfig,
    data: Dataset,
    run: RunFolder,
    *,
    record: dict[str, Any],
    resume: bool = False,
    callbacks: Sequence[keras.callbacks.Callback] = (),
    workers: int | None = None,
) -> FitResult:
    """Trains a network and returns how far it came; each epoch can be resumed from.

    Ctrl-C is not an error: the run folder then holds the best model so far and the
    checkpoint to resume from.

    Args:
        config: The configuration.
        data: The images; the same as before when the run is resumed.
        run: The folder that everything is written into.
        record: Contents of ``config.json``.
        resume: Start from the run's checkpoint, not from the beginning.
        callbacks: Called by Keras after each epoch was validated and saved; its
            figures, as in ``history.csv``, are among the logs.
        workers: Processes that augment images; with 1 a thread of this one does. None
            takes one for each core where a GPU trains, else 1. The batches are the
            same.

    Raises:
        FerEdgeError: The loss is no longer finite, or there is no checkpoint.
    """
    with _open_workers(workers) as opened:
        return _fit(config, data, run, record, resume, callbacks, opened)


def _open_workers(count: int | None) -> AbstractContextManager[Workers | None]:
    if count is None:
        on_cpu = all(name.lower().startswith("cpu") for name in devices())
        count = 1 if on_cpu else available_cores()
    return Workers(count) if count > 1 else nullcontext()


def _fit(
    config: TrainConfig,
    data: Dataset,
    run: RunFolder,
    record: dict[str, Any],
    resume: bool,
    callbacks: Sequence[keras.callbacks.Callback],
    workers: Workers | None,
) -> FitResult:
    keras.utils.set_random_seed(config.seed)
    progress = _load_progress(run) if resume else Progress()
    own = is_own(config.arch)
    if own and progress.epoch:
        model, best_model = _read_networks(run)
    else:
        model, best_model = _build_models(config, data)
    layers = model.to_json()  # before it is compiled
    record = {**record, "weights": _initial_weights(model, config, data, progress, run)}
    targets = (
        load_targets(config, data, run) if resume else compute_targets(config, data)
    )
    images, targets_used = select_images(data, targets)
    make_feed = partial(
        TrainingFeed,
        images,
        config.batch_size,
        targets=targets_used,
        augmentation=config.augmentation,
        mixup=config.mixup,
        cutmix=config.cutmix,
        class_weights=config.class_weights,
        seed=VIEWS_SEED if config.teachers else config.seed,
        workers=workers,
    )
    answers = None
    if config.teachers:
        views = make_feed()
        batches = config.teacher_views * views.steps_per_epoch
        shape = (batches, views.batch_size, len(data.labels))
        answers = (
            load_answers(run, shape)
            if resume
            else teacher_answers(config, data, images, views)
        )
    feed = make_feed(first_epoch=progress.epoch, answers=answers)
    if config.head_views and not progress.epoch:
        print("first the last layer alone, then the whole network", flush=True)
        fit_head(model, images, targets_used, config)
    compile_model(model, config, feed.steps_per_epoch)
    remove_leftovers(run.path)
    remove_leftovers(run.checkpoint)
    if resume:
        checkpoint.restore(run.checkpoint, model, progress)
        checkpoint.publish_best(run.checkpoint, run.model, progress)
    else:
        run.clear()  # only now, when nothing can be refused any more
        if config.has_soft_targets:
            save_targets(targets, data, run)
        if answers is not None:
            save_answers(answers, run)
    run.write_json(run.config, record)
    write_text(run.architecture, best_model.to_json(indent=1))
    if own:
        write_text(run.checkpoint / NETWORK, layers)
    write_calibration_choice(run, data, config)
    epochs = EpochCallback(config, data, run, progress=progress, best_model=best_model)
    trackers = RunTrackers(open_trackers(config.log, run, _parameters(record, model)))
    trackers.write(progress)  # what a resumed run was killed before it was told
    followers = [TrackingCallback(trackers, epochs), *callbacks]
    try:
        finished = _run_epochs(model, feed, config, epochs, followers)
        if epochs.progress.best_epoch:
            print("measuring the best epoch", flush=True)
            write_results(
                config,
                data,
                run,
                epochs.progress,
                dropped=len(data.train) - len(images),
                ended_early=finished and epochs.progress.epoch < config.epochs,
            )
    except BaseException:
        failed = Outcome("FAILED", epochs.progress.epoch, {})
        trackers.finish(epochs.progress, failed, run)
        raise
    finally:
        epochs.close()
    outcome = outcome_of(run, epochs.progress, finished=finished)
    trackers.finish(epochs.progress, outcome, run)
    return FitResult(epochs.progress, finished, run.path)


def _parameters(record: dict[str, Any], model: keras.Model) -> dict[str, Any]:
    """Returns what runs are compared by: the configuration, and what it met."""
    names = ("data_fingerprint", "git_revision")
    return {
        **flatten(record["config"]),
        **{name: record.get(name, "") for name in names},
        "parameters": model.count_params(),
    }


def _build_models(
    config: TrainConfig, data: Dataset
) -> tuple[keras.Model, keras.Model]:
    """Returns the network to train, and a float32 copy to validate and save."""
    shape: dict[str, Any] = {
        "size_px": data.size_px,
        "channels": CHANNELS[data.colour],
        "classes": len(data.labels),
        "scale": Scale(config.width, config.depth),
    }
    best_model = build_model(config.arch, **shape)
    keras.mixed_precision.set_dtype_policy(POLICIES[config.precision])
    try:
        model = build_model(config.arch, **shape)
    finally:
        keras.mixed_precision.set_dtype_policy("float32")
    if is_own(config.arch):
        require_same_twice(config.arch, best_model, model)
        print(f"trying {config.arch} on the exporter, before it is trained", flush=True)
        print(try_export(best_model, config.arch, allow_float=config.allow_float))
    return model, best_model


def _read_networks(run: RunFolder) -> tuple[keras.Model, keras.Model]:
    """Returns the two networks of a resumed run, without the user's own function."""
    paths = (run.checkpoint / NETWORK, run.architecture)
    try:
        texts = [read_bounded(path, MAX_JSON_BYTES).decode() for path in paths]
        model, best_model = map(keras.models.model_from_json, texts)
    except Exception as error:  # Keras raises whatever its parsers raise
        raise RunError(
            f"{run.path} cannot be resumed: {paths[0]} or {paths[1].name}, its network,"
            f" is missing or damaged ({error})"
        ) from error
    return model, best_model


def _initial_weights(
    model: keras.Model,
    config: TrainConfig,
    data: Dataset,
    progress: Progress,
    run: RunFolder,
) -> dict[str, Any] | None:
    """Gives a new run its initial weights; returns what published ones are in it."""
    if progress.epoch:
        return read_weights(run)
    if config.start_from:
        copied = copy_weights(model, config.start_from, data)
        print(f"initial weights from {config.start_from}: {copied} layers")
        return read_weights(RunFolder(find_model(config.start_from).parent))
    if config.pretrained == pretrained.NONE:
        return None
    weights = pretrained.load_weights(model, config.arch, config.pretrained)
    print(f"initial weights: {weights['source']}, licence {weights['licence']}")
    return weights


def _load_progress(run: RunFolder) -> Progress:
    progress = checkpoint.load_progress(run.checkpoint)
    if run.model.exists() and not progress.epoch:
        raise RunError(
            f"{run.path} has a model, but its checkpoint was deleted: start a new run"
            f" with its weights, --from {run.path}"
        )
    return progress


def copy_weights(model: keras.Model, source: str, data: Dataset) -> int:
    """Copies weights into every layer of the same position and shapes.

    Args:
        model: The network to change; its other layers keep their weights.
        source: A run's name or path, or a ``.keras`` file.
        data: The images and classes; the last layer is copied only from a run with
            the same classes in the same order.

    Returns:
        The number of layers copied.

    Raises:
        FerEdgeError: No such file, no layer fits, or it was trained on images that
            are evaluation images here.
    """
    path = find_model(source)
    try:
        source_model = keras.models.load_model(path, compile=False, safe_mode=True)
    except Exception as error:  # Keras raises whatever its parsers raise
        raise RunError(f"cannot start from {path}: {error}") from error
    require_no_leak(path, data, ", or begin without them: --pretrained none")
    same_labels = read_labels(path) == list(data.labels)
    copied = 0
    for layer, source_layer in zip(model.layers, source_model.layers, strict=False):
        shapes = [weight.shape for weight in layer.weights]
        if layer is model.layers[-1] and not same_labels:
            continue
        if shapes and shapes == [weight.shape for weight in source_layer.weights]:
            layer.set_weights(source_layer.get_weights())
            copied += 1
    if not copied:
        raise RunError(f"cannot start from {path}: no layer of {model.name} fits")
    return copied


def _run_epochs(
    model: keras.Model,
    feed: TrainingFeed,
    config: TrainConfig,
    epochs: EpochCallback,
    followers: Sequence[keras.callbacks.Callback],
) -> bool:
    """Returns whether the run came to its end; False if it was interrupted."""
    if checkpoint.stop_reason(config, epochs.progress):
        return True  # resumed after its end
    try:
        model.fit(
            feed,
            epochs=config.epochs,
            initial_epoch=epochs.progress.epoch,
            steps_per_epoch=feed.steps_per_epoch,
            shuffle=False,
            verbose=0,
            callbacks=[epochs, *followers],
        )
    except KeyboardInterrupt:
        return False
    except Exception:
        epochs.close()
        if feed.error is not None:
            raise feed.error from None
        raise
    return True
