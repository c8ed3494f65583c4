"""A training from its configuration to its run folder, as programs and commands do it.

Keras and its backend are imported last: what is wrong is said before that takes time.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edge_runtime.errors import DatasetError, RunError, require_in_checkout
from train.data.dataset import Dataset
from train.data.decoding import Decoder
from train.data.image_stores import Cache
from train.data.sources import describe_sources
from train.data.summary import summarize
from train.networks import pretrained
from train.networks.backend import start_keras
from train.options.config import TrainConfig, arch_name, is_own
from train.run.folder import (
    RunFolder,
    create_run,
    find_model,
    find_run,
    git_revision,
    require_free_name,
)
from train.run.lock import locked
from train.tracking.factory import require_packages, require_trackers

if TYPE_CHECKING:
    import keras

    from train.training import FitResult


def fit(
    config: TrainConfig,
    *,
    name: str | None = None,
    force: bool = False,
    threads: int | None = None,
    workers: int | None = None,
    cache: Cache | None = None,
    callbacks: Sequence[keras.callbacks.Callback] = (),
) -> FitResult:
    """Trains a network, writes its run folder, and returns how far it came.

    The configuration is used as it is; the command also chooses what suits the images.
    Ctrl-C ends the training, not the program: the result then is not ``finished``.

    Args:
        config: All options of the run, such as
            ``TrainConfig(data="photos/", arch="fer_small", epochs=5)``.
        name: Run folder below ``runs/``, or a path with a slash; None for a new one.
        force: Start over in an existing run folder.
        threads: CPU threads, where Keras was not imported before; None for all.
        workers: Processes that decode and augment images; the batches are the same.
        cache: Where decoded images are kept: ``"ram"``, ``"disk"`` or ``"none"``.
        callbacks: Of Keras, called after each epoch was validated and saved: among
            their logs are ``loss``, ``accuracy``, ``val_loss``, ``val_accuracy`` and
            ``val_macro_f1``. One that sets ``model.stop_training`` ends the run there.

    Raises:
        FerEdgeError: Something is missing or wrong, in one line; or the loss is no
            longer finite.
    """
    require_inputs(config, name=name, force=force, threads=threads)
    data = config.load_images(Decoder(cache, workers))
    return fit_images(
        config,
        data,
        name=name,
        force=force,
        threads=threads,
        workers=workers,
        callbacks=callbacks,
    )


def resume(
    name: str | None = None,
    *,
    threads: int | None = None,
    workers: int | None = None,
    cache: Cache | None = None,
    callbacks: Sequence[keras.callbacks.Callback] = (),
    **changed: Any,
) -> FitResult:
    """Continues a run after its last epoch, and returns how far it came.

    Args:
        name: The run's name or path; None for the newest one.
        threads: As for ``fit``.
        workers: As for ``fit``; may be others than before.
        cache: As for ``fit``; may be another than before.
        callbacks: As for ``fit``: they are no part of the run folder.
        changed: Of the configuration: ``data``, ``labels_from`` and ``leave_out``,
            where the files have moved, and ``log``.

    Raises:
        FerEdgeError: There is no such run, or its images have changed.
    """
    require_in_checkout("matplotlib", group="train")
    run = find_run(name)
    with locked(run.path):
        config = dataclasses.replace(run.read_config(), **changed)
        # Not the server: a training that restarts by itself must not wait for it.
        require_packages(config.log)
        data = config.load_images(Decoder(cache, workers))
        _check_same_data(run, data)
        return _train(config, data, run, threads, workers, callbacks, resumed=True)


def require_inputs(
    config: TrainConfig,
    *,
    name: str | None,
    force: bool = False,
    threads: int | None = None,
) -> None:
    """Raises FerEdgeError if anything but the images is missing.

    Args are those of ``fit``.
    """
    require_in_checkout("matplotlib", group="train")  # of the plots at the end
    for source in (config.start_from, *config.teachers):
        if source:
            find_model(source)
    pretrained.require_weights(config.arch, config.pretrained)
    if is_own(config.arch):
        start_keras(threads)
        from train.networks.own import load_function

        load_function(config.arch)
    for votes in (config.soft_labels, config.labels_from):
        if votes and not Path(votes).is_file():
            raise DatasetError(f"expected a CSV of votes, got {votes!r}: no such file")
    require_free_name(name, force=force)
    require_trackers(config.log)


def fit_images(
    config: TrainConfig,
    data: Dataset,
    *,
    name: str | None,
    force: bool = False,
    threads: int | None = None,
    workers: int | None = None,
    callbacks: Sequence[keras.callbacks.Callback] = (),
) -> FitResult:
    """Trains a new run on images that were loaded, and returns how far it came.

    Args and errors are those of ``fit``.
    """
    arch = arch_name(config.arch).replace(":", "-")
    run = create_run(name, f"{Path(config.data).resolve().stem}-{arch}")
    with locked(run.path):
        # Again: another run of this name may have ended since.
        require_free_name(name, force=force)
        return _train(config, data, run, threads, workers, callbacks, resumed=False)


def _train(
    config: TrainConfig,
    data: Dataset,
    run: RunFolder,
    threads: int | None,
    workers: int | None,
    callbacks: Sequence[keras.callbacks.Callback],
    *,
    resumed: bool,
) -> FitResult:
    print(summarize(data), flush=True)
    names = [Path(path).name for path in (config.data, *config.more_data)]
    for line in describe_sources(names, data.train, config.data_weights):
        print(line, flush=True)
    try:
        start_keras(threads)
        from train import training
        from train.optimization.optimizer import devices
        from train.run.results import backend_name

        record = {
            "config": config.to_dict(),
            "data_fingerprint": data.fingerprint,
            "left_out": list(data.marked),
            "git_revision": git_revision(),  # before training: the files may change
        }
        print(
            f"run {run.path}: {config.network}, {config.epochs} epochs in batches of"
            f" {config.batch_size}, {config.precision}"
        )
        print(f"training on {', '.join(devices())} ({backend_name()})")
        return training.fit(
            config,
            data,
            run,
            record=record,
            resume=resumed,
            workers=workers,
            callbacks=callbacks,
        )
    finally:
        run.remove_if_empty()


def _check_same_data(run: RunFolder, data: Dataset) -> None:
    before = run.read_json(run.config).get("data_fingerprint")
    if before != data.fingerprint:
        raise RunError(
            f"{run.path} was trained on other images than those now in {data.name}:"
            " restore them, or start a new run"
        )
