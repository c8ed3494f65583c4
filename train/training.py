"""Trains a network and writes its run folder."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import keras

from edge_runtime.errors import RunError
from edge_runtime.utils.files import remove_leftovers, write_text
from edge_runtime.utils.signals import handle_signals
from edge_runtime.utils.stderr import suppress_stderr
from train.data.dataset import Dataset
from train.data.workers import Workers, available_cores
from train.distillation.training_inputs import TrainingInputs, prepare_inputs
from train.feed import TrainingFeed
from train.networks.run_networks import RunNetworks
from train.optimization.head import fit_head
from train.optimization.initialization import NETWORK, initialize, make_networks
from train.optimization.optimizer import compile_model, devices
from train.options.config import TrainConfig, is_own
from train.parallel.group import Group
from train.parallel.replicas import ONE, Replicas
from train.quantization.record import save_trained_ranges
from train.run import checkpoint
from train.run.checkpoint import Progress
from train.run.epoch_callback import EpochCallback
from train.run.folder import RunFolder
from train.run.results import write_calibration_choice, write_results
from train.tracking.callback import TrackingCallback
from train.tracking.factory import open_trackers
from train.tracking.tracker import (
    Outcome,
    RunTrackers,
    flatten,
    outcome_of,
)


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
    replicas: Replicas = ONE,
) -> FitResult:
    """Trains a network and returns how far it came; each epoch can be resumed from.

    Ctrl-C, SIGTERM and a closed terminal are not errors: they end the training after
    the current batch. The run folder then holds the best model so far and the
    checkpoint to resume from. A second Ctrl-C ends at once.

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
        replicas: The devices that train. Where several processes do, each calls this
            with the same arguments but for ``run``: that of the first one is written,
            those of the others are scratch.

    Raises:
        FerEdgeError: The loss is no longer finite, or there is no checkpoint.
    """
    with _open_workers(workers) as opened, replicas.apart():
        return _fit(config, data, run, record, resume, callbacks, opened, replicas)


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
    replicas: Replicas,
) -> FitResult:
    with suppress_stderr():  # imports TensorFlow, if there, whatever the backend
        keras.utils.set_random_seed(config.seed)
    if resume:
        _send_state(run, replicas)
    progress = _load_progress(run) if resume else Progress()
    networks = make_networks(config, data, run, progress, replicas)
    _require_same(networks, replicas.group)
    model, writes_network = networks.trained, is_own(config.arch) and not config.qat
    layers = model.to_json() if writes_network else ""  # before it is compiled
    begun = replicas.begin(model, networks.saved)
    if begun:
        weights = initialize(begun, config, data, progress, run)
        record = {**record, "weights": weights}
    inputs = prepare_inputs(
        config, data, run, progress, workers, replicas, resume=resume
    )
    replicas.require_even(inputs.feed.batch_size)
    if config.head_views and not progress.epoch and begun:
        print("first the last layer alone, then the whole network", flush=True)
        fit_head(begun, inputs.images, inputs.targets, config)
    replicas.spread(begun, model)
    with replicas.together():
        compile_model(model, config, inputs.feed.steps_per_epoch)
        if resume:
            _restore(run, model, progress)
    if resume and replicas.group.is_first:
        checkpoint.publish_best(run.checkpoint, run.model, progress)
    if not resume:
        _clear(run)  # only now, when nothing can be refused any more
        inputs.save(config, data, run)
    run.write_json(run.config, record)
    write_text(run.architecture, networks.saved.to_json(indent=1))
    if networks.ranges is not None and not progress.epoch:
        save_trained_ranges(run.ranges, networks.ranges)
    if is_own(config.arch):
        write_text(run.checkpoint / NETWORK, layers)
    write_calibration_choice(run, data, config)
    epochs = EpochCallback(
        config,
        data,
        run,
        progress=progress,
        networks=networks,
        replicas=replicas,
    )
    logs = config.log if replicas.group.is_first else ()
    trackers = RunTrackers(open_trackers(logs, run, _parameters(record, model)))
    trackers.write(progress)  # what a resumed run was killed before it was told
    followers = [TrackingCallback(trackers, epochs), *callbacks]
    with _told_of_failure(trackers, epochs, run):
        with replicas.together():
            finished = _run_epochs(model, inputs.feed, config, epochs, followers)
        replicas.leave()
        if replicas.group.is_first:
            _measure(config, data, run, epochs.progress, inputs, finished=finished)
    outcome = outcome_of(run, epochs.progress, finished=finished)
    trackers.finish(epochs.progress, outcome, run)
    return FitResult(epochs.progress, finished, run.path)


def _send_state(run: RunFolder, replicas: Replicas) -> None:
    """Gives the other processes what they resume from: they need no run folder."""
    names: list[str] = []
    if replicas.group.is_first:
        progress = checkpoint.load_progress(run.checkpoint)
        known = (checkpoint.PROGRESS, progress.weights_file, NETWORK)
        names = [each for each in known if each and (run.checkpoint / each).is_file()]
    replicas.send_files(run.checkpoint, replicas.group.share(names))
    replicas.send_files(run.path, [run.architecture.name])


def _require_same(networks: RunNetworks, group: Group) -> None:
    """Compares what each process has built, the user's own of its file there."""
    if group.count > 1:
        texts = networks.trained.to_json() + networks.validated.to_json()
        digest = hashlib.sha256(texts.encode()).hexdigest()
        group.require_same({"fingerprint of its network": digest})


def _load_progress(run: RunFolder) -> Progress:
    progress = checkpoint.load_progress(run.checkpoint)
    if run.model.exists() and not progress.epoch:
        raise RunError(
            f"{run.path} has a model, but its checkpoint was deleted: start a new run"
            f" with its weights, --from {run.path}"
        )
    return progress


def _clear(run: RunFolder) -> None:
    """Removes what an earlier run of this name has left."""
    remove_leftovers(run.path)
    remove_leftovers(run.checkpoint)
    run.clear()


def _restore(run: RunFolder, model: keras.Model, progress: Progress) -> None:
    """Gives the model the weights of the last epoch."""
    remove_leftovers(run.path)
    remove_leftovers(run.checkpoint)
    checkpoint.restore(run.checkpoint, model, progress)


@contextmanager
def _told_of_failure(
    trackers: RunTrackers, epochs: EpochCallback, run: RunFolder
) -> Iterator[None]:
    """Tells the trackers of an error in the body, and closes the bar in any case."""
    try:
        yield
    except BaseException as error:
        status = "KILLED" if isinstance(error, KeyboardInterrupt) else "FAILED"
        trackers.finish(
            epochs.progress, Outcome(status, epochs.progress.epoch, {}), run
        )
        raise
    finally:
        epochs.close()


def _measure(
    config: TrainConfig,
    data: Dataset,
    run: RunFolder,
    progress: Progress,
    inputs: TrainingInputs,
    *,
    finished: bool,
) -> None:
    """Writes the results of the best epoch, if there is one."""
    if progress.best_epoch:
        print(f"measuring epoch {progress.best_epoch}", flush=True)
        write_results(
            config,
            data,
            run,
            progress,
            dropped=len(data.train) - len(inputs.images),
            ended_early=finished and progress.epoch < config.epochs,
        )


def _parameters(record: dict[str, Any], model: keras.Model) -> dict[str, Any]:
    """Returns the values by which runs are compared: configuration, data, revision."""
    names = ("data_fingerprint", "git_revision")
    return {
        **flatten(record["config"]),
        **{name: record.get(name, "") for name in names},
        "parameters": model.count_params(),
    }


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
        with handle_signals() as epochs.stop:
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
        if not (epochs.stopped or epochs.is_alone_and_unasked()):
            raise  # a second Ctrl-C; other processes go on, so nothing waits for them
        epochs.recover()
        return False
    except Exception:
        epochs.close()
        if feed.error is not None:
            raise feed.error from None
        raise
    return True
