"""The devices that one training uses: data parallel, by JAX and ``keras.distribution``.

Each device has all weights and a part of each batch. What is computed is what one
device would compute with the whole batch: BatchNorm's statistics, loss, metrics and
gradients are those of all images.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from edge_runtime.errors import ConfigError
from edge_runtime.utils.files import write_bytes
from train.data.stored_images import StoredImages
from train.parallel.group import ALONE, Group

Array = npt.NDArray[Any]
AGREE_EVERY = 5  # steps: how long a signal waits for the others


class Replicas:
    """The devices of one training, in this process and others.

    Attributes:
        group: The processes.
        devices: Number of devices of all processes.
    """

    def __init__(self, group: Group = ALONE, *, whole: Any = None, own: Any = None):
        """Takes what ``train.parallel.devices.start_replicas`` has made.

        Args:
            group: The processes.
            whole: The ``DataParallel`` of all devices; None for Keras's default device.
            own: That of this process's devices; None for one.
        """
        self.group = group
        self._whole, self._own = whole, own
        self.devices = 1 if whole is None else int(whole.device_mesh.devices.size)

    def together(self) -> AbstractContextManager[None]:
        """Returns what makes networks and steps within it those of all devices."""
        return nullcontext() if self._whole is None else _scope(self._whole)

    def apart(self) -> AbstractContextManager[None]:
        """Returns what makes them within it those of this process's devices."""
        return nullcontext() if self._whole is None else _scope(self._own)

    def require_even(self, batch_size: int) -> None:
        """Raises ConfigError unless all devices get as many images of a batch."""
        if batch_size % self.devices:
            below = batch_size - batch_size % self.devices
            near = [each for each in (below, below + self.devices) if each]
            raise ConfigError(
                f"expected batches that {self.devices} devices share evenly, got"
                f" {batch_size} images: --batch-size {' or '.join(map(str, near))}, or"
                " another number of devices"
            )

    def require_one(self, flag: str) -> None:
        """Raises ConfigError unless one device trains, as a flag needs."""
        if self.devices > 1:
            raise ConfigError(
                f"{flag} trains on one device, got {self.devices}: leave out --devices"
                " and --processes, or take --devices 1 or --processes 1"
            )

    @property
    def share(self) -> tuple[int, int]:
        """The number of this process and of all: see ``TrainingFeed``."""
        return self.group.index, self.group.count

    def begin(self, model: Any, copy: Any) -> Any:
        """Returns the network to give its first weights, or None: others wait for them.

        Args:
            model: The network to train.
            copy: Of the same layers, of this process's devices alone.
        """
        if self.group.count == 1:
            return model
        copy.set_weights(model.get_weights())
        return copy if self.group.is_first else None

    def spread(self, begun: Any, model: Any) -> None:
        """Gives the network in every process the weights of the first process.

        Args:
            begun: What ``begin`` has returned.
            model: The network to train.
        """
        if self.group.count == 1:
            return
        weights = (begun or model).get_weights()
        model.set_weights([self._from_first(each) for each in weights])

    def predict(
        self, predict: Callable[[Any], npt.NDArray[np.float32]], images: Any
    ) -> npt.NDArray[np.float32]:
        """Returns the logits of images of which each process computes its part.

        Args:
            predict: Gives logits, float32 (n, classes), of some images.
            images: uint8 (N, S, S, C), the same in every process.
        """
        index, processes = self.share
        if processes == 1:
            with self.apart():
                return predict(images)
        size = -(-len(images) // processes)
        rows = np.arange(index * size, (index + 1) * size) % len(images)
        stored = isinstance(images, StoredImages)
        with self.apart():
            own = predict(images.view(rows) if stored else images[rows])
        gathered = _multihost().process_allgather(own)
        return np.asarray(gathered).reshape(-1, own.shape[1])[: len(images)]

    def from_first(
        self, make: Callable[[], Array], shape: Sequence[int], dtype: npt.DTypeLike
    ) -> Array:
        """Returns the first process's array, in every process.

        Args:
            make: Computes it; called in the first process alone.
            shape: Its shape.
            dtype: Its type.
        """
        array = make() if self.group.is_first else np.zeros(shape, dtype)
        if self.group.count == 1:
            return array
        self.group.share(True)  # until it is made: collectives have a time-out
        return self._from_first(array)

    def _from_first(self, array: Array) -> Array:
        """Returns the first process's array; the others give one of its shape."""
        sent = np.ascontiguousarray(array).reshape(-1).view(np.uint8)
        received = np.array(_multihost().broadcast_one_to_all(sent))
        return received.view(array.dtype).reshape(array.shape)

    def send_files(self, folder: Path, names: Sequence[str]) -> None:
        """Copies files of the first process into the folder of each other one."""
        for name in names if self.group.count > 1 else ():
            file = folder / name
            size = self.group.share(file.stat().st_size if self.group.is_first else 0)
            data = self.from_first(partial(np.fromfile, file, np.uint8), (size,), "u1")
            if not self.group.is_first:
                write_bytes(file, data.tobytes())

    def asked_to_stop(self, step: int, asked: bool) -> bool:
        """Returns whether the training ends after this step: in no process alone.

        Args:
            step: Of the training, the same in every process.
            asked: Whether this process was asked to.
        """
        if self.group.count == 1:
            return asked
        return not step % AGREE_EVERY and self.group.any(asked)

    def leave(self) -> None:
        """Ends the training together: from now on no process needs another one."""
        if self.group.count > 1:
            import jax

            jax.distributed.shutdown()
            self.group.leave()


ONE = Replicas()


def devices_in_scope() -> int:
    """Returns the number of devices that a prediction is spread over now."""
    import keras

    distribution = keras.distribution.distribution()
    return 1 if distribution is None else int(distribution.device_mesh.devices.size)


@contextmanager
def _scope(distribution: Any) -> Iterator[None]:
    import keras

    before = keras.distribution.distribution()
    keras.distribution.set_distribution(distribution)
    try:
        yield
    finally:
        keras.distribution.set_distribution(before)


def _multihost() -> Any:
    from jax.experimental import multihost_utils

    return multihost_utils
