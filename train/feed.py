"""The training feed: shuffled, augmented batches that never run dry.

A Keras 3 ``PyDataset``, for every backend. Batch ``i`` depends only on the seed and on
``i``: a resumed run gets the batches of an uninterrupted one.
"""

from __future__ import annotations

import keras
import numpy as np
import numpy.typing as npt

from train.data.augment import Augmentation, augment
from train.data.mixing import Batch, mix
from train.data.splits import Split
from train.options.config import ClassWeights


class TrainingFeed(keras.utils.PyDataset):
    """An endless sequence of augmented batches over a split.

    Each epoch is a new permutation of all images, cut into full batches; the rest is
    not used in that epoch. Pass ``steps_per_epoch`` to ``fit``: the feed has no end.
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
        workers: int = 1,
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
            workers: Threads that prepare batches ahead of the training step.
        """
        super().__init__(workers=workers, max_queue_size=8)
        self._split = split
        self._batch_size = min(batch_size, len(split))
        self._augmentation = augmentation
        self._mixup, self._cutmix = mixup, cutmix
        self._targets, self._answers = targets, answers
        self._weights = _class_weights(split.labels, targets.shape[1], class_weights)
        self._seed = seed
        self._first_batch = first_epoch * self.steps_per_epoch
        self._order_of_epoch: tuple[int, npt.NDArray[np.int64]] | None = None

    @property
    def batch_size(self) -> int:
        """The number of images in each batch."""
        return self._batch_size

    @property
    def steps_per_epoch(self) -> int:
        """The number of full batches in the split, at least one."""
        return len(self._split) // self._batch_size

    @property
    def num_batches(self) -> int | None:
        """None: the feed is endless (Keras reads this)."""
        return None

    def __getitem__(self, index: int) -> Batch:
        """Returns batch ``index`` counted from the first epoch of this feed.

        Returns:
            Images uint8 (B, S, S, C) in 0..255, targets float32 (B, classes) that
            sum to 1 (with answers (B, 2 * classes)), and weights float32 (B,).
        """
        batch = self._first_batch + index
        if self._answers is None:
            return self._batch(batch)
        batch %= len(self._answers)
        images, targets, weights = self._batch(batch)
        answers = self._answers[batch].astype(np.float32)
        return images, np.concatenate([targets, answers], axis=1), weights

    def _batch(self, batch: int) -> Batch:
        epoch, step = divmod(batch, self.steps_per_epoch)
        start = step * self._batch_size
        chosen = self._order(epoch)[start : start + self._batch_size]
        rng = np.random.default_rng([self._seed, 1, batch])
        images = augment(self._split.images[chosen], self._augmentation, rng)
        targets = self._targets[chosen]
        weights = self._weights[self._split.labels[chosen]]
        return mix(
            images,
            targets,
            weights,
            mixup=self._mixup,
            cutmix=self._cutmix,
            rng=rng,
        )

    def _order(self, epoch: int) -> npt.NDArray[np.int64]:
        # Two threads may both compute it: the result is the same either way.
        cached = self._order_of_epoch
        if cached is None or cached[0] != epoch:
            rng = np.random.default_rng([self._seed, 0, epoch])
            cached = (epoch, rng.permutation(len(self._split)))
            self._order_of_epoch = cached
        return cached[1]


def _class_weights(
    labels: npt.NDArray[np.int64], classes: int, kind: ClassWeights
) -> npt.NDArray[np.float32]:
    """Returns a weight per class, float32 (classes,), with mean 1 over the images."""
    power = {"none": 0.0, "sqrt": 0.5, "balanced": 1.0}[kind]
    counts = np.bincount(labels, minlength=classes)
    weights = (len(labels) / np.maximum(1, counts)) ** power
    mean = float((weights * counts).sum() / len(labels))
    return (weights / mean).astype(np.float32)
