"""Makes one batch of training images, in this process or another.

Needs numpy and OpenCV only: see ``train.data.workers``.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from train.data.augment import Augmentation, augment
from train.data.mixing import Batch, mix
from train.data.stored_images import Images


class BatchPlan(NamedTuple):
    """All that a batch depends on.

    Attributes:
        images: Gives uint8 (B, S, S, C), 0..255.
        targets: float32 (B, classes).
        weights: float32 (B,).
        augmentation: Strength of the augmentation.
        mixup: Alpha of mixup; 0 for none.
        cutmix: Alpha of CutMix; 0 for none.
        seed: Decides the augmentation.
    """

    images: Callable[[], Images]
    targets: npt.NDArray[np.float32]
    weights: npt.NDArray[np.float32]
    augmentation: Augmentation
    mixup: float
    cutmix: float
    seed: tuple[int, ...]


def make_batch(plan: BatchPlan) -> Batch:
    """Returns images uint8 (B, S, S, C), targets and weights, augmented and mixed."""
    rng = np.random.default_rng(plan.seed)
    images = augment(plan.images(), plan.augmentation, rng)
    return mix(
        images,
        plan.targets,
        plan.weights,
        mixup=plan.mixup,
        cutmix=plan.cutmix,
        rng=rng,
    )
