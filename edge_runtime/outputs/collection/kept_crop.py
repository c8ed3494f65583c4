"""What is known of a crop on the disk, and which of many goes first."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import NamedTuple

from edge_runtime.outputs.base import CollectLimits
from edge_runtime.outputs.collection.crop_files import Document

RANDOM = "random"  # the reason of a crop that was chosen whatever the model says


class KeptCrop(NamedTuple):
    """What is known of a crop on the disk.

    Attributes:
        name: Of its files, without suffix.
        label: The model's.
        score: How much there was to learn from it, 0..1.
        random: It was chosen at random.
        size: Bytes of both files.
        reviewed: A person has labelled or discarded it.
        discarded: The latter.
    """

    name: str
    label: str
    score: float
    random: bool
    size: int
    reviewed: bool = False
    discarded: bool = False

    @property
    def labelled(self) -> bool:
        """Whether a person's work would be lost with it."""
        return self.reviewed and not self.discarded


def kept_crop(name: str, document: Document, size: int) -> KeptCrop:
    """Returns what is known of a crop from its document and its bytes on the disk."""
    review = document.get("review")
    return KeptCrop(
        name,
        document["label"],
        float(document["score"]),
        document.get("reason") == RANDOM,
        size,
        review is not None,
        review is not None and review.get("label") is None,
    )


def beyond_limits(crops: Sequence[KeptCrop], limits: CollectLimits) -> list[KeptCrop]:
    """Returns the crops to remove until the others are within number and bytes.

    In this order: discarded crops, random ones beyond their share, and of the label
    with most crops the one with the least score. Labelled ones never.

    Args:
        crops: The oldest first.
        limits: The limits.
    """
    rest, removed = list(crops), list[KeptCrop]()
    size = sum(crop.size for crop in rest)
    while len(rest) > limits.max_crops or size > limits.max_megabytes * 10**6:
        worst = _least_useful(rest, limits.random_frac)
        if worst is None:
            break
        rest.remove(worst)
        removed.append(worst)
        size -= worst.size
    return removed


def _least_useful(crops: Sequence[KeptCrop], random_frac: float) -> KeptCrop | None:
    free = [crop for crop in crops if not crop.labelled]
    if discarded := [crop for crop in free if crop.discarded]:
        return discarded[0]
    at_random = [crop for crop in free if crop.random]
    if len(at_random) > random_frac * len(free):
        return at_random[0]
    chosen = [crop for crop in free if not crop.random] or free
    if not chosen:
        return None
    counts = Counter(crop.label for crop in chosen)
    return min(chosen, key=lambda crop: (-counts[crop.label], crop.score))
