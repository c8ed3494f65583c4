"""Mixes pairs of training images and their targets: mixup and CutMix."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

Images = npt.NDArray[np.uint8]
Floats = npt.NDArray[np.float32]
Batch = tuple[Any, Any, Any]  # images, targets, weights


def mix(
    images: Images,
    targets: Floats,
    weights: Floats,
    *,
    mixup: float,
    cutmix: float,
    rng: np.random.Generator,
) -> Batch:
    """Returns a batch of which each image is mixed with another one of it.

    Where both are asked for, each batch is mixed in one of the two ways by chance.

    Args:
        images: uint8 (B, S, S, C), 0..255; not modified.
        targets: float32 (B, classes).
        weights: float32 (B,).
        mixup: Shares are drawn from Beta(mixup, mixup); 0 for no mixup.
        cutmix: The same for CutMix.
        rng: Source of all randomness.
    """
    if not mixup and not cutmix:
        return images, targets, weights
    cuts = bool(cutmix) and (not mixup or rng.random() < 0.5)
    alpha = cutmix if cuts else mixup
    share = rng.beta(alpha, alpha, len(images)).astype(np.float32)
    other = rng.permutation(len(images))
    if cuts:
        mixed, share = _cut(images, images[other], share, rng)
    else:
        mixed = _blend(images, images[other], share)
    return mixed, *_mix_targets(targets, weights, share, other)


def _blend(images: Images, others: Images, share: Floats) -> Images:
    """Returns weighted means (Zhang et al., "mixup", 2018)."""
    of_image = share[:, None, None, None]
    return np.rint(images * of_image + others * (1 - of_image)).astype(np.uint8)


def _cut(
    images: Images, others: Images, share: Floats, rng: np.random.Generator
) -> tuple[Images, Floats]:
    """Returns images with a rectangle of others, and the share of area that is left.

    After Yun et al., "CutMix" (2019), with a rectangle of its own for each image.
    """
    count, height, width, _ = images.shape
    side = np.sqrt(1 - share)
    centres = rng.random((2, count))
    sizes = np.array([height, width])[:, None]
    first = np.clip(np.rint((centres - side / 2) * sizes), 0, sizes).astype(int)
    last = np.clip(np.rint((centres + side / 2) * sizes), 0, sizes).astype(int)
    mixed = images.copy()
    for index, (top, left, bottom, right) in enumerate(np.concatenate([first, last]).T):
        mixed[index, top:bottom, left:right] = others[index, top:bottom, left:right]
    area = (last - first).prod(axis=0)
    return mixed, (1 - area / (height * width)).astype(np.float32)


def _mix_targets(
    targets: Floats, weights: Floats, share: Floats, other: npt.NDArray[np.int64]
) -> tuple[Floats, Floats]:
    """Returns targets and weights of images mixed with others.

    The loss of a mixed image is that of both, weighted by share and class: its weight
    is the sum, its target the mean by these weights.
    """
    own, others = share * weights, (1 - share) * weights[other]
    total = own + others
    target = targets * own[:, None] + targets[other] * others[:, None]
    return (target / total[:, None]).astype(np.float32), total
