"""Which folders of an image set are classes, and which are splits.

As in torchvision's ImageFolder and Keras' image_dataset_from_directory the first level
is the class, whatever lies below it:

    <class>/...                cat/1.jpg, cat/indoor/2.jpg
    <split>/<class>/...        train/cat/1.jpg, val/cat/2.jpg
    <class>/<split>/<image>    cat/train/1.jpg, cat/test/2.jpg

below any number of folders that hold one folder each. What could be read in two ways
is refused.
"""

from __future__ import annotations

import logging
import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass, field

from edge_runtime.errors import DatasetError
from train.data.listing.folders import (
    Folder,
    below_common,
    below_same_split,
    below_wrappers,
    grow,
)
from train.data.listing.split_names import UNLABELLED, find_splits
from train.data.listing.stored_files import (
    FileTree,
    Parts,
    as_data,
    count_suffixes,
    shorten,
)

logger = logging.getLogger(__name__)

NO_CLASS_FOLDER = "images in no class folder"
SHOWN_KINDS = 3
# Names of splits that are names of classes, too, and how many others make them one.
CLASSES_BESIDE = {"train": 2, "valid": 1}
# Folders beside the pictures of a segmentation set or a detector's.
_NO_CLASSES = (
    "annotation annotations edge edges gt groundtruth image images img imgs jpegimages"
    " label labels mask masks segmentation segmentations"
)
NO_CLASSES = frozenset(_NO_CLASSES.split())
BESIDE_SPLITS = "images beside the splits"


@dataclass(frozen=True)
class Layout:
    """Where the classes are.

    Attributes:
        classes: Split and class name of each class folder.
        beside: Folders beside those of the splits.
        empty: What is in folders that would be classes, but have no image, by name.
    """

    classes: dict[Parts, tuple[str, str]]
    beside: tuple[Parts, ...] = ()
    empty: dict[str, str] = field(default_factory=dict)

    def place(self, parts: Parts) -> tuple[str, str] | None:
        """Returns split and class of an image; None where it has none."""
        for depth in range(1, len(parts)):
            if found := self.classes.get(parts[:depth]):
                return found
        return None

    def why_ignored(self, parts: Parts) -> str:
        """Returns why an image without a place has none."""
        if any(parts[: len(folder)] == folder for folder in self.beside):
            return BESIDE_SPLITS
        return NO_CLASS_FOLDER


def class_name(folder: str) -> str:
    """Returns the class of a folder's name: accents composed, no space at the ends."""
    return unicodedata.normalize("NFC", folder).strip()


def find_classes(tree: FileTree) -> Layout:
    """Returns which folders are classes of which split.

    Raises:
        DatasetError: The layout could be read in two ways, or has no class folders.
    """
    top = below_wrappers(grow(tree))
    found = find_splits(top.filled)
    if not found:
        return _class_first(top, tree) or _one_level(top, tree)
    splits = {
        name: below_same_split(top.filled[name], split) for name, split in found.items()
    }
    others = {name: each for name, each in top.filled.items() if name not in splits}
    sorted_splits = {name: each for name, each in splits.items() if each.filled}
    _require_one_meaning(tree, splits, others, found)
    if not sorted_splits:
        return _one_level(top, tree)
    named = {name: s for name, s in found.items() if s != UNLABELLED}
    used = {name: each for name, each in sorted_splits.items() if name in named}
    _require_different_splits(tree.name, {name: named[name] for name in used})
    layout = Layout({}, tuple(each.parts for each in others.values()))
    for name, folder in zip(used, below_common(list(used.values())), strict=True):
        part = _one_level(folder, tree, named[name])
        layout.classes.update(part.classes)
        layout.empty.update(part.empty)
    unlabelled = [top.filled[n].parts for n in found if n not in named]
    return Layout(layout.classes, (*layout.beside, *unlabelled), layout.empty)


def _require_one_meaning(
    tree: FileTree,
    splits: dict[str, Folder],
    others: dict[str, Folder],
    found: dict[str, str],
) -> None:
    """Raises DatasetError where the folders may be splits or classes.

    Of folders that hold images alone one may be a class with the name of a split:
    ``bus/``, ``car/``, ``train/``, or ``valid/``, ``invalid/``.
    """
    alone, names = len(set(found.values())) == 1, _names(splits.values())
    if any(each.filled for each in splits.values()):
        if alone and others:
            raise DatasetError(
                f"{tree.name}: {names} may be a split (it holds {_inside(splits)}) or a"
                f" class beside {_names(others.values())}: give --data the folder that"
                " holds the splits alone, or rename the class"
            )
        return
    flat = not any(each.filled for each in others.values())
    if alone and len(splits) == 1 and flat:
        (name,) = splits
        is_class = len(others) >= CLASSES_BESIDE.get(name.lower(), len(others) + 1)
        if is_class and not NO_CLASSES & {other.lower() for other in others}:
            logger.warning(
                "%s: %s is taken as a class, like %s beside it, not as a split",
                tree.name,
                names,
                _names(others.values()),
            )
            return
        if others:
            raise DatasetError(
                f"{tree.name}: {names} may be a split without class folders or a class"
                f" beside {_names(others.values())}: rename the class, or sort the"
                " images into <split>/<class>/"
            )
    raise DatasetError(
        f"{tree.name}: expected a folder for each class in {names} (<split>/<class>/),"
        f" got images without one{hint_of_labels(tree)}"
    )


def csvs_in(tree: FileTree) -> list[str]:
    """Returns the paths of CSVs."""
    return [file.path for file in tree.others if file.path.lower().endswith(".csv")]


def hint_of_labels(tree: FileTree) -> str:
    """Returns where the labels may be instead, and what to do."""
    if lists := csvs_in(tree):
        where = f": if the labels are in {shorten(lists)}, "
        return f"{where}give that CSV{as_data(tree.name)}"
    if any("labels" in file.parts[:-1] for file in tree.others):
        return (
            ": the labels/ beside them look like boxes of a detector; cut the boxes"
            " out and sort them into a folder for each class"
        )
    return (
        ": sort them into one for each class, or list them in a CSV with the columns"
        " path,label"
    )


def _names(folders: Iterable[Folder]) -> str:
    return ", ".join(sorted(map(str, folders)))


def _inside(folders: dict[str, Folder]) -> str:
    names = sorted({name for each in folders.values() for name in each.filled})
    return shorten([f"{name}/" for name in names])


def _require_different_splits(name: str, splits: dict[str, str]) -> None:
    for split in set(splits.values()):
        same = [f"{each}/" for each, its in splits.items() if its == split]
        if len(same) > 1:
            raise DatasetError(
                f"{name}: expected one {split} split, got {' and '.join(sorted(same))}:"
                " rename one of them, or put them together"
            )


def _class_first(top: Folder, tree: FileTree) -> Layout | None:
    """Returns the layout ``<class>/<split>/<image>``; None where it is not.

    Raises:
        DatasetError: Some images lie so and others do not.
    """
    inside = {name: find_splits(each.filled) for name, each in top.filled.items()}
    if not any(inside.values()):
        return None
    classes: dict[Parts, tuple[str, str]] = {}
    unlabelled = []
    for name, each in top.filled.items():
        for below, split in inside[name].items():
            parts = each.filled[below].parts
            if split == UNLABELLED:
                unlabelled.append(parts)
            else:
                classes[parts] = (split, class_name(name))
    whole = all(
        not each.images
        and set(each.filled) == set(inside[name])
        and not any(below.filled for below in each.filled.values())
        for name, each in top.filled.items()
    )
    if whole:
        return Layout(classes, tuple(unlabelled), _empty_folders(top, tree))
    with_splits = [name for name, splits in inside.items() if splits]
    if len(with_splits) == 1 and len(set(inside[with_splits[0]].values())) == 1:
        return None  # one folder somewhere has such a name
    folder = top.filled[with_splits[0]]
    raise DatasetError(
        f"{tree.name}: {folder} holds {_inside({'': folder})}, which may be splits or"
        " parts of a class: expected <split>/<class>/ or, for all images,"
        " <class>/<split>/; if it is a set of its own, give --data that folder"
    )


def _one_level(folder: Folder, tree: FileTree, split: str = "train") -> Layout:
    """Returns the layout in which the folders in this one are the classes.

    Raises:
        DatasetError: One of them holds all the others again.
    """
    filled = folder.filled
    for name, each in filled.items():
        rest = filled.keys() - {name}
        if len(rest) > 1 and rest <= each.filled.keys():
            raise DatasetError(
                f"{tree.name}: {each} holds the folders of the classes beside it again:"
                " remove the copy, or give --data that folder"
            )
    classes = {each.parts: (split, class_name(name)) for name, each in filled.items()}
    return Layout(classes, (), _empty_folders(folder, tree))


def _empty_folders(folder: Folder, tree: FileTree) -> dict[str, str]:
    """Returns what is in the folders here without an image, by class name."""
    found = {}
    for name, each in folder.folders.items():
        if not each.images_below:
            depth = len(each.parts)
            inside = [f for f in tree.others if f.parts[:depth] == each.parts]
            kinds = list(count_suffixes(inside).items())[:SHOWN_KINDS]
            found[class_name(name)] = ", ".join(f"{n:,} {kind}" for kind, n in kinds)
    return found
