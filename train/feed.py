"""The training feed: shuffled, augmented batches that never run dry.

A Keras 3 ``PyDataset``, for every backend. Batch ``i`` depends only on the seed and on
``i``: a resumed run gets the batches of an uninterrupted one.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future

import keras
import numpy as np
import numpy.typing as npt

from edge_runtime.errors import FerEdgeError
from train.data.appearance import Appearances, Filtered
from train.data.augment import Augmentation, Part
from train.data.batches import BatchPlan, make_batch, needed_images
from train.data.mixing import Batch
from train.data.sources import draw, epoch_length
from train.data.splits import Split
from train.data.stored_images import Images, Rows, batch_of
from train.data.workers import Workers
from train.options.config import ClassWeights

BATCHES_AHEAD = 2  # of each process


class TrainingFeed(keras.utils.PyDataset):
    """An endless sequence of augmented batches over a split.

    Each epoch is a new permutation of all images, cut into full batches; the rest is
    not used in that epoch. With ``times`` images come several times, or not in every
    epoch. Pass ``steps_per_epoch`` to ``fit``: the feed has no end.
    """

    def __init__(
        self,
        split: Split,
        batch_size: int,
        *,
        targets: npt.NDArray[np.float32],
        augmentation: Augmentation,
        mixup: float = 0.0,
        cutmix: float = 0.0,
        class_weights: ClassWeights = "none",
        seed: int,
        first_epoch: int = 0,
        answers: npt.NDArray[np.float16] | None = None,
        workers: Workers | None = None,
        share: tuple[int, int] = (0, 1),
        times: npt.NDArray[np.float64] | None = None,
        appearances: Appearances | None = None,
    ) -> None:
        """Configures the feed; nothing is computed yet.

        Args:
            split: The training images.
            batch_size: Images per batch; reduced to the split's size if larger.
            targets: Target distributions, float32 (N, classes).
            augmentation: Strength of the augmentation.
            mixup: Alpha of mixup; 0 for none.
            cutmix: Alpha of CutMix; 0 for none.
            class_weights: ``"none"``, ``"sqrt"`` or ``"balanced"``.
            seed: Decides order and augmentation.
            first_epoch: Number of epochs already trained, for a resumed run.
            answers: Teachers' answers to the images of the first batches, float16
                (batches, B, classes), a whole number of epochs: the feed then repeats
                these batches, and the answers stand beside the targets.
            workers: Processes that make the next batches ahead of the training step;
                None makes each when it is asked for, in Keras's thread.
            share: Number of this process and of all that train together: each makes its
                part of every batch, and all parts are the batch that one would make.
                The batch size is a multiple of that number.
            times: How often each image is drawn in an epoch, float64 (N,); None: once.
            appearances: Of the split's further sets; None changes no image.
        """
        super().__init__(workers=1, max_queue_size=8)
        self._split, self._times = split, times
        self._appearances = appearances
        self._images = len(split) if times is None else epoch_length(times)
        self._batch_size = min(batch_size, self._images)
        self._augmentation = augmentation
        self._mixup, self._cutmix = mixup, cutmix
        self._targets, self._answers = targets, answers
        classes = targets.shape[1]
        self._weights = _class_weights(split.labels, classes, class_weights, times)
        self._seed = seed
        self._first_batch = first_epoch * self.steps_per_epoch
        self._order_of_epoch: tuple[int, npt.NDArray[np.int64]] | None = None
        self._own = _own_rows(self._batch_size, *share)
        self._pool = workers
        self._ahead: dict[int, Future[Batch]] = {}
        self.error: FerEdgeError | None = None

    @property
    def batch_size(self) -> int:
        """The number of images in each batch."""
        return self._batch_size

    @property
    def steps_per_epoch(self) -> int:
        """The number of full batches in an epoch, at least one."""
        return self._images // self._batch_size

    @property
    def num_batches(self) -> int | None:
        """None: the feed is endless (Keras reads this)."""
        return None

    def __getitem__(self, index: int) -> Batch:
        """Returns batch ``index`` counted from the first epoch of this feed.

        Returns:
            Images uint8 (B, S, S, C) in 0..255, targets float32 (B, classes) that
            sum to 1 (with answers (B, 2 * classes)), and weights float32 (B,); of a
            share its part of them.
        """
        batch = self._number(index)
        try:
            images, targets, weights = self._make(index)
        except FerEdgeError as error:  # Keras makes another one of it
            self.error = error
            raise
        if self._answers is None:
            return images, targets, weights
        answers = self._answers[batch].astype(np.float32)
        answers = answers if self._own is None else answers[self._own]
        return images, np.concatenate([targets, answers], axis=1), weights

    def _number(self, index: int) -> int:
        batch = self._first_batch + index
        return batch if self._answers is None else batch % len(self._answers)

    def _make(self, index: int) -> Batch:
        if self._pool is None:
            return make_batch(self._plan(self._number(index)))
        wanted = range(index, index + 1 + BATCHES_AHEAD * self._pool.count)
        self._ahead = {
            each: self._ahead.get(each) or self._submit(self._pool, each)
            for each in wanted
        }
        return self._ahead.pop(index).result()

    def _submit(self, workers: Workers, index: int) -> Future[Batch]:
        batch = self._number(index)
        return workers.submit(make_batch, lambda: (self._plan(batch),))

    def _plan(self, batch: int) -> BatchPlan:
        epoch, step = divmod(batch, self.steps_per_epoch)
        start = step * self._batch_size
        chosen = self._order(epoch)[start : start + self._batch_size]
        rows = np.arange(len(chosen) if self._own is None else 0)
        plan = BatchPlan(
            self._read(batch, chosen, rows),
            self._targets[chosen],
            self._weights[self._split.labels[chosen]],
            self._augmentation,
            self._mixup,
            self._cutmix,
            (self._seed, 1, batch),
        )
        return plan if self._own is None else self._part(plan, batch, chosen)

    def _part(self, plan: BatchPlan, batch: int, chosen: Rows) -> BatchPlan:
        """Returns the plan of this process's part of a batch."""
        plan = plan._replace(own=self._own)
        rows = needed_images(plan, self._split.images.shape[1:])
        part = Part(rows, self._batch_size)
        return plan._replace(images=self._read(batch, chosen, rows), part=part)

    def _read(self, batch: int, chosen: Rows, rows: Rows) -> Callable[[], Images]:
        """Returns what gives the images of some rows of a batch."""
        images = batch_of(self._split.images, chosen[rows])
        if self._appearances is None:
            return images
        rng = np.random.default_rng([self._seed, 3, batch])
        log_gains = self._appearances.draw(chosen, rng)
        return Filtered(images, [log_gains[row] for row in rows])

    def _order(self, epoch: int) -> npt.NDArray[np.int64]:
        # Two threads may both compute it: the result is the same either way.
        cached = self._order_of_epoch
        if cached is None or cached[0] != epoch:
            rng = np.random.default_rng([self._seed, 0, epoch])
            times = self._times
            count = len(self._split)
            order = rng.permutation(count) if times is None else draw(times, rng)
            cached = (epoch, order)
            self._order_of_epoch = cached
        return cached[1]


def _own_rows(
    batch_size: int, index: int, processes: int
) -> npt.NDArray[np.int64] | None:
    """Returns the rows of a batch that a process makes; None for all."""
    if processes == 1:
        return None
    size = batch_size // processes
    return np.arange(index * size, (index + 1) * size)


def _class_weights(
    labels: npt.NDArray[np.int64],
    classes: int,
    kind: ClassWeights,
    times: npt.NDArray[np.float64] | None,
) -> npt.NDArray[np.float32]:
    """Returns a weight per class, float32 (classes,), with mean 1 over what is drawn.

    How often its images are drawn makes a class frequent, not how many there are.
    """
    power = {"none": 0.0, "sqrt": 0.5, "balanced": 1.0}[kind]
    counts = np.bincount(labels, weights=times, minlength=classes)
    total = counts.sum()
    weights = (total / np.where(counts > 0, counts, total)) ** power
    mean = float((weights * counts).sum() / total)
    scaled: npt.NDArray[np.float32] = (weights / mean).astype(np.float32)
    return scaled
