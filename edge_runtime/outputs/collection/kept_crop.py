"""What is known of a crop on the disk, and which of many goes first."""

from __future__ import annotations

from collections import defaultdict, deque
from collections.abc import Iterable, Iterator, Sequence
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
    count, size = len(crops), sum(crop.size for crop in crops)
    free = [crop for crop in crops if not crop.labelled]
    worst_first, removed = _worst_first(free, limits.random_frac), list[KeptCrop]()
    while count > limits.max_crops or size > limits.max_megabytes * 10**6:
        worst = next(worst_first, None)
        if worst is None:
            break
        removed.append(worst)
        count, size = count - 1, size - worst.size
    return removed


def _worst_first(free: Sequence[KeptCrop], random_frac: float) -> Iterator[KeptCrop]:
    yield from (crop for crop in free if crop.discarded)
    rest = [crop for crop in free if not crop.discarded]
    at_random = deque(crop for crop in rest if crop.random)
    chosen = _of_the_most_frequent(crop for crop in rest if not crop.random)
    for left in range(len(rest), 0, -1):
        if len(at_random) > random_frac * left:
            yield at_random.popleft()
        elif (worst := next(chosen, None)) is not None:
            yield worst
        else:  # all are to be random ones
            yield from _of_the_most_frequent(at_random)
            return


def _of_the_most_frequent(crops: Iterable[KeptCrop]) -> Iterator[KeptCrop]:
    """Yields of the label with most crops left the one with the least score."""
    by_label = defaultdict[str, list[KeptCrop]](list)
    for crop in crops:
        by_label[crop.label].append(crop)
    for same in by_label.values():  # the worst last, of equal ones the oldest
        same.sort(key=lambda crop: crop.score)
        same.reverse()
    while by_label:
        label = min(
            by_label,
            key=lambda label: (-len(by_label[label]), by_label[label][-1].score),
        )
        yield by_label[label].pop()
        if not by_label[label]:
            del by_label[label]
