"""The images of a measurement, in the form that each model takes."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from edge_runtime import Classifier
from edge_runtime.errors import ModelError
from edge_runtime.preprocessing import Colour
from train.data.dataset import DRAWN, load_split
from train.data.image_files import open_listing
from train.data.splits import (
    TEST,
    TRAIN,
    VALIDATION,
    Split,
    pixel_hash,
    stratified_indices,
)

DRAWN_NAME = "drawn faces"  # as in train.data.dataset.Dataset.name
SAMPLE_SEED = 0


@dataclass(frozen=True)
class Images:
    """The images of a measurement, in each form that one of the models takes.

    Attributes:
        name: Name of the source; ``"drawn faces"`` for the built-in set.
        split: train, validation or test.
        whole_source: True where the source has no other split than training images
            and all of them were taken.
        forms: The images by side in pixels and colour, always in the same order.
    """

    name: str
    split: str
    whole_source: bool
    forms: dict[tuple[int, Colour], Split]

    def form_for(self, classifier: Classifier) -> Split:
        """Returns the images as this model takes them."""
        return self.forms[classifier.spec.size_px, classifier.spec.colour]


def load_images(
    data: str,
    classifiers: Sequence[Classifier],
    *,
    split: str | None = None,
    limit: int | None = None,
) -> Images:
    """Returns the images of one split as the models take them.

    Args:
        data: A folder, zip, CSV or ``"drawn"``.
        classifiers: Their labels, sizes and colours decide the form.
        split: train, validation or test; None takes test, else validation, else all.
        limit: Measure about so many, a seeded sample with the classes in proportion.

    Raises:
        DatasetError: The images cannot be read or have classes no model knows.
        ModelError: The models' labels differ.
    """
    labels = _common_labels(classifiers)
    name, chosen, whole = _choose_split(data, split)
    forms = {}
    for classifier in classifiers:
        size_px, colour = classifier.spec.size_px, classifier.spec.colour
        if (size_px, colour) not in forms:
            loaded = load_split(
                data, split=chosen, size_px=size_px, colour=colour, labels=labels
            )
            forms[size_px, colour] = _limited(loaded, limit)
    return Images(name, chosen, whole, forms)


def fingerprint(split: Split, labels: Sequence[str]) -> str:
    """Returns a hash of the labels and pixels that were measured, in any order."""
    lines = sorted(
        f"{labels[label]} {pixel_hash(image)}"
        for image, label in zip(split.images, split.labels, strict=True)
    )
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()


def _common_labels(classifiers: Sequence[Classifier]) -> tuple[str, ...]:
    first = classifiers[0]
    for other in classifiers[1:]:
        if other.spec.labels != first.spec.labels:
            raise ModelError(
                f"expected models with the same labels in the same order:"
                f" {first.file.name} has {list(first.spec.labels)},"
                f" {other.file.name} has {list(other.spec.labels)}"
            )
    return first.spec.labels


def _choose_split(data: str, split: str | None) -> tuple[str, str, bool]:
    """Returns the source's name, the split to take, and whether that is everything."""
    if data == DRAWN:
        return DRAWN_NAME, split or TEST, False
    with open_listing(Path(data)) as source:
        present = {entry.split for entry in source.entries}
        name = source.name
    found = next((s for s in (TEST, VALIDATION) if s in present), TRAIN)
    chosen = split or found
    return name, chosen, chosen == TRAIN and present == {TRAIN}


def _limited(split: Split, limit: int | None) -> Split:
    if limit is None or limit >= len(split):
        return split
    return split.take(stratified_indices(split.labels, limit / len(split), SAMPLE_SEED))
