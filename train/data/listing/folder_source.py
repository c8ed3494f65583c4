"""The files of a folder on the disk."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from edge_runtime.errors import DatasetError
from edge_runtime.utils.read_files import open_regular, read_bounded
from train.data.listing.stored_files import (
    LARGEST_FILE_BYTES,
    FileTree,
    StoredFile,
    is_hidden,
    sort_files,
)

MAX_REPEATED_FOLDERS = 1000  # links to each other could multiply without end
LINKS_BACK = "links back to a folder above them"
BROKEN_LINKS = "links to nothing"


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
    """Returns what a link to a folder leads to; None of what is no link."""
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
    )
