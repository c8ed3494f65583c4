"""Mixes pairs of training images and their targets: mixup and CutMix."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from train.data.augment import Part

Images = npt.NDArray[np.uint8]
Floats = npt.NDArray[np.float32]
Batch = tuple[Any, Any, Any]  # images, targets, weights


class Pairs(NamedTuple):
    """Which images of a batch are mixed, and how.

    Attributes:
        share: Of the image itself, float32 (B,).
        other: The image that each is mixed with, int64 (B,).
        centres: Of the rectangles of CutMix, as fractions of height and width, float64
            (2, B); None for mixup.
    """

    share: Floats
    other: npt.NDArray[np.int64]
    centres: npt.NDArray[np.float64] | None


def draw_pairs(
    count: int, *, mixup: float, cutmix: float, rng: np.random.Generator
) -> Pairs:
    """Returns how a batch is mixed; with mixup and CutMix one of them, by chance.

    Args:
        count: Images of the batch.
        mixup: Shares are drawn from Beta(mixup, mixup); 0 for no mixup.
        cutmix: The same for CutMix.
        rng: Source of all randomness.
    """
    cuts = bool(cutmix) and (not mixup or rng.random() < 0.5)
    alpha = cutmix if cuts else mixup
    share = rng.beta(alpha, alpha, count).astype(np.float32)
    other = rng.permutation(count)
    return Pairs(share, other, rng.random((2, count)) if cuts else None)


def mix(
    images: Images,
    targets: Floats,
    weights: Floats,
    *,
    mixup: float,
    cutmix: float,
    rng: np.random.Generator,
    part: Part | None = None,
    own: npt.NDArray[np.int64] | None = None,
) -> Batch:
    """Returns a batch of which each image is mixed with another one of it.

    Where both are asked for, each batch is mixed in one of the two ways by chance.

    Args:
        images: uint8 (N, S, S, C), 0..255; not modified.
        targets: float32 (B, classes).
        weights: float32 (B,).
        mixup: Shares are drawn from Beta(mixup, mixup); 0 for no mixup.
        cutmix: The same for CutMix.
        rng: Source of all randomness.
        part: Where in the batch the images are; None for all of it.
        own: Rows of the batch to return, int64; None for all.
    """
    own = np.arange(len(targets)) if own is None else own
    if not mixup and not cutmix:
        return images, targets[own], weights[own]
    pairs = draw_pairs(len(targets), mixup=mixup, cutmix=cutmix, rng=rng)
    other, share = pairs.other[own], pairs.share[own]
    rows = np.arange(len(targets)) if part is None else part.rows
    images, others = (images[np.searchsorted(rows, each)] for each in (own, other))
    if pairs.centres is None:
        mixed = _blend(images, others, share)
    else:
        mixed, share = _cut(images, others, share, pairs.centres[:, own])
    return mixed, *_mix_targets(targets, weights, share, own, other)


def _blend(images: Images, others: Images, share: Floats) -> Images:
    """Returns weighted means (Zhang et al., "mixup", 2018)."""
    of_image = share[:, None, None, None]
    return np.rint(images * of_image + others * (1 - of_image)).astype(np.uint8)


def _cut(
    images: Images,
    others: Images,
    share: Floats,
    centres: npt.NDArray[np.float64],
) -> tuple[Images, Floats]:
    """Returns images with a rectangle of others, and the share of area that is left.

    After Yun et al., "CutMix" (2019), with a rectangle of its own for each image.
    """
    height, width = images.shape[1:3]
    side = np.sqrt(1 - share)
    sizes = np.array([height, width])[:, None]
    first = np.clip(np.rint((centres - side / 2) * sizes), 0, sizes).astype(int)
    last = np.clip(np.rint((centres + side / 2) * sizes), 0, sizes).astype(int)
    mixed = images.copy()
    for index, (top, left, bottom, right) in enumerate(np.concatenate([first, last]).T):
        mixed[index, top:bottom, left:right] = others[index, top:bottom, left:right]
    area = (last - first).prod(axis=0)
    return mixed, (1 - area / (height * width)).astype(np.float32)


def _mix_targets(
    targets: Floats,
    weights: Floats,
    share: Floats,
    own: npt.NDArray[np.int64],
    other: npt.NDArray[np.int64],
) -> tuple[Floats, Floats]:
    """Returns targets and weights of images mixed with others.

    The loss of a mixed image is that of both, weighted by share and class: its weight
    is the sum, its target the mean by these weights.
    """
    first, second = share * weights[own], (1 - share) * weights[other]
    total = first + second
    target = targets[own] * first[:, None] + targets[other] * second[:, None]
    return (target / total[:, None]).astype(np.float32), total
