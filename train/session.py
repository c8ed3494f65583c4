"""A training from its configuration to its run folder, as programs and commands do it.

Keras and its backend are imported last: what is wrong is said before that takes time.
"""

from __future__ import annotations

import dataclasses
import hashlib
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from edge_runtime.errors import DatasetError, RunError, require_in_checkout
from train.data.dataset import Dataset
from train.data.decoding import Decoder
from train.data.image_stores import Cache
from train.data.sources import describe_sources
from train.data.splits import pixel_hashes
from train.data.summary import summarize
from train.networks import pretrained
from train.networks.backend import start_keras
from train.options.config import TrainConfig, arch_name, is_own
from train.options.steps import scale_to_devices
from train.parallel.devices import start_replicas
from train.parallel.group import ALONE, Group
from train.quantization.configuration import require_unfolded
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


Devices = int | str | None
# Of the configuration: paths, which may be others on another machine. What is in them
# the first process reads for all, but for the images.
FILES = (
    "data",
    "more_data",
    "labels_from",
    "leave_out",
    "soft_labels",
    "start_from",
    "teachers",
    "log",
)


class Machine(NamedTuple):
    """What trains; the result is the same.

    Attributes:
        threads: CPU threads; None for all.
        workers: Processes that augment images.
        devices: How many of this process's devices, ``"all"``, or None: see
            ``train.parallel.devices.start_replicas``.
        group: The processes that train together.
        scale: Let batch and learning rate grow with the number of devices.
    """

    threads: int | None
    workers: int | None
    devices: Devices
    group: Group
    scale: bool = False


def fit(
    config: TrainConfig,
    *,
    name: str | None = None,
    force: bool = False,
    threads: int | None = None,
    workers: int | None = None,
    cache: Cache | None = None,
    devices: Devices = None,
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
        devices: How many devices of this machine train, or ``"all"``; with JAX alone.
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
        devices=devices,
        callbacks=callbacks,
    )


def resume(
    name: str | None = None,
    *,
    threads: int | None = None,
    workers: int | None = None,
    cache: Cache | None = None,
    devices: Devices = None,
    group: Group = ALONE,
    callbacks: Sequence[keras.callbacks.Callback] = (),
    **changed: Any,
) -> FitResult:
    """Continues a run after its last epoch, and returns how far it came.

    Args:
        name: The run's name or path; None for the newest one.
        threads: As for ``fit``.
        workers: As for ``fit``; may be others than before.
        cache: As for ``fit``; may be another than before.
        devices: As for ``fit``; may be others than before.
        group: The processes that train together: the first one has the run.
        callbacks: As for ``fit``: they are not part of the run folder.
        changed: Of the configuration: ``data``, ``labels_from`` and ``leave_out``,
            where the files have moved, and ``log``.

    Raises:
        FerEdgeError: There is no such run, or its images have changed.
    """
    require_in_checkout("matplotlib", group="train")
    machine = Machine(threads, workers, devices, group)
    if not group.is_first:
        config = TrainConfig.from_dict(group.share({}))
        config = dataclasses.replace(config, **changed)
        data = config.load_images(Decoder(cache, workers))
        return _train_for_another(config, data, machine, callbacks, resumed=True)
    run = find_run(name)
    with locked(run.path):
        config = dataclasses.replace(run.read_config(), **changed)
        # Not the server: a training that restarts by itself must not wait for it.
        require_packages(config.log)
        group.share(config.to_dict())
        data = config.load_images(Decoder(cache, workers))
        _check_same_data(run, data)
        return _train(config, data, run, machine, callbacks, resumed=True)


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
    if is_own(config.arch) and not config.qat:
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
    devices: Devices = None,
    group: Group = ALONE,
    scale: bool = False,
    callbacks: Sequence[keras.callbacks.Callback] = (),
) -> FitResult:
    """Trains a new run on images that were loaded, and returns how far it came.

    Args and errors are those of ``fit``, and:
        group: The processes that train together: the first one writes the run.
        scale: Let batch and learning rate grow with the number of devices.
    """
    machine = Machine(threads, workers, devices, group, scale)
    if not group.is_first:
        return _train_for_another(config, data, machine, callbacks, resumed=False)
    require_unfolded(config)
    arch = arch_name(config.arch).replace(":", "-")
    run = create_run(name, f"{Path(config.data).resolve().stem}-{arch}")
    with locked(run.path):
        # Again: another run of this name may have ended since.
        require_free_name(name, force=force)
        return _train(config, data, run, machine, callbacks, resumed=False)


def _train_for_another(
    config: TrainConfig,
    data: Dataset,
    machine: Machine,
    callbacks: Sequence[keras.callbacks.Callback],
    *,
    resumed: bool,
) -> FitResult:
    """Trains along with the first process, which alone writes the run."""
    with tempfile.TemporaryDirectory(prefix="fer-edge-train-") as scratch:
        run = RunFolder(Path(scratch))
        return _train(config, data, run, machine, callbacks, resumed=resumed)


def _train(
    config: TrainConfig,
    data: Dataset,
    run: RunFolder,
    machine: Machine,
    callbacks: Sequence[keras.callbacks.Callback],
    *,
    resumed: bool,
) -> FitResult:
    print(summarize(data), flush=True)
    names = [Path(path).name for path in (config.data, *config.more_data)]
    for line in describe_sources(
        names, data.train, config.data_weights, config.used_match_appearance
    ):
        print(line, flush=True)
    group = machine.group
    group.require_same({"fingerprint of its images": data.fingerprint})
    if group.count > 1:  # rows are what the processes tell each other
        group.require_same({"order of its images": _order(data)})
    group.require_same(_common(config))
    try:
        start_keras(machine.threads)
        replicas = start_replicas(group, machine.devices)
        if config.qat:
            replicas.require_one("--qat")
        if machine.scale:
            config = scale_to_devices(config, replicas.devices)
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
        names = devices()[: replicas.devices if machine.devices else None]
        print(f"training on {', '.join(names)} ({backend_name()})")
        return training.fit(
            config,
            data,
            run,
            record=record,
            resume=resumed,
            workers=machine.workers,
            callbacks=callbacks,
            replicas=replicas,
        )
    finally:
        run.remove_if_empty()


def _common(config: TrainConfig) -> dict[str, Any]:
    """Returns what all processes have in common: not where their files are."""
    values = config.to_dict()
    return {
        name: bool(value) if name in FILES else value for name, value in values.items()
    }


def _order(data: Dataset) -> str:
    """Returns a SHA-256 of the images that train and validate, row by row."""
    digest = hashlib.sha256()
    for split in (data.train, data.validation):
        digest.update("\n".join(pixel_hashes(split.images)).encode())
        digest.update(split.labels.tobytes())
        digest.update(b"" if split.sources is None else split.sources.tobytes())
    return digest.hexdigest()


def _check_same_data(run: RunFolder, data: Dataset) -> None:
    before = run.read_json(run.config).get("data_fingerprint")
    if before != data.fingerprint:
        raise RunError(
            f"{run.path} was trained on other images than those now in {data.name}:"
            " restore them, or start a new run"
        )
