"""The labelled crops of several folders and datasets, without copies."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from edge_runtime.outputs.collection.found_crops import FoundCrop, crops_in
from edge_runtime.outputs.collection.kept_crop import RANDOM


class RandomRight(NamedTuple):
    """How often a model was right about reviewed crops that were taken at random.

    Attributes:
        name: Of its file; empty where it is unknown.
        sha256: Of its file; likewise.
        right: Number of right answers.
        all: Number of crops.
    """

    name: str
    sha256: str
    right: int
    all: int


@dataclass
class LabelledCrops:
    """Crops to train on, and what was left out.

    Attributes:
        crops: By the SHA-256 of their images, with their labels.
        unreviewed: Number of those that nobody has looked at.
        discarded: Number of those that people threw away.
        copies: Number of those that are there already.
        damaged: Number of those that cannot be read.
        contradictory: Number of those that people gave different answers.
    """

    crops: dict[str, tuple[str, FoundCrop]] = field(default_factory=dict)
    unreviewed: int = 0
    discarded: int = 0
    copies: int = 0
    damaged: int = 0
    contradictory: int = 0

    @property
    def counts(self) -> Counter[str]:
        """Number of crops by label."""
        return Counter(label for label, _ in self.crops.values())

    def random_right(self) -> list[RandomRight]:
        """Returns how often each model was right, of what was taken at random."""
        right = dict[str, RandomRight]()
        for label, crop in self.crops.values():
            if crop.label is None or crop.entry.get("reason") != RANDOM:
                continue
            name, sha256 = _model_of(crop)
            before = right.get(sha256, RandomRight(name, sha256, 0, 0))
            counted = before.right + (label == crop.answer), before.all + 1
            right[sha256] = RandomRight(name, sha256, *counted)
        return list(right.values())


def read_labelled(
    opened: ExitStack, sources: Sequence[Path], *, with_unreviewed: bool
) -> LabelledCrops:
    """Returns the labelled crops of folders and datasets.

    Args:
        opened: Closes the datasets; their images are read before.
        sources: Folders of ``run --collect``, and zips that were made of them.
        with_unreviewed: Take the model's answer where nobody has looked.

    Raises:
        SourceError: One is neither.
    """
    result, answers = LabelledCrops(), defaultdict[str, set[str | None]](set)
    for source in sources:
        for crop in crops_in(opened, source):
            if crop is None:
                result.damaged += 1
            else:
                _add(crop, result, with_unreviewed=with_unreviewed)
                if crop.discarded or crop.label is not None:
                    answers[crop.sha256].add(crop.label)
    for sha256, given in answers.items():
        result.contradictory += len(given) > 1
        if len(given) > 1 or None in given:  # to discard it is an answer, too
            result.crops.pop(sha256, None)
    return result


def _add(crop: FoundCrop, result: LabelledCrops, *, with_unreviewed: bool) -> None:
    if crop.discarded:
        result.discarded += 1
        return
    if crop.label is None and not with_unreviewed:
        result.unreviewed += 1
        return
    label = crop.answer if crop.label is None else crop.label
    if crop.sha256 in result.crops:
        result.copies += 1
        _, first = result.crops[crop.sha256]
        if crop.label is None or first.label is not None:
            return  # else: a person knows better
    result.crops[crop.sha256] = label, crop


def _model_of(crop: FoundCrop) -> tuple[str, str]:
    model = crop.entry.get("model")
    known = model if isinstance(model, dict) else {}
    return str(known.get("name", "")), str(known.get("sha256", ""))
