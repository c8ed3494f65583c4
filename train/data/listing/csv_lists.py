"""Labelled images that a CSV lists.

emotion,pixels,Usage        fer2013.csv and the files of its challenge
path,label[,split]          one image in each row, relative to the CSV
filename,cat,dog            a 1 in its class; Roboflow's _classes.csv in each split
"""

from __future__ import annotations

import errno
import posixpath
import unicodedata
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path, PurePosixPath
from typing import NoReturn

from edge_runtime.errors import DatasetError
from train.data.listing import fer2013
from train.data.listing.csv_images import ImagesBelow
from train.data.listing.csv_table import CsvTable, column_key, open_table
from train.data.listing.entries import Entry
from train.data.listing.stored_files import FileTree, StoredFile, as_data, stored_file
from train.data.splits import find_splits, split_of

# Names of columns, the most telling first.
PATHS = ("path", "file", "filename", "file name", "filepath", "file path", "image",
         "image path", "image name", "image file", "img", "img path", "img name",
         "image id", "id code", "id")  # fmt: skip
LABELS = ("label", "labels", "class", "category", "class name", "label name", "target",
          "class id", "classid", "label id", "breed", "species", "diagnosis",
          "emotion", "expression")  # fmt: skip
SPLITS = ("split", "usage", "set", "subset", "partition")
BOXES = {"xmin", "x min", "ymin", "y min", "x1", "bbox", "xcenter", "x center"}
ONE_HOT_NAME = "_classes.csv"
# As pandas writes them, too.
FLAGS = dict.fromkeys(("0", "0.0", "false"), False) | dict.fromkeys(
    ("1", "1.0", "true"), True
)
WITHOUT_LABEL = "images without a class in the CSV"
UNUSED_COLUMNS = "columns of the CSV"
NOT_LISTED = "images that the CSV does not list"

Files = Callable[[str], StoredFile]  # the image at a path in a CSV
Row = tuple[int, str, str, str]  # number, path, label (may be empty), split


def read_csv(path: Path) -> tuple[list[Entry], dict[str, list[str]]]:
    """Returns the images that a CSV on the disk lists, and what it leaves out.

    Raises:
        DatasetError: It cannot be read, has other columns, or a row is wrong.
    """
    with open_table(stored_file(path, path.name), path.name) as table:
        if (entries := _read_pixels(table)) is not None:
            return entries, {}
        entries, ignored = _collect(
            _list_rows(table, path.parent), table.name, ImagesBelow(path.parent).find
        )
        if unused := _unused_columns(table):
            ignored[UNUSED_COLUMNS] = unused
        return entries, ignored


def _read_pixels(table: CsvTable) -> list[Entry] | None:
    """Returns the images of a CSV that holds their pixels; None of another.

    Raises:
        DatasetError: They have no class, or a row is wrong.
    """
    if "pixels" not in table.keys:
        return None
    if "emotion" not in table.keys:
        raise DatasetError(
            f"{table.name}: expected a column emotion beside the pixels, got"
            f" {_shown(table)}: images to predict cannot be learnt from"
        )
    return list(fer2013.read_entries(table))


def _list_rows(table: CsvTable, folder: Path) -> Iterator[Row]:
    """Yields the rows of a CSV in this folder that has paths and labels.

    Raises:
        DatasetError: It has other columns, or a row is wrong.
    """
    keys = table.keys
    paths, labels = _present(PATHS, keys), _present(LABELS, keys)
    one_hot = bool(paths) and not labels and len(keys) > 2
    rows = list(table.rows) if paths and (labels or one_hot) else []
    if one_hot and _has_flags(rows[:1], paths[0]):
        yield from _one_hot_rows(table, rows, paths[0], ())
        return
    if not paths or not labels:
        raise DatasetError(
            f"{table.name}: expected the columns {','.join(fer2013.FER2013_COLUMNS)} or"
            f" path,label (and split), got {_shown(table)}"
        )
    if BOXES & set(keys):
        raise DatasetError(
            f"{table.name}: expected one class for each image, got boxes of a detector"
            f" ({_shown(table)}): cut the boxes out and sort them into class folders"
        )
    if len(labels) > 1:
        raise DatasetError(
            f"{table.name}: expected one column with the label, got"
            f" {' and '.join(labels)}: remove or rename the others"
        )
    split = next(iter(_present(SPLITS, keys)), None)
    names = [row[paths[0]].replace("\\", "/") for _, row in rows]
    below = _paths_below(names, folder)
    for (number, row), name, path in zip(rows, names, below, strict=True):
        said = row[split] if split else ""
        default = None if split else "train"  # an empty cell says nothing
        found = split_of(said) if said else split_of_path(path) or default
        if not name or found is None:
            raise DatasetError(
                f"{table.name} row {number}: expected a path, and train, val or test as"
                f" its split, got {name[:40]!r} and {said[:20]!r}"
            )
        yield number, name, row[labels[0]], found


def _paths_below(names: Iterable[str], folder: Path) -> list[str]:
    """Returns paths without the folders above the set: ``/home/test`` is not a split.

    Those outside of the folder begin below what they have in common.
    """
    base = str(folder.absolute())
    whole = [posixpath.normpath(posixpath.join(base, name)) for name in names]
    outside = {posixpath.dirname(path) for path in whole if not _is_below(path, base)}
    above = posixpath.commonpath(outside) if outside else base
    return [
        posixpath.relpath(path, base if _is_below(path, base) else above)
        for path in whole
    ]


def _is_below(path: str, folder: str) -> bool:
    return path.startswith(folder.rstrip("/") + "/")


def _unused_columns(table: CsvTable) -> list[str]:
    """Returns the columns that say neither path nor class nor split of an image."""
    keys = table.keys
    if not (labels := _present(LABELS, keys)):
        return []  # each is a class
    used = {*labels, *_present(PATHS, keys)[:1], *_present(SPLITS, keys)[:1]}
    return [name for name in table.columns if name and column_key(name) not in used]


def _present(names: Sequence[str], keys: Iterable[str]) -> list[str]:
    return [name for name in names if name in set(keys)]


def _shown(table: CsvTable) -> str:
    return repr(",".join(table.columns)[:80])


def split_of_path(path: str) -> str | None:
    """Returns the split that the folders of a path name, the innermost first."""
    folders = reversed(PurePosixPath(path).parts[:-1])
    return next((s for each in folders for s in find_splits([each]).values()), None)


def _collect(
    rows: Iterable[Row], name: str, find: Files
) -> tuple[list[Entry], dict[str, list[str]]]:
    """Returns the entries in the order of their paths, each path once."""
    entries: dict[str, Entry] = {}
    without = []
    for number, path, text, split in rows:
        label = unicodedata.normalize("NFC", text)
        if not label:
            without.append(path)
            continue
        file = find(path)
        entry = Entry(path, split, label, file.read, file.stamp)
        first = entries.setdefault(path, entry)
        if (first.label, first.split) != (label, split):
            raise DatasetError(
                f"{name} row {number}: expected one class and split for each image, got"
                f" {label!r} in {split} for {path}, which is {first.label!r} in"
                f" {first.split} further up"
            )
    ordered = sorted(entries.values(), key=lambda entry: PurePosixPath(entry.name))
    return ordered, {WITHOUT_LABEL: without} if without else {}


def read_csv_in(tree: FileTree) -> tuple[list[Entry], dict[str, list[str]]] | None:
    """Returns the images that CSVs in a folder or zip list; None without such.

    Read are Roboflow's ``_classes.csv``, and a single CSV where there are no images
    beside it (``fer2013.csv`` in a zip), which then holds their pixels.

    Raises:
        DatasetError: A CSV is wrong, or there are several.
    """
    lists = tree.csvs
    one_hot = [file for file in lists if file.parts[-1] == ONE_HOT_NAME]
    if one_hot:
        return _read_one_hot(one_hot, tree)
    if tree.images or not lists:
        return None
    if len(lists) > 1:
        raise DatasetError(
            f"{tree.name}: expected one CSV, got"
            f" {', '.join(sorted(file.path for file in lists)[:10])}: give one of them"
            f"{as_data(tree.name)}"
        )
    with open_table(lists[0], f"{tree.name}: {lists[0].path}") as table:
        if (entries := _read_pixels(table)) is None:
            raise DatasetError(
                f"{table.name}: expected the columns"
                f" {','.join(fer2013.FER2013_COLUMNS)}, as there are no images in"
                f" {tree.name}, got {_shown(table)}: give that CSV{as_data(tree.name)},"
                " beside the images that it lists"
            )
        return entries, {}


def _finder(tree: FileTree) -> Files:
    images = {file.path: file for file in tree.images}

    def find(path: str) -> StoredFile:
        return images.get(path) or _missing(path)

    return find


def _missing(path: str) -> StoredFile:
    def refuse() -> NoReturn:
        raise FileNotFoundError(errno.ENOENT, "no such file", path)

    return StoredFile(path, refuse, refuse)


def _read_one_hot(
    lists: Iterable[StoredFile], tree: FileTree
) -> tuple[list[Entry], dict[str, list[str]]]:
    rows: list[Row] = []
    for file in lists:
        with open_table(file, file.path) as table:
            path = column_key(table.columns[0]) if table.columns else ""
            if path not in PATHS or len(table.columns) < 2:
                raise DatasetError(
                    f"{table.name}: expected the columns filename and one for each"
                    f" class, got {_shown(table)}"
                )
            rows += _one_hot_rows(table, table.rows, path, file.parts[:-1])
    entries, ignored = _collect(rows, tree.name, _finder(tree))
    listed = {path for _, path, _, _ in rows}
    others = [file.path for file in tree.images if file.path not in listed]
    return entries, ignored | ({NOT_LISTED: others} if others else {})


def _has_flags(rows: Sequence[tuple[int, dict[str, str]]], path: str) -> bool:
    """Returns whether all but the path are 0 or 1."""
    flags = [value for _, row in rows for key, value in row.items() if key != path]
    return bool(flags) and all(flag.lower() in FLAGS for flag in flags)


def _one_hot_rows(
    table: CsvTable,
    rows: Iterable[tuple[int, dict[str, str]]],
    path: str,
    folder: tuple[str, ...],
) -> Iterator[Row]:
    classes = [name for name in table.columns if column_key(name) != path]
    for number, row in rows:
        flags = [row[column_key(name)] for name in classes]
        values = [FLAGS.get(flag.lower()) for flag in flags]
        chosen = [name for name, value in zip(classes, values, strict=True) if value]
        if None in values or len(chosen) > 1:
            raise DatasetError(
                f"{table.name} row {number}: expected one 1 among 0, got"
                f" {','.join(flags)[:40]!r}: a classifier needs one class an image"
            )
        name = "/".join((*folder, row[path]))
        yield number, name, "".join(chosen), split_of_path(name) or "train"
