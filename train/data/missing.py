"""Why a class has no image left to train on or to validate with."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from edge_runtime.errors import DatasetError
from edge_runtime.untrusted import one_line
from train.data.listing.entries import Entry
from train.data.listing.image_files import ImageListing
from train.data.listing.layout import NO_CLASS_FOLDER
from train.data.listing.stored_files import shorten
from train.data.splits import TEST, TRAIN, VALIDATION, Split

SHOWN_REASONS = 3


@dataclass(frozen=True)
class MissingImages:
    """What became of the images that are not in a split.

    Attributes:
        listing: The images that the source has.
        labels: Class names in order.
        unreadable: Entries that could not be decoded, and why.
        dropped: Names of training images dropped as copies.
        validation_from: As in ``train.data.dataset.Dataset``.
    """

    listing: ImageListing
    labels: tuple[str, ...]
    unreadable: Sequence[tuple[Entry, str]]
    dropped: Sequence[str]
    validation_from: str

    def require_every_class(self, splits: Mapping[str, Split]) -> None:
        """Raises DatasetError unless each class has images to train and validate."""
        for split in (TRAIN, VALIDATION):
            counts = np.bincount(splits[split].labels, minlength=len(self.labels))
            empty = [
                label
                for label, count in zip(self.labels, counts, strict=True)
                if not count
            ]
            if empty:
                raise DatasetError(
                    f"{self.listing.name}: expected images of every class in the"
                    f" {split} split, got none of {empty[:10]}:"
                    f" {'; '.join(self._reasons(split, set(empty)))}"
                )

    def _reasons(self, split: str, empty: set[str]) -> list[str]:
        moved = split == VALIDATION and self.validation_from in (TRAIN, TEST)
        source = self.validation_from if moved else split
        failed = [
            (reason, entry.name)
            for entry, reason in self.unreadable
            if entry.label in empty and entry.split == source
        ]
        counts = Counter(reason for reason, _ in failed)
        reasons = [
            f"{count:,} cannot be read ({reason})"
            for reason, count in counts.most_common(SHOWN_REASONS)
        ]
        reasons += [f"the first is {one_line(name)}" for _, name in failed[:1]]
        copies = self._count_copies(empty) if split == TRAIN else 0
        if copies:
            reasons.append(
                f"{copies:,} were dropped from training because the same pixels are in"
                " the validation or test split"
            )
        there = any(
            entry.label in empty and entry.split == source
            for entry in self.listing.entries
        )
        if there and self.validation_from == TRAIN and (copies or not reasons):
            reasons.append("each needs two different images or more, one to validate")
        return reasons or [self._hint(source, empty)]

    def _count_copies(self, empty: set[str]) -> int:
        dropped = set(self.dropped)
        return sum(
            entry.name in dropped and entry.label in empty
            for entry in self.listing.entries
        )

    def _hint(self, split: str, empty: Iterable[str]) -> str:
        """Returns what to do where a split has no folder of a class."""
        present = {e.label for e in self.listing.entries if e.split == split}
        alike = {label.casefold(): label for label in present}
        for label in sorted(empty):
            if other := alike.get(label.casefold()):
                return f"there it is called {other!r}: rename one of them"
        return (
            f"put some there, or remove the class everywhere ({split} has"
            f" {shorten(sorted(present))})"
        )


def require_training_images(listing: ImageListing) -> None:
    """Raises DatasetError where a source has splits, but none to train on."""
    present = sorted({entry.split for entry in listing.entries})
    if TRAIN in present:
        return
    hint = "give --data the folder of that split, or the one above, with train/"
    if loose := listing.ignored.get(NO_CLASS_FOLDER, ()):
        hint = f"{loose[-1]} is in no class folder (train/<class>/)"
    raise DatasetError(
        f"{listing.name}: expected images to train on, got only those of the"
        f" {' and '.join(present)} split: {hint}"
    )
