"""Which folders name a split: train, validation or test."""

from __future__ import annotations

import re
from collections.abc import Iterable

UNLABELLED = "unlabelled"  # a folder beside the splits, to predict: never used
_WORDS = {
    "train": "train training trainset traindata trainval",
    "validation": "val valid validation validate dev eval valset validset publictest",
    "test": "test testing testset testdata privatetest",
    UNLABELLED: "unlabelled unlabeled pred predict prediction holdout",
}
_SPLIT_OF = {word: split for split, words in _WORDS.items() for word in words.split()}
# Words that say nothing beside the name of a split: train_images, test-set.
_PLAIN = frozenset(
    [
        "set",
        "data",
        "dataset",
        "split",
        "folder",
        "image",
        "images",
        "img",
        "imgs",
        "picture",
        "pictures",
        "photo",
        "photos",
        "face",
        "faces",
    ]
)


def split_of(name: str) -> str | None:
    """Returns the split of a value in a CSV, such as ``Training``."""
    split, rest = _parse(name)
    numbered = any(character.isdigit() for character in name)
    return None if rest or numbered or split == UNLABELLED else split


def find_splits(names: Iterable[str]) -> dict[str, str]:
    """Returns the split of each folder that names one, among folders side by side.

    ``test1`` and ``val2017`` name splits, too; ``seg_train`` does beside ``seg_test``,
    ``train_station`` alone does not.
    """
    parsed = {name: _parse(name) for name in names}
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


def _parse(name: str) -> tuple[str | None, str]:
    """Returns the split in a name, and what else the name says."""
    words = re.findall(r"[^\W\d_]+", name.lower())
    splits = {_SPLIT_OF[word] for word in words if word in _SPLIT_OF}
    rest = [word for word in words if word not in _SPLIT_OF and word not in _PLAIN]
    if splits == {"train", "validation"}:  # train_val: as trainval
        splits = {"train"}
    return (splits.pop() if len(splits) == 1 else None), " ".join(rest)
