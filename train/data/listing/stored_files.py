"""Files of a folder or a zip, listed but not read."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import PurePosixPath
from posixpath import splitext
from typing import IO

from edge_runtime.utils.picture_kinds import START_BYTES, SUFFIXES, picture_kind

LARGEST_FILE_BYTES = 64 * 2**20  # an image beyond this is a mistake or a zip bomb
SHOWN_NAMES = 10
# Thumbnails and waste of Synology, QNAP, Windows, macOS and ext4.
SYSTEM_FOLDERS = frozenset(
    [
        "__macosx",
        "@eadir",
        "#recycle",
        "@recycle",
        "@recently-snapshot",
        "#snapshot",
        "$recycle.bin",
        "recycler",
        "system volume information",
        "lost+found",
    ]
)
IN_SYSTEM_FOLDERS = "images in hidden or system folders"

Parts = tuple[str, ...]
Ignored = Mapping[str, Sequence[str]]  # what is not used: names by kind and reason


@dataclass(frozen=True)
class StoredFile:
    """A file in a folder or zip.

    Attributes:
        path: Inside the source, with slashes.
        read: Returns the bytes of an image file, at most ``LARGEST_FILE_BYTES``;
            raises OSError or ValueError, with the reason.
        open: Opens a file of any size, and raises like ``read``.
    """

    path: str
    read: Callable[[], bytes]
    open: Callable[[], IO[bytes]]

    @cached_property
    def parts(self) -> Parts:
        """The folders and the name."""
        return tuple(self.path.split("/"))


@dataclass(frozen=True)
class FileTree:
    """The files of a folder or zip, without hidden ones.

    Attributes:
        name: Of the folder or zip.
        images: By name and, where there is no suffix, by the first bytes; in an order
            that depends on their names only.
        others: Files of other kinds.
        folders: All folders, by their parts.
        ignored: What is not used: names by kind and reason.
    """

    name: str
    images: list[StoredFile]
    others: list[StoredFile]
    folders: list[Parts]
    ignored: Ignored


def sort_files(
    name: str, files: Iterable[StoredFile], folders: Iterable[str], ignored: Ignored
) -> FileTree:
    """Returns files and folders as a tree, without the hidden ones."""
    images: list[StoredFile] = []
    others: list[StoredFile] = []
    passed_over: list[str] = []
    for file in files:
        if not file.parts or file.parts[-1].startswith("."):
            continue  # "._1.jpg" of macOS is no image
        is_image = _is_image(file)
        if any(map(is_hidden, file.parts[:-1])):
            passed_over += [file.path] * is_image
        else:
            (images if is_image else others).append(file)
    # By parts, not by text: "happy" and "happy-2" sort alike in folders and zips, and
    # a resumed run must find the same image at the same place.
    images.sort(key=lambda file: file.parts)
    parts = sorted({PurePosixPath(folder).parts for folder in folders})
    shown = [each for each in parts if each and not any(map(is_hidden, each))]
    ignored = dict(ignored)
    if passed_over:
        ignored[IN_SYSTEM_FOLDERS] = sorted(passed_over)
    return FileTree(name, images, others, shown, ignored)


def is_hidden(folder: str) -> bool:
    """Returns whether a folder of this name is no part of an image set."""
    return folder.startswith(".") or folder.casefold() in SYSTEM_FOLDERS


def _is_image(file: StoredFile) -> bool:
    suffix = splitext(file.parts[-1])[1]
    if suffix:
        return suffix.lower() in SUFFIXES
    try:
        with file.open() as stream:
            return picture_kind(stream.read(START_BYTES)) is not None
    except Exception:  # zipfile raises many kinds on damage
        return False


def shorten(names: Sequence[str]) -> str:
    """Returns the first names, and how many there are beside them."""
    hidden = len(names) - SHOWN_NAMES
    rest = f" and {hidden:,} more" if hidden > 0 else ""
    return ", ".join(names[:SHOWN_NAMES]) + rest


def as_data(name: str) -> str:
    """Returns how a CSV in the folder or zip of this name becomes ``--data``."""
    return " as --data" + (", unpacked" if name.lower().endswith(".zip") else "")


def count_suffixes(files: Iterable[StoredFile]) -> dict[str, int]:
    """Returns the number of files by suffix, the most frequent first."""
    suffixes = (PurePosixPath(file.path).suffix.lower() for file in files)
    return dict(Counter(map(_kind, suffixes)).most_common())


def _kind(suffix: str) -> str:
    word = suffix[1:].replace("_", "")
    # Not the rest of a sentence, nor bytes.
    usable = word.isascii() and word.isalnum() and len(suffix) <= 13
    return suffix if usable else "without a suffix"
