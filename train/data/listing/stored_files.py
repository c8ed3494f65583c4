"""The files of an image set, listed but not read: those of a folder on the disk."""

from __future__ import annotations

import os
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path, PurePosixPath
from posixpath import splitext
from typing import IO

from edge_runtime.errors import DatasetError
from edge_runtime.untrusted import open_regular, read_bounded
from edge_runtime.utils.picture_kinds import START_BYTES, SUFFIXES, picture_kind

LARGEST_FILE_BYTES = 64 * 2**20  # an image beyond this is a mistake or a zip bomb
MAX_REPEATED_FOLDERS = 1000  # links to each other could multiply without end
SHOWN_NAMES = 10
SETTLED_S = 3.0
# Thumbnails and waste of Synology, QNAP, Windows, macOS and ext4.
SYSTEM_FOLDERS = frozenset(
    ("__macosx", "@eadir", "#recycle", "@recycle", "@recently-snapshot", "#snapshot",
     "$recycle.bin", "recycler", "system volume information", "lost+found")
)  # fmt: skip
IN_SYSTEM_FOLDERS = "images in hidden or system folders"
LINKS_BACK = "links back to a folder above them"
BROKEN_LINKS = "links to nothing"

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
        stamp: As in ``train.data.listing.entries.Entry``.
    """

    path: str
    read: Callable[[], bytes]
    open: Callable[[], IO[bytes]]
    stamp: Callable[[], str] = str

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

    @property
    def csvs(self) -> list[StoredFile]:
        """The CSVs among the other files: the labels may be in there."""
        return [file for file in self.others if file.path.lower().endswith(".csv")]


def list_folder(root: Path) -> FileTree:
    """Returns the files below a folder; links to folders are followed.

    Raises:
        DatasetError: A folder cannot be read, or links multiply the folders.
    """
    files, folders = list[StoredFile](), list[str]()
    ignored: dict[str, list[str]] = {}
    for base, names, back in _walk(root):
        folders.append(_path_inside(base, root))
        broken = {name for name in names if _is_broken(base / name)}
        files += [
            stored_file(base / name, _path_inside(base / name, root))
            for name in names
            if name not in broken
        ]
        for reason, links in ((LINKS_BACK, back), (BROKEN_LINKS, sorted(broken))):
            inside = [_path_inside(base / name, root) for name in links]
            if inside:
                ignored.setdefault(reason, []).extend(inside)
    return sort_files(root.resolve().name, files, folders, ignored)


def _walk(root: Path) -> Iterator[tuple[Path, list[str], list[str]]]:
    """Yields each folder, its files, and its links to a folder above it."""

    def refuse(error: OSError) -> None:
        path = Path(error.filename)
        if not any(map(is_hidden, path.relative_to(root).parts)):
            raise DatasetError(
                f"cannot read the folder {str(path)!r}: {error.strerror}; allow it, or"
                " move it out of the image set"
            )

    above: dict[Path, frozenset[tuple[int, int]]] = {root.parent: frozenset()}
    seen, repeated = set[tuple[int, int]](), 0
    for folder, below, names in os.walk(root, followlinks=True, onerror=refuse):
        base = Path(folder)
        status = base.stat()
        identity = (status.st_dev, status.st_ino)
        repeated += identity in seen
        if repeated > MAX_REPEATED_FOLDERS:
            raise DatasetError(
                f"links in {str(root)!r} lead to the same folders more than"
                f" {MAX_REPEATED_FOLDERS:,} times: remove them"
            )
        seen.add(identity)
        above[base] = above[base.parent] | {identity}
        back = [name for name in below if _identity(base / name) in above[base]]
        below[:] = sorted(set(below) - set(back))
        yield base, names, sorted(back)


def _identity(path: Path) -> tuple[int, int] | None:
    """Returns what a link to a folder leads to; None of what is not a link."""
    try:
        if not path.is_symlink():
            return None
        status = path.stat()
    except OSError:
        return None
    return status.st_dev, status.st_ino


def _is_broken(path: Path) -> bool:
    """Returns whether a path may be a link to a missing folder."""
    return not path.suffix and path.is_symlink() and not path.exists()


def _path_inside(path: Path, root: Path) -> str:
    text = path.relative_to(root).as_posix()
    # Names that are not UTF-8 could be neither printed nor recorded.
    return text.encode("utf-8", "backslashreplace").decode()


def stored_file(path: Path, name: str) -> StoredFile:
    """Returns a file on the disk.

    Args:
        path: Where it is.
        name: Path inside the source.
    """
    return StoredFile(
        name,
        lambda: read_bounded(path, LARGEST_FILE_BYTES),
        lambda: open_regular(path),
        lambda: stamp_of(path.stat()),
    )


def stamp_of(status: os.stat_result) -> str:
    """Returns a text that is another one once the file has changed.

    It is empty for some seconds after a change: another one may follow without a trace
    where a file system has coarse times.
    """
    changed = max(status.st_mtime, status.st_ctime)
    if time.time() - changed < SETTLED_S:
        return ""
    times = f"{status.st_mtime_ns} {status.st_ctime_ns}"
    return f"{status.st_dev} {status.st_ino} {status.st_size} {times}"


def sort_files(
    name: str, files: Iterable[StoredFile], folders: Iterable[str], ignored: Ignored
) -> FileTree:
    """Returns files and folders as a tree, without the hidden ones."""
    images: list[StoredFile] = []
    others: list[StoredFile] = []
    passed_over: list[str] = []
    for file in files:
        if not file.parts or file.parts[-1].startswith("."):
            continue  # "._1.jpg" of macOS is not an image
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
    """Returns whether a folder of this name is not part of an image set."""
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
