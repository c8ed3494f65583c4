"""Splits of a labelled image set: what names one; seeded, stratified, without leaks."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Collection, Iterable, Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from edge_runtime.errors import DatasetError
from train.data.stored_images import Pixels, StoredImages

TRAIN, VALIDATION, TEST = "train", "validation", "test"
SPLITS = (TRAIN, VALIDATION, TEST)
UNLABELLED = "unlabelled"  # a folder beside the splits, to predict: never used
_WORDS = {
    TRAIN: "train training trainset traindata trainval",
    VALIDATION: "val valid validation validate dev eval valset validset publictest",
    TEST: "test testing testset testdata privatetest",
    UNLABELLED: "unlabelled unlabeled pred predict prediction holdout",
}
_SPLIT_OF = {word: split for split, words in _WORDS.items() for word in words.split()}
# Words that say nothing beside the name of a split: train_images, test-set.
_WORDS_BESIDE = (
    "set data dataset split folder image images img imgs picture pictures photo photos"
    " face faces"
)
_PLAIN = frozenset(_WORDS_BESIDE.split())


@dataclass(frozen=True)
class Split:
    """The images of one split, as a model's input.

    Attributes:
        images: uint8 (N, S, S, 1) grey or (N, S, S, 3) RGB, 0..255: an array, or images
            that are read when they are asked for.
        labels: int64 (N,), indices into ``Dataset.labels``.
        names: N names, the path inside the source or the row of the CSV.
        sources: int64 (N,), number of the image set that each is from; None: all are
            of one.
    """

    images: Pixels
    labels: npt.NDArray[np.int64]
    names: tuple[str, ...]
    sources: npt.NDArray[np.int64] | None = None

    def __len__(self) -> int:
        """Returns the number of images."""
        return len(self.labels)

    def take(self, indices: npt.NDArray[np.int64]) -> Split:
        """Returns the images at these positions, in this order."""
        names = tuple(self.names[i] for i in indices)
        sources = None if self.sources is None else self.sources[indices]
        labels = self.labels[indices]
        if isinstance(self.images, StoredImages):
            return Split(self.images.view(indices), labels, names, sources)
        return Split(self.images[indices], labels, names, sources)


def pixel_hash(image: npt.NDArray[np.uint8]) -> str:
    """Returns a hash of an image's shape and pixels (32 hexadecimal digits).

    Args:
        image: uint8 of any shape.
    """
    digest = hashlib.blake2b(repr(image.shape).encode(), digest_size=16)
    digest.update(np.ascontiguousarray(image).tobytes())
    return digest.hexdigest()


def pixel_hashes(images: Pixels) -> list[str]:
    """Returns the ``pixel_hash`` of each image; of stored ones none is read."""
    if isinstance(images, StoredImages):
        return images.hashes
    return list(map(pixel_hash, images))


def in_batches(images: Pixels, size: int) -> Iterator[npt.NDArray[np.uint8]]:
    """Yields all images in their order, uint8 (n, S, S, C) with n up to a size."""
    for start in range(0, len(images), size):
        yield images[start : start + size]


def stratified_indices(
    labels: npt.NDArray[np.int64], share: float, seed: int
) -> npt.NDArray[np.int64]:
    """Returns sorted positions of a seeded share of every class, at least one each.

    Args:
        labels: int64 (N,) class indices.
        share: Fraction of each class to take, in (0, 1).
        seed: Decides the choice.
    """
    return _sample_classes(labels, lambda size: max(1, round(share * size)), seed)


def balanced_indices(
    labels: npt.NDArray[np.int64], count: int, seed: int
) -> npt.NDArray[np.int64]:
    """Returns sorted positions of about ``count`` items, as many of each class.

    A class with too few items contributes all of them; others do not make up for it.

    Args:
        labels: int64 (N,) class indices.
        count: Total number, spread evenly over the classes.
        seed: Decides the choice.
    """
    per_class = max(1, count // max(1, len(np.unique(labels))))
    return _sample_classes(labels, lambda size: per_class, seed)


def _sample_classes(
    labels: npt.NDArray[np.int64], count_of: Callable[[int], int], seed: int
) -> npt.NDArray[np.int64]:
    rng = np.random.default_rng(seed)
    chosen = []
    for label in np.unique(labels):
        positions = rng.permutation(np.flatnonzero(labels == label))
        chosen.append(positions[: count_of(len(positions))])
    return np.sort(np.concatenate(chosen)).astype(np.int64)


def validate_on_test(
    splits: dict[str, Split], name: str
) -> tuple[dict[str, Split], str]:
    """Returns the splits with the one named test as validation, and ``"test"``.

    Raises:
        DatasetError: There is no test split.
    """
    if not len(splits[TEST]):
        raise DatasetError(f"{name} has no test split to validate on")
    empty = splits[TEST].take(np.empty(0, np.int64))
    return {**splits, VALIDATION: splits[TEST], TEST: empty}, "test"


def carve_validation(
    splits: dict[str, Split],
    share: float,
    seed: int,
    undecided: Collection[str] = (),
) -> dict[str, Split]:
    """Returns the splits with a seeded share of each class validating.

    The source's own validation split is dropped, not trained on. Of the images that
    were chosen, those named in ``undecided`` are trained on, too. Of further image sets
    the pixels decide: whatever is added to them later, what validates still does. Of a
    class that only they have, the image with the smallest hash does at least.
    """
    train = splits[TRAIN]
    if not len(train):
        return splits
    chosen = _choose_validation(train, share, seed)
    chosen = np.array([i for i in chosen if train.names[i] not in undecided], np.int64)
    rest = np.setdiff1d(np.arange(len(train)), chosen)
    return {**splits, TRAIN: train.take(rest), VALIDATION: train.take(chosen)}


def _choose_validation(train: Split, share: float, seed: int) -> npt.NDArray[np.int64]:
    if train.sources is None:
        return stratified_indices(train.labels, share, seed)
    first = np.flatnonzero(train.sources == 0)
    more = np.flatnonzero(train.sources)
    chosen = first[stratified_indices(train.labels[first], share, seed)]
    hashes = pixel_hashes(train.take(more).images)
    parts = np.array([int(each[:8], 16) / 2**32 for each in hashes])
    chosen = np.concatenate([chosen, more[parts < share]])
    labels = train.labels[more]
    for label in sorted({*labels.tolist()} - {*train.labels[chosen].tolist()}):
        of_class = np.flatnonzero(labels == label)
        least = min(of_class.tolist(), key=hashes.__getitem__)
        chosen = np.append(chosen, more[least])
    return np.sort(chosen)


def drop_leaks(splits: dict[str, Split]) -> tuple[dict[str, Split], tuple[str, ...]]:
    """Returns the splits without training images that are evaluation images.

    Returns:
        The splits, and the names of the training images dropped: those whose pixels
        occur in the validation or test split.
    """
    seen = {
        *pixel_hashes(splits[VALIDATION].images),
        *pixel_hashes(splits[TEST].images),
    }
    train = splits[TRAIN]
    leaks = np.array([h in seen for h in pixel_hashes(train.images)], dtype=bool)
    if not leaks.any():
        return splits, ()
    dropped = tuple(train.names[i] for i in np.flatnonzero(leaks))
    return {**splits, TRAIN: train.take(np.flatnonzero(~leaks))}, dropped


def count_shared(splits: dict[str, Split]) -> int:
    """Returns the number of test images whose pixels occur in the validation split."""
    seen = set(pixel_hashes(splits[VALIDATION].images))
    return sum(pixels in seen for pixels in pixel_hashes(splits[TEST].images))


def fingerprint(splits: dict[str, Split], labels: tuple[str, ...]) -> str:
    """Returns a SHA-256 of the images, labels and splits, in any order."""
    lines = sorted(
        f"{split} {labels[label]} {pixels}"
        for split, content in splits.items()
        for pixels, label in zip(
            pixel_hashes(content.images), content.labels, strict=True
        )
    )
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()


def split_of(name: str) -> str | None:
    """Returns the split of a value in a CSV, such as ``Training``."""
    split, rest = _split_and_rest(name)
    numbered = any(character.isdigit() for character in name)
    return None if rest or numbered or split == UNLABELLED else split


def find_splits(names: Iterable[str]) -> dict[str, str]:
    """Returns the split of each folder that names one, among folders side by side.

    ``test1`` and ``val2017`` name splits, too; ``seg_train`` does beside ``seg_test``,
    ``train_station`` alone does not.
    """
    parsed = {name: _split_and_rest(name) for name in names}
    found = {
        name: split
        for name, (split, rest) in parsed.items()
        if split and (not rest or _has_partner(name, parsed))
    }
    return found if set(found.values()) - {UNLABELLED} else {}


def _has_partner(name: str, parsed: dict[str, tuple[str | None, str]]) -> bool:
    split, rest = parsed[name]
    return any(
        other != split and same == rest
        for other, same in parsed.values()
        if other not in (None, UNLABELLED)
    )


def _split_and_rest(name: str) -> tuple[str | None, str]:
    """Returns the split in a name, and what else the name says."""
    words = re.findall(r"[^\W\d_]+", name.lower())
    splits = {_SPLIT_OF[word] for word in words if word in _SPLIT_OF}
    rest = [word for word in words if word not in _SPLIT_OF and word not in _PLAIN]
    if splits == {TRAIN, VALIDATION}:  # train_val: as trainval
        splits = {TRAIN}
    return (splits.pop() if len(splits) == 1 else None), " ".join(rest)
