"""Which folders of an image set are classes, and which are splits.

As in torchvision's ImageFolder and Keras' image_dataset_from_directory the first level
is the class, whatever lies below it:

    <class>/...                cat/1.jpg, cat/indoor/2.jpg
    <split>/<class>/...        train/cat/1.jpg, val/cat/2.jpg
    <class>/<split>/<image>    cat/train/1.jpg, cat/test/2.jpg

below any number of folders that hold one folder each. The third, and what could be read
in two ways, is decided in ``ambiguous_layout``.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import NamedTuple

from edge_runtime.errors import DatasetError
from train.data.listing.stored_files import FileTree, Parts, count_suffixes
from train.data.splits import UNLABELLED, find_splits

NO_CLASS_FOLDER = "images in no class folder"
BESIDE_SPLITS = "images beside the splits"
MASKS = "masks beside the images"
# Folders beside the pictures of a segmentation set or a detector's.
_NO_CLASSES = (
    "annotation annotations edge edges gt groundtruth image images img imgs jpegimages"
    " label labels mask masks segmentation segmentations"
)
NO_CLASSES = frozenset(_NO_CLASSES.split())
SHOWN_KINDS = 3


@dataclass
class Folder:
    """A folder with the number of images in it and below it."""

    parts: Parts
    images: int = 0
    images_below: int = 0
    folders: dict[str, Folder] = field(default_factory=dict)

    @property
    def filled(self) -> dict[str, Folder]:
        """The folders in it that have images."""
        each = self.folders.items()
        return {name: folder for name, folder in each if folder.images_below}

    @property
    def only(self) -> Folder | None:
        """The single folder with images, unless there are images beside it."""
        filled = list(self.filled.values())
        return filled[0] if len(filled) == 1 and not self.images else None

    def __str__(self) -> str:
        """Returns the path with a slash behind it."""
        return "/".join(self.parts) + "/"


def grow(tree: FileTree) -> Folder:
    """Returns the folders of a tree, with the number of images in each."""
    top = Folder(())
    for parts in tree.folders:
        for _ in _path_to(top, parts):
            pass
    for image in tree.images:
        for folder in _path_to(top, image.parts[:-1]):
            folder.images_below += 1
        folder.images += 1
    return top


def _path_to(top: Folder, parts: Parts) -> Iterator[Folder]:
    """Yields the folders from the top to this one; they are made where missing."""
    yield (folder := top)
    for name in parts:
        child = folder.folders.get(name)
        if child is None:
            child = folder.folders[name] = Folder((*folder.parts, name))
        yield (folder := child)


def below_wrappers(folder: Folder) -> Folder:
    """Returns the first folder below that holds classes or splits."""
    while len(folder.filled) == 1:
        (name, below), *_ = folder.filled.items()
        inside = below.filled
        is_split = bool(find_splits([name]))
        if (
            not inside
            or below.images
            or (is_split and set(find_splits(inside)) != set(inside))
        ):
            break
        folder = below
    return folder


def below_same_split(folder: Folder, split: str) -> Folder:
    """Returns the innermost of ``training_set/training_set/`` and the like."""
    while folder.only is not None:
        name = folder.only.parts[-1]
        again = name == folder.parts[-1] or find_splits([name]).get(name) == split
        if not again:
            break
        folder = folder.only
    return folder


def below_common(folders: list[Folder]) -> list[Folder]:
    """Returns the folders of the splits below one that all of them have.

    In ``train/animals/cat/`` and ``test/animals/cat/`` one class would be no choice.
    """
    while len({name for each in folders for name in each.filled}) == 1:
        below = [each.only for each in folders]
        if not all(each is not None and each.filled for each in below):
            break
        folders = [each for each in below if each is not None]
    return folders


@dataclass(frozen=True)
class Layout:
    """Where the classes are.

    Attributes:
        classes: Split and class name of each class folder.
        beside: Folders beside those of the splits.
        empty: What is in folders that would be classes, but have no image, by name.
        masks: Folders with masks of the images beside them.
    """

    classes: dict[Parts, tuple[str, str]]
    beside: tuple[Parts, ...] = ()
    empty: dict[str, str] = field(default_factory=dict)
    masks: frozenset[Parts] = frozenset()

    def is_plain(self, tree: FileTree) -> bool:
        """Returns whether all images lie in class folders with names of classes."""
        names = {name.lower() for _, name in self.classes.values()}
        return not names & NO_CLASSES and all(
            image.parts[:-1] in self.classes for image in tree.images
        )

    def place(self, parts: Parts) -> tuple[str, str] | None:
        """Returns split and class of an image; None where it has none."""
        if parts[:-1] in self.masks:
            return None
        for depth in range(1, len(parts)):
            if found := self.classes.get(parts[:depth]):
                return found
        return None

    def why_ignored(self, parts: Parts) -> str:
        """Returns why an image without a place has none."""
        if parts[:-1] in self.masks:
            return MASKS
        if any(parts[: len(folder)] == folder for folder in self.beside):
            return BESIDE_SPLITS
        return NO_CLASS_FOLDER


def class_name(folder: str) -> str:
    """Returns the class of a folder's name: accents composed, no space at the ends."""
    return unicodedata.normalize("NFC", folder).strip()


class TopFolders(NamedTuple):
    """The folders side by side that are classes or splits.

    Attributes:
        top: The folder that holds them.
        found: Split of each folder that names one.
        splits: These folders, or what they hold under the same name.
        others: The folders beside them.
    """

    top: Folder
    found: dict[str, str]
    splits: dict[str, Folder]
    others: dict[str, Folder]


def top_folders(tree: FileTree) -> TopFolders:
    """Returns the first folders of a tree that are classes or splits."""
    top = below_wrappers(grow(tree))
    filled, found = top.filled, find_splits(top.filled)
    splits = {name: below_same_split(filled[name], s) for name, s in found.items()}
    others = {name: each for name, each in filled.items() if name not in splits}
    return TopFolders(top, found, splits, others)


def find_classes(tree: FileTree) -> Layout | None:
    """Returns which folders are classes of which split; None where that is not clear.

    Raises:
        DatasetError: Two folders are the same split, or hold copies of the classes.
    """
    top, found, splits, others = top_folders(tree)
    if not found:
        with_splits = any(find_splits(each.filled) for each in others.values())
        return None if with_splits else one_level(top, tree)
    alone = len(set(found.values())) == 1
    if (alone and others) or not any(each.filled for each in splits.values()):
        return None
    named = {name: s for name, s in found.items() if s != UNLABELLED}
    used = {name: splits[name] for name in named if splits[name].filled}
    _require_different_splits(tree.name, {name: named[name] for name in used})
    layout = Layout({}, tuple(each.parts for each in others.values()))
    for name, folder in zip(used, below_common(list(used.values())), strict=True):
        part = one_level(folder, tree, named[name])
        layout.classes.update(part.classes)
        layout.empty.update(part.empty)
    unlabelled = [top.filled[n].parts for n in found if n not in named]
    classes = _without_plain_images(layout.classes)
    return Layout(classes, (*layout.beside, *unlabelled), layout.empty)


def _without_plain_images(
    classes: dict[Parts, tuple[str, str]],
) -> dict[Parts, tuple[str, str]]:
    """Returns the class folders without ``val/images/``, where others are classes."""
    names: dict[str, set[str]] = {}
    for split, name in classes.values():
        names.setdefault(split, set()).add(name.lower())
    plain = {split for split, each in names.items() if each <= NO_CLASSES}
    if plain == names.keys():
        return classes
    return {parts: each for parts, each in classes.items() if each[0] not in plain}


def _require_different_splits(name: str, splits: dict[str, str]) -> None:
    for split in set(splits.values()):
        same = [f"{each}/" for each, its in splits.items() if its == split]
        if len(same) > 1:
            raise DatasetError(
                f"{name}: expected one {split} split, got {' and '.join(sorted(same))}:"
                " rename one of them, or put them together"
            )


def one_level(folder: Folder, tree: FileTree, split: str = "train") -> Layout:
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
    return Layout(classes, (), empty_folders(folder, tree))


def empty_folders(folder: Folder, tree: FileTree) -> dict[str, str]:
    """Returns what is in the folders here without an image, by class name."""
    found = {}
    for name, each in folder.folders.items():
        if not each.images_below:
            depth = len(each.parts)
            inside = [f for f in tree.others if f.parts[:depth] == each.parts]
            kinds = list(count_suffixes(inside).items())[:SHOWN_KINDS]
            found[class_name(name)] = ", ".join(f"{n:,} {kind}" for kind, n in kinds)
    return found
