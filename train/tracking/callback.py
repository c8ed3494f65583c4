"""Keras calls it after every epoch; it calls the trackers."""

from __future__ import annotations

from typing import Any

import keras

from train.run.epoch_callback import EpochCallback
from train.tracking.tracker import RunTrackers


class TrackingCallback(keras.callbacks.Callback):
    """Tells the trackers every epoch, when it is saved."""

    def __init__(self, trackers: RunTrackers, epochs: EpochCallback) -> None:
        super().__init__()
        self._trackers, self._epochs = trackers, epochs

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Tells the epochs so far."""
        self._trackers.write(self._epochs.progress)
