"""The folders of an image set as a tree, and the way down to its classes."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from train.data.listing.split_names import find_splits
from train.data.listing.stored_files import FileTree, Parts


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
