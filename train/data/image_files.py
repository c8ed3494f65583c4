"""Lists labelled images in a folder, a zip or a CSV without decoding them.

The layouts people have: ``<class>/<file>``, ``<split>/<class>/<file>``, either of them
below any number of wrapper folders, in a folder or in a zip (read without unpacking);
or a CSV with the columns ``emotion,pixels,Usage``.
"""

from __future__ import annotations

import os
import re
import zipfile
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path, PurePosixPath

from edge_runtime.errors import DatasetError
from edge_runtime.utils.read_files import read_bounded
from train.data.entries import SPLIT_NAMES, Entry
from train.data.fer2013 import read_entries

SUFFIXES = {".jpg", ".jpeg", ".png", ".bmp", ".webp", ".pgm", ".ppm", ".tif", ".tiff"}
LARGEST_FILE_BYTES = 64 * 2**20  # an image beyond this is a mistake or a zip bomb
SHOWN_KINDS = 5
SHOWN_UNREADABLE = 10
_SUFFIX = re.compile(r"\.[a-z0-9_]{1,12}")  # not the rest of a sentence, nor bytes


@dataclass(frozen=True)
class ImageListing:
    """The labelled images of a set; entries can be read while it is open.

    Attributes:
        name: File or folder name.
        entries: The labelled images, in an order that depends on their names only.
        unlabelled: Number of images in no class folder.
        empty_classes: Folders beside the class folders that hold no image.
        other_files: Number of files of other kinds by suffix, the most frequent first.
    """

    name: str
    entries: list[Entry]
    unlabelled: int = 0
    empty_classes: tuple[str, ...] = ()
    other_files: dict[str, int] = field(default_factory=dict)


@dataclass(frozen=True)
class _File:
    """An image file in a folder or zip: its path inside, and how to read it."""

    path: str
    read: Callable[[], bytes]


@contextmanager
def open_listing(path: Path) -> Iterator[ImageListing]:
    """Yields the labelled images at a path, listed but not decoded.

    Args:
        path: A folder, a ``.zip`` or a ``.csv``.

    Raises:
        DatasetError: The path does not exist, is of another kind, is damaged, or
            holds no image in a class folder.
    """
    if path.is_dir():
        yield _require_entries(_list_folder(path), path)
    elif not path.exists():
        raise DatasetError(
            f"expected an image folder, zip or CSV, got {str(path)!r}: no such path"
        )
    elif path.suffix.lower() == ".csv":
        yield _require_entries(ImageListing(path.name, read_entries(path)), path)
    elif path.suffix.lower() == ".zip":
        with _open_zip(path) as archive:
            yield _require_entries(_list_zip(archive, path.name), path)
    else:
        raise DatasetError(f"expected an image folder, .zip or .csv, got {path.name!r}")


def _require_entries(listing: ImageListing, path: Path) -> ImageListing:
    if listing.entries:
        return listing
    others = listing.other_files
    instead = f" but {describe_other_files(others)}" if others else ""
    raise DatasetError(
        f"expected images in class folders (<class>/<image> or <split>/<class>/<image>)"
        f" in {str(path)!r}, got none{instead}"
    )


def describe_other_files(other_files: Mapping[str, int]) -> str:
    """Returns a text with the number of files by suffix, and the suffixes read."""
    kinds = [f"{count:,} {kind}" for kind, count in other_files.items()]
    hidden = len(kinds) - SHOWN_KINDS
    rest = f" and {hidden} other kinds" if hidden > 0 else ""
    suffixes = " ".join(sorted(SUFFIXES))
    return f"{', '.join(kinds[:SHOWN_KINDS])}{rest} (read is {suffixes})"


def describe_unreadable(unreadable: Sequence[str]) -> str:
    """Returns a line with the number of unreadable files and some of their names."""
    shown = ", ".join(unreadable[:SHOWN_UNREADABLE])
    hidden = len(unreadable) - SHOWN_UNREADABLE
    rest = f" and {hidden} more" if hidden > 0 else ""
    return f"skipped {len(unreadable)} files that are no readable images: {shown}{rest}"


def _count_other_files(names: Iterable[str]) -> dict[str, int]:
    """Returns the number of files that are no images by suffix, without hidden ones."""
    paths = (PurePosixPath(name) for name in names)
    suffixes = (path.suffix.lower() for path in paths if not _is_hidden(path))
    kinds = Counter(
        suffix if _SUFFIX.fullmatch(suffix) else "without a suffix"
        for suffix in suffixes
        if suffix not in SUFFIXES
    )
    return dict(kinds.most_common())


def _list_folder(root: Path) -> ImageListing:
    files, folders, all_names = [], [], list[str]()
    visited: set[tuple[int, int]] = set()
    for folder, below, names in os.walk(root, followlinks=True):
        below[:] = sorted(name for name in below if not name.startswith("."))
        base = Path(folder)
        status = base.stat()
        if (status.st_dev, status.st_ino) in visited:
            below.clear()  # a link back: it would never end
            continue
        visited.add((status.st_dev, status.st_ino))
        folders.append(_path_inside(base, root))
        files += [
            _File(_path_inside(base / name, root), _file_reader(base / name))
            for name in names
            if _is_image(name)
        ]
        all_names += names
    return _sort_into_classes(root.resolve().name, files, folders, all_names)


def _path_inside(path: Path, root: Path) -> str:
    text = path.relative_to(root).as_posix()
    # Names that are not UTF-8 could be neither printed nor recorded.
    return text.encode("utf-8", "backslashreplace").decode()


def _file_reader(path: Path) -> Callable[[], bytes]:
    return partial(read_bounded, path, LARGEST_FILE_BYTES)


def _list_zip(archive: zipfile.ZipFile, name: str) -> ImageListing:
    infos = [info for info in archive.infolist() if _is_image(info.filename)]
    files = [_File(info.filename, _zip_reader(archive, info)) for info in infos]
    # Not is_dir(): of an entry without a name it is an IndexError in Python 3.11.
    names = [info.filename for info in archive.infolist()]
    folders = [name for name in names if name.endswith("/")]
    file_names = [name for name in names if name and not name.endswith("/")]
    return _sort_into_classes(name, files, folders, file_names)


def _zip_reader(archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> Callable[[], bytes]:
    def read() -> bytes:
        if info.file_size > LARGEST_FILE_BYTES:
            raise ValueError(f"{info.filename} claims {info.file_size} bytes")
        try:
            return archive.read(info)
        except Exception as error:  # encrypted, damaged: zipfile raises many kinds
            raise ValueError(str(error)) from error

    return read


def _is_image(name: str) -> bool:
    path = PurePosixPath(name)
    return path.suffix.lower() in SUFFIXES and not _is_hidden(path)


def _is_hidden(path: PurePosixPath) -> bool:
    return any(part.startswith((".", "__MACOSX")) for part in path.parts)


def _sort_into_classes(
    name: str, files: list[_File], folders: list[str], names: Sequence[str]
) -> ImageListing:
    """Returns the listing with class and split taken from the folders of each path.

    The last folder is the class. The split is the nearest folder above it with a
    split's name. A folder that has a split's name itself is a class only where no
    other folder serves as a split (a class may be called "train").
    """
    # By parts, not by text: "happy" and "happy-2" sort alike in folders and zips, and
    # a resumed run must find the same image at the same place.
    files = sorted(files, key=lambda file: PurePosixPath(file.path).parts)
    has_splits = any(_split_above(PurePosixPath(file.path).parts) for file in files)
    entries, class_folders = [], set()
    for file in files:
        parts = PurePosixPath(file.path).parts
        loose = len(parts) < 2 or (has_splits and parts[-2].lower() in SPLIT_NAMES)
        if not loose:
            split = _split_above(parts) or "train"
            entries.append(Entry(file.path, split, parts[-2], file.read))
            class_folders.add(parts[:-1])
    parents = {folder[:-1] for folder in class_folders}
    all_folders = {PurePosixPath(folder).parts for folder in folders}
    empty = tuple(
        folder[-1]
        for folder in sorted(all_folders)
        if folder and folder[:-1] in parents and _is_empty(folder, all_folders, files)
    )
    unlabelled, others = len(files) - len(entries), _count_other_files(names)
    return ImageListing(name, entries, unlabelled, empty, others)


def _split_above(parts: tuple[str, ...]) -> str:
    """Returns the split that a path's folders name, without the class folder."""
    names = (SPLIT_NAMES.get(part.lower(), "") for part in reversed(parts[:-2]))
    return next((name for name in names if name), "")


def _is_empty(
    folder: tuple[str, ...], folders: set[tuple[str, ...]], files: list[_File]
) -> bool:
    hidden = folder[-1].startswith((".", "__MACOSX"))
    depth = len(folder)
    has_folder = any(path[:depth] == folder for path in folders if len(path) > depth)
    has_file = any(PurePosixPath(file.path).parts[:depth] == folder for file in files)
    return not (hidden or has_folder or has_file)


@contextmanager
def _open_zip(path: Path) -> Iterator[zipfile.ZipFile]:
    try:
        archive = zipfile.ZipFile(path)
    except Exception as error:  # zipfile raises many kinds on damaged archives
        raise DatasetError(
            f"expected a readable zip, got {path.name!r}: {error}; fetch it again"
        ) from error
    with archive:
        yield archive
