"""Labelled images that a CSV lists.

emotion,pixels,Usage        fer2013.csv and the files of its challenge
path,label[,split]          one image in each row, relative to the CSV
filename,cat,dog            Roboflow's _classes.csv in each split: a 1 in its class
"""

from __future__ import annotations

import errno
import unicodedata
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path, PurePosixPath
from typing import NoReturn

from edge_runtime.errors import DatasetError
from train.data.listing import fer2013
from train.data.listing.csv_table import CsvTable, column_key, open_table
from train.data.listing.entries import Entry
from train.data.listing.folder_source import stored_file
from train.data.listing.split_names import find_splits, split_of
from train.data.listing.stored_files import FileTree, StoredFile

# Names of columns, the most telling first.
PATHS = ("path", "file", "filename", "file name", "filepath", "file path", "image",
         "image path", "image name", "img", "img path", "image id", "id")  # fmt: skip
LABELS = ("label", "class", "category", "class name", "label name", "target")
SPLITS = ("split", "usage", "set", "subset", "partition")
BOXES = {"xmin", "x min", "ymin", "y min", "x1", "bbox", "xcenter", "x center"}
ONE_HOT_NAME = "_classes.csv"
WITHOUT_LABEL = "images without a class in the CSV"
NOT_LISTED = "images that the CSV does not list"

Files = Callable[[str], StoredFile]  # the image at a path in a CSV


def read_csv(path: Path) -> tuple[list[Entry], dict[str, list[str]]]:
    """Returns the images that a CSV on the disk lists, and what it leaves out.

    Raises:
        DatasetError: It cannot be read, has other columns, or a row is wrong.
    """

    def find(name: str) -> StoredFile:
        return stored_file(path.parent / name, name)

    with open_table(stored_file(path, path.name), path.name) as table:
        return read_table(table, find)


def read_table(
    table: CsvTable, find: Files
) -> tuple[list[Entry], dict[str, list[str]]]:
    """Returns the images that a CSV lists, and what it leaves out.

    Raises:
        DatasetError: It has other columns, or a row is wrong.
    """
    keys = table.keys
    if {"emotion", "pixels"} <= set(keys):
        return list(fer2013.read_entries(table)), {}
    if "pixels" in keys:
        raise DatasetError(
            f"{table.name}: expected a column emotion beside the pixels, got"
            f" {_shown(table)}: images to predict cannot be learnt from"
        )
    paths, labels = _present(PATHS, keys), _present(LABELS, keys)
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
    rows = _read_rows(table, paths[0], labels[0], split)
    return _collect(rows, table.name, find)


def _present(names: Sequence[str], keys: Iterable[str]) -> list[str]:
    return [name for name in names if name in set(keys)]


def _shown(table: CsvTable) -> str:
    return repr(",".join(table.columns)[:80])


Row = tuple[int, str, str, str]  # number, path, label (may be empty), split


def _read_rows(
    table: CsvTable, path: str, label: str, split: str | None
) -> Iterator[Row]:
    for number, row in table.rows:
        name = row[path].replace("\\", "/")
        said = row[split] if split else ""
        found = split_of(said) if said else split_of_path(name)
        if not name or found is None:
            raise DatasetError(
                f"{table.name} row {number}: expected a path, and train, val or test as"
                f" its split, got {name[:40]!r} and {said[:20]!r}"
            )
        yield number, name, row[label], found


def split_of_path(path: str) -> str:
    """Returns the split that the folders of a path name, else train."""
    folders = reversed(PurePosixPath(path).parts[:-1])
    return next((s for each in folders for s in find_splits([each]).values()), "train")


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
        entry = Entry(path, split, label, find(path).read)
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
    beside it (``fer2013.csv`` in a zip).

    Raises:
        DatasetError: A CSV is wrong, or there are several.
    """
    one_hot = [file for file in tree.others if file.parts[-1] == ONE_HOT_NAME]
    if one_hot:
        return _read_one_hot(one_hot, tree)
    lists = [file for file in tree.others if file.path.lower().endswith(".csv")]
    if tree.images or not lists:
        return None
    if len(lists) > 1:
        raise DatasetError(
            f"{tree.name}: expected one CSV, got"
            f" {', '.join(sorted(file.path for file in lists)[:10])}: give one of them"
            " as --data, unpacked"
        )
    with open_table(lists[0], f"{tree.name}: {lists[0].path}") as table:
        return read_table(table, _finder(tree, lists[0].parts[:-1]))


def _finder(tree: FileTree, folder: tuple[str, ...]) -> Files:
    images = {file.path: file for file in tree.images}

    def find(name: str) -> StoredFile:
        path = "/".join((*folder, name))
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
            rows += _one_hot_rows(table, file.parts[:-1])
    entries, ignored = _collect(rows, tree.name, _finder(tree, ()))
    listed = {path for _, path, _, _ in rows}
    others = [file.path for file in tree.images if file.path not in listed]
    return entries, ignored | ({NOT_LISTED: others} if others else {})


def _one_hot_rows(table: CsvTable, folder: tuple[str, ...]) -> Iterator[Row]:
    path, *classes = table.columns
    if column_key(path) not in PATHS or not classes:
        raise DatasetError(
            f"{table.name}: expected the columns filename and one for each class, got"
            f" {_shown(table)}"
        )
    for number, row in table.rows:
        flags = [row[column_key(name)] for name in classes]
        chosen = [classes[i] for i, flag in enumerate(flags) if flag == "1"]
        if not set(flags) <= {"0", "1"} or len(chosen) > 1:
            raise DatasetError(
                f"{table.name} row {number}: expected one 1 among 0, got"
                f" {','.join(flags)[:40]!r}: a classifier needs one class an image"
            )
        name = "/".join((*folder, row[column_key(path)]))
        yield number, name, "".join(chosen), split_of_path(name)
