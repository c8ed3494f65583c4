"""Validates after every epoch, saves the best model and the checkpoint."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import keras
import numpy as np

from edge_runtime.errors import FerEdgeError
from edge_runtime.utils.signals import StopRequest
from edge_runtime.utils.stderr import open_bar
from train import metrics
from train.data.dataset import Dataset
from train.networks.blocks import leaf_layers
from train.networks.run_networks import RunNetworks
from train.options.config import TrainConfig
from train.parallel.replicas import ONE, Replicas
from train.run import checkpoint
from train.run.checkpoint import Progress
from train.run.folder import RunFolder
from train.run.results import predict_logits


class EpochCallback(keras.callbacks.Callback):
    """After every epoch: validates, saves the best model and the checkpoint, prints.

    Attributes:
        progress: The epochs so far.
        stop: What ends the training after a batch.
        stopped: It has done so, in every process after the same batch.
    """

    def __init__(
        self,
        config: TrainConfig,
        data: Dataset,
        run: RunFolder,
        *,
        progress: Progress,
        networks: RunNetworks,
        replicas: Replicas = ONE,
    ) -> None:
        super().__init__()
        self._config, self._data, self._run = config, data, run
        self.progress = progress
        self.stop = StopRequest()
        self.stopped = False
        self._networks = networks
        self._replicas = replicas
        self._swap = keras.callbacks.SwapEMAWeights() if config.ema_epochs else None
        self._bar: Any = None
        self._epoch_started = 0.0
        self._first_epoch = progress.epoch
        self._steps = 0

    def on_train_begin(self, logs: dict[str, Any] | None = None) -> None:
        """Prepares the average of the weights."""
        if self._swap:
            self._swap.set_model(self.model)

    def on_epoch_begin(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Starts the bar of the epoch's steps."""
        self._epoch_started = time.perf_counter()
        self._seed_dropout(epoch)
        self._bar = open_bar(f"epoch {epoch + 1}", "step", total=self.params["steps"])

    def _seed_dropout(self, epoch: int) -> None:
        """Sets every random layer's state from the seed and the epoch.

        Keras's weight files do not contain it: a resumed run would repeat the masks
        of the first epoch.
        """
        for index, layer in enumerate(leaf_layers(self.model)):
            generator = getattr(layer, "seed_generator", None)
            if generator is not None:
                generator.state.assign([self._config.seed, epoch << 8 | index & 0xFF])

    def on_train_batch_end(
        self, batch: int, logs: dict[str, Any] | None = None
    ) -> None:
        """Moves the bar.

        Raises:
            KeyboardInterrupt: A signal asked for the end. Raised by a signal's own
                handler it could come within a library that ignores exceptions.
        """
        if self._bar is not None:
            self._bar.update()
            self._bar.set_postfix(loss=f"{(logs or {})['loss']:.3f}", refresh=False)
        self._steps += 1
        if self._replicas.asked_to_stop(self._steps, self.stop.signal is not None):
            self.stopped = True
            raise KeyboardInterrupt

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Validates on the whole validation split and saves everything.

        Raises:
            FerEdgeError: The loss or a logit is no longer finite.
        """
        self.close()
        logs = {} if logs is None else logs
        self._copy_weights()
        split = self._data.validation
        predict = partial(predict_logits, self._networks.validated)
        logits = self._replicas.predict(predict, split.images)
        # Both: logits can be NaN while the loss is finite.
        if not np.isfinite(logs["loss"]) or not np.isfinite(logits).all():
            raise FerEdgeError(
                f"training diverged in epoch {epoch + 1} (loss {logs['loss']:.4g}):"
                f" start again with a lower --learning-rate"
                f" than {self._config.learning_rate}"
            )
        predicted, classes = logits.argmax(axis=1), len(self._data.labels)
        matrix = metrics.confusion_matrix(split.labels, predicted, classes)
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
            "seconds": self._replicas.group.share(
                round(time.perf_counter() - self._epoch_started, 1)
            ),
        }
        self._save(epoch + 1, row)
        # For the callbacks behind this one.
        logs.update({key: row[key] for key in row if key.startswith("val_")})

    def _copy_weights(self) -> None:
        """Copies the averaged weights (or the weights) into the float32 model."""
        if self._swap:
            self._swap.on_test_begin()
        self._networks.validated.set_weights(self.model.get_weights())
        if self._swap:
            self._swap.on_test_end()

    def _save(self, epoch: int, row: dict[str, float]) -> None:
        """Saves the epoch, then prints it."""
        progress = replace(
            self.progress, epoch=epoch, history=(*self.progress.history, row)
        )
        images = len(self._data.validation)
        best = checkpoint.is_kept(self._config, progress.history, images)
        if best:
            progress = replace(
                progress, best_epoch=epoch, best_accuracy=row["val_accuracy"]
            )
        self.progress = progress
        if self._replicas.group.is_first:
            with self._replicas.apart():  # Keras makes variables while it saves
                self._write(best=best)
        print(self._format_row(epoch, row), flush=True)
        if reason := checkpoint.stop_reason(self._config, self.progress):
            print(f"ends here: {reason}", flush=True)
            self.model.stop_training = True

    def _write(self, *, best: bool) -> None:
        """Writes the checkpoint, the best model and the history."""
        folder = self._run.checkpoint
        best_model = self._networks.saved if best else None
        self.progress = checkpoint.save(
            folder, self.model, self.progress, best=best_model
        )
        if best:
            checkpoint.publish_best(folder, self._run.model, self.progress)
        self._run.write_history(self.progress.history)

    def _format_row(self, epoch: int, row: dict[str, float]) -> str:
        rows = self.progress.history[self._first_epoch :]
        seconds = [each["seconds"] for each in rows]
        left_s = estimate_left_s(seconds, self._config.epochs - epoch)
        best = ""
        if self.progress.best_epoch == epoch:
            highest = max(each["val_accuracy"] for each in self.progress.history)
            as_good = row["val_accuracy"] < highest
            best = "  kept, as good as the best" if as_good else "  best so far"
        return (
            f"epoch {epoch:>3}/{self._config.epochs}"
            f"  loss {row['loss']:.3f}  accuracy {row['accuracy']:.1%}"
            f"  validation {row['val_accuracy']:.2%}"
            f"  {row['seconds']:.0f} s, {_format_duration(left_s)} left{best}"
        )

    def is_alone_and_unasked(self) -> bool:
        """Returns whether no signal came, and no other process trains along.

        A KeyboardInterrupt is then a callback's, and as good as a signal.
        """
        return self._replicas.group.count == 1 and self.stop.signal is None

    def recover(self) -> None:
        """Goes by what was saved, where Ctrl-C came before it was noted here."""
        self.close()
        if not self._replicas.group.is_first:
            return
        self.progress = checkpoint.load_progress(self._run.checkpoint)
        checkpoint.publish_best(self._run.checkpoint, self._run.model, self.progress)
        if self.progress.epoch:
            self._run.write_history(self.progress.history)

    def close(self) -> None:
        """Removes the bar from the screen."""
        if self._bar is not None:
            self._bar.close()
            self._bar = None


def estimate_left_s(seconds: Sequence[float], epochs: int) -> float:
    """Returns how long epochs will take that are like those so far, in seconds.

    The first one, which compiles the network, counts only where it is alone: of a small
    set it takes minutes and the others seconds.

    Args:
        seconds: Durations of the epochs so far, at least one.
        epochs: Number of those to come.
    """
    usual = seconds[1:] or seconds
    return sum(usual) / len(usual) * epochs


def _format_duration(seconds: float) -> str:
    minutes = round(seconds / 60)
    if minutes < 2:
        return f"{seconds:.0f} s"
    return (
        f"{minutes // 60} h {minutes % 60} min" if minutes >= 60 else f"{minutes} min"
    )
