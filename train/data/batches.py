"""Makes one batch of training images, in this process or another.

Needs numpy and OpenCV only (with several image sets SciPy): see ``train.data.workers``.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from train.data.augment import Augmentation, Part, augment
from train.data.mixing import Batch, draw_pairs, mix
from train.data.stored_images import Images, Rows


class BatchPlan(NamedTuple):
    """All that a batch depends on.

    Attributes:
        images: Gives uint8 (N, S, S, C), 0..255, those of ``part``.
        targets: float32 (B, classes).
        weights: float32 (B,).
        augmentation: Strength of the augmentation.
        mixup: Alpha of mixup; 0 for none.
        cutmix: Alpha of CutMix; 0 for none.
        seed: Decides the augmentation.
        own: Rows of the batch to make, int64; None for all.
        part: The images that these need: with mixup and CutMix those that they are
            mixed with, too. None for all.
    """

    images: Callable[[], Images]
    targets: npt.NDArray[np.float32]
    weights: npt.NDArray[np.float32]
    augmentation: Augmentation
    mixup: float
    cutmix: float
    seed: tuple[int, ...]
    own: Rows | None = None
    part: Part | None = None


def needed_images(plan: BatchPlan, shape: tuple[int, ...]) -> Rows:
    """Returns which images of a batch its own rows need, int64, ascending.

    Args:
        plan: With its ``own`` rows; nothing is read.
        shape: Of an image.
    """
    own = np.arange(len(plan.targets)) if plan.own is None else plan.own
    if not plan.mixup and not plan.cutmix:
        return own
    rng = np.random.default_rng(plan.seed)
    nothing = Part(np.zeros(0, np.int64), len(plan.targets))
    augment(np.zeros((0, *shape), np.uint8), plan.augmentation, rng, nothing)
    pairs = draw_pairs(nothing.of, mixup=plan.mixup, cutmix=plan.cutmix, rng=rng)
    return np.union1d(own, pairs.other[own])


def make_batch(plan: BatchPlan) -> Batch:
    """Returns images uint8 (B, S, S, C), targets and weights, augmented and mixed."""
    rng = np.random.default_rng(plan.seed)
    images = augment(plan.images(), plan.augmentation, rng, plan.part)
    return mix(
        images,
        plan.targets,
        plan.weights,
        mixup=plan.mixup,
        cutmix=plan.cutmix,
        rng=rng,
        part=plan.part,
        own=plan.own,
    )
