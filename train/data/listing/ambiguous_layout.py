"""Layouts of an image set that the names of its folders leave open.

``train/`` beside ``bus/`` and ``car/`` may be a split or a class, ``cat/train/`` a
split of the class or a part of it. The other folders decide, or the set is refused.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable
from dataclasses import replace

from edge_runtime.errors import DatasetError
from train.data.listing.layout import (
    NO_CLASSES,
    Folder,
    Layout,
    class_name,
    empty_folders,
    one_level,
    top_folders,
)
from train.data.listing.stored_files import FileTree, Parts, as_data, shorten
from train.data.splits import UNLABELLED, find_splits

logger = logging.getLogger(__name__)

# Names of splits that are names of classes, too, and how many others make them one.
CLASSES_BESIDE = {"train": 2, "valid": 1}
PICTURES = frozenset(("image", "images", "img", "imgs"))


def resolve(tree: FileTree, layout: Layout | None) -> Layout:
    """Returns which folders are classes, where their names do not settle it.

    Args:
        tree: The files.
        layout: As ``find_classes`` returned it.

    Raises:
        DatasetError: They could still be read in two ways, or have no class folders.
    """
    if layout is None:
        layout = _from_other_folders(tree)
    _check_classes(tree, layout)
    return replace(layout, masks=_mask_folders(tree))


def _from_other_folders(tree: FileTree) -> Layout:
    top, found, splits, others = top_folders(tree)
    if not found:
        return _class_first(top, tree) or one_level(top, tree)
    _require_classes(tree, splits, others, alone=len(set(found.values())) == 1)
    return one_level(top, tree)


def _require_classes(
    tree: FileTree, splits: dict[str, Folder], others: dict[str, Folder], *, alone: bool
) -> None:
    """Raises DatasetError unless all folders are classes, also those named as a split.

    One may be, of folders that hold nothing but images: ``bus/``, ``car/``, ``train/``,
    or ``valid/``, ``invalid/``.
    """
    names = _names(splits.values())
    if any(each.filled for each in splits.values()):
        raise DatasetError(
            f"{tree.name}: {names} may be a split (it holds {_inside(splits)}) or a"
            f" class beside {_names(others.values())}: give --data the folder that"
            " holds the splits alone, or rename the class"
        )
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


def _check_classes(tree: FileTree, layout: Layout) -> None:
    """Refuses folders that are not classes by name, and warns of others below.

    Raises:
        DatasetError: They are ``images/`` and ``masks/``, or only ``images/``.
    """
    names = {label for _, label in layout.classes.values()}
    below: dict[Parts, set[str]] = {parts: set() for parts in layout.classes}
    for file in tree.images:
        for depth in range(1, len(file.parts) - 1):
            if file.parts[:depth] in below:
                below[file.parts[:depth]].add(file.parts[depth])
    if names and {name.lower() for name in names} <= NO_CLASSES:
        holding = sorted(parts for parts, inside in below.items() if len(inside) > 1)
        hint = hint_of_labels(tree)
        if holding:
            hint = (
                f": give --data {'/'.join(holding[0])}/ if its folders are the classes"
            )
        raise DatasetError(
            f"{tree.name}: expected a folder for each class, got"
            f" only {sorted(names)}{hint}"
        )
    shared = set.intersection(*below.values()) if below else set()
    if len(names) > 1 and len(shared) > 1 and not shared <= NO_CLASSES:
        logger.warning(
            "%s: the classes are the folders %s; %s in each of them are not told apart"
            " (if they are the classes, give --data one of these folders)",
            tree.name,
            shorten(sorted(names)),
            shorten(sorted(shared)),
        )


def _mask_folders(tree: FileTree) -> frozenset[Parts]:
    """Returns the folders with masks of the images in the folder beside them."""
    folders = {file.parts[:-1] for file in tree.images}
    with_pictures = {
        folder[:-1] for folder in folders if folder and folder[-1].lower() in PICTURES
    }
    return frozenset(
        folder
        for folder in folders
        if folder[:-1] in with_pictures and folder[-1].lower() in NO_CLASSES - PICTURES
    )


def hint_of_labels(tree: FileTree) -> str:
    """Returns where the labels may be instead, and what to do."""
    if lists := [file.path for file in tree.csvs]:
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


def _class_first(top: Folder, tree: FileTree) -> Layout | None:
    """Returns the layout ``<class>/<split>/<image>``; None where it is not.

    Raises:
        DatasetError: Some images lie so and others do not.
    """
    inside = {name: find_splits(each.filled) for name, each in top.filled.items()}
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
        return Layout(classes, tuple(unlabelled), empty_folders(top, tree))
    with_splits = [name for name, splits in inside.items() if splits]
    if len(with_splits) == 1 and len(set(inside[with_splits[0]].values())) == 1:
        return None  # one folder somewhere has such a name
    folder = top.filled[with_splits[0]]
    raise DatasetError(
        f"{tree.name}: {folder} holds {_inside({'': folder})}, which may be splits or"
        " parts of a class: expected <split>/<class>/ or, for all images,"
        " <class>/<split>/; if it is a set of its own, give --data that folder"
    )
