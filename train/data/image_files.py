"""Lists labelled images in a folder, a zip or fer2013.csv, and decodes one of them.

The layouts people have: ``<class>/<file>``, ``<split>/<class>/<file>``, either of them
below any number of wrapper folders, in a folder or in a zip (read without unpacking);
or a CSV with the columns ``emotion,pixels,Usage``.
"""

from __future__ import annotations

import csv
import os
import re
import zipfile
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

import cv2
import numpy as np
import numpy.typing as npt

from edge_runtime.errors import DatasetError

SUFFIXES = {".jpg", ".jpeg", ".png", ".bmp", ".webp", ".pgm", ".ppm", ".tif", ".tiff"}
LARGEST_FILE_BYTES = 64 * 2**20  # a picture beyond this is a mistake or a zip bomb
SHOWN_KINDS = 5
_SUFFIX = re.compile(r"\.[a-z0-9_]{1,12}")  # not the rest of a sentence, nor bytes
SPLIT_NAMES = {
    "train": "train",
    "training": "train",
    "val": "validation",
    "valid": "validation",
    "validation": "validation",
    "publictest": "validation",
    "dev": "validation",
    "eval": "validation",
    "validation_set": "validation",
    "train_set": "train",
    "training_set": "train",
    "test_set": "test",
    "test": "test",
    "testing": "test",
    "privatetest": "test",
}
# The order of the CSV's label numbers; folders sort by name, which is another order.
FER2013_LABELS = ("angry", "disgust", "fear", "happy", "sad", "surprise", "neutral")
FER2013_SIZE_PX = 48
FER2013_COLUMNS = ("emotion", "pixels", "Usage")


@dataclass(frozen=True)
class Entry:
    """One labelled image that has not been decoded yet.

    Attributes:
        name: Path inside the source, or ``row N`` of a CSV.
        split: train, validation or test.
        label: Class name.
        read: Returns the file's bytes (encoded image, or the CSV's raw grey pixels);
            raises OSError or ValueError where that fails.
        raw: True where ``read`` gives raw 48x48 grey pixels.
    """

    name: str
    split: str
    label: str
    read: Callable[[], bytes]
    raw: bool = False


@dataclass(frozen=True)
class Source:
    """A listed image set; entries can be read while it is open.

    Attributes:
        name: File or folder name.
        entries: The labelled images, in an order that depends on their names only.
        passed_over: Number of pictures that lie in no class folder.
        empty_classes: Folders beside the class folders in which no picture is.
        others: How many files of each suffix are no pictures that can be read here;
            the most frequent first.
    """

    name: str
    entries: list[Entry]
    passed_over: int = 0
    empty_classes: tuple[str, ...] = ()
    others: dict[str, int] = field(default_factory=dict)


@dataclass(frozen=True)
class _File:
    """A picture file in a folder or zip: its path inside, and how to read it."""

    path: str
    read: Callable[[], bytes]


@contextmanager
def open_source(path: Path) -> Iterator[Source]:
    """Yields the labelled images at a path, listed but not decoded.

    Args:
        path: A folder, a ``.zip`` or a ``.csv``.

    Raises:
        DatasetError: The path does not exist, is of another kind, is damaged, or
            holds no image in a class folder.
    """
    if path.is_dir():
        yield _required(_folder_source(path), path)
    elif not path.exists():
        raise DatasetError(
            f"expected an image folder, zip or CSV, got {str(path)!r}: no such path"
        )
    elif path.suffix.lower() == ".csv":
        yield _required(Source(path.name, _csv_entries(path)), path)
    elif path.suffix.lower() == ".zip":
        with _open_zip(path) as archive:
            yield _required(_zip_source(archive, path.name), path)
    else:
        raise DatasetError(f"expected an image folder, .zip or .csv, got {path.name!r}")


def decode(entry: Entry) -> npt.NDArray[np.uint8] | None:
    """Returns the pixels of an entry, or None where they cannot be read.

    Returns:
        uint8 (H, W) grey or (H, W, 3) BGR, 0..255.
    """
    try:
        data = np.frombuffer(entry.read(), np.uint8)
    except (OSError, ValueError):
        return None
    if not data.size:
        return None
    if entry.raw:
        return data.reshape(FER2013_SIZE_PX, FER2013_SIZE_PX)
    try:
        image = cv2.imdecode(data, cv2.IMREAD_ANYCOLOR)
    except cv2.error:
        return None
    return None if image is None else np.asarray(image, dtype=np.uint8)


def _required(source: Source, path: Path) -> Source:
    if source.entries:
        return source
    instead = f" but {described(source.others)}" if source.others else ""
    raise DatasetError(
        f"expected images in class folders (<class>/<image> or <split>/<class>/<image>)"
        f" in {str(path)!r}, got none{instead}"
    )


def described(others: Mapping[str, int]) -> str:
    """Returns files of other kinds in words, and what is read instead."""
    kinds = [f"{count:,} {kind}" for kind, count in others.items()]
    more = f" and {len(kinds) - SHOWN_KINDS} other kinds" * (len(kinds) > SHOWN_KINDS)
    known = " ".join(sorted(SUFFIXES))
    return f"{', '.join(kinds[:SHOWN_KINDS])}{more} (read is {known})"


def _other_kinds(names: Iterable[str]) -> dict[str, int]:
    """Returns how many files are no pictures, by suffix; without hidden ones."""
    paths = (PurePosixPath(name) for name in names)
    suffixes = (path.suffix.lower() for path in paths if not _is_hidden(path))
    kinds = Counter(
        suffix if _SUFFIX.fullmatch(suffix) else "without a suffix"
        for suffix in suffixes
        if suffix not in SUFFIXES
    )
    return dict(kinds.most_common())


def _folder_source(root: Path) -> Source:
    files, folders, others = [], [], list[str]()
    visited: set[tuple[int, int]] = set()
    for folder, below, names in os.walk(root, followlinks=True):
        below[:] = sorted(name for name in below if not name.startswith("."))
        base = Path(folder)
        status = base.stat()
        if (status.st_dev, status.st_ino) in visited:
            below.clear()  # a link back: it would never end
            continue
        visited.add((status.st_dev, status.st_ino))
        folders.append(_inside(base, root))
        files += [
            _File(_inside(base / name, root), _file_reader(base / name))
            for name in names
            if _is_image(name)
        ]
        others += names
    return _labelled(root.resolve().name, files, folders, others)


def _inside(path: Path, root: Path) -> str:
    text = path.relative_to(root).as_posix()
    # Names that are not UTF-8 could be neither printed nor recorded.
    return text.encode("utf-8", "backslashreplace").decode()


def _file_reader(path: Path) -> Callable[[], bytes]:
    def read() -> bytes:
        # A named pipe would wait for ever.
        if not path.is_file() or path.stat().st_size > LARGEST_FILE_BYTES:
            raise ValueError(f"{path.name} is no picture file of a usable size")
        return path.read_bytes()

    return read


def _zip_source(archive: zipfile.ZipFile, name: str) -> Source:
    infos = [info for info in archive.infolist() if _is_image(info.filename)]
    files = [_File(info.filename, _zip_reader(archive, info)) for info in infos]
    # Not is_dir(): of an entry without a name it is an IndexError in Python 3.11.
    names = [info.filename for info in archive.infolist()]
    folders = [name for name in names if name.endswith("/")]
    others = [name for name in names if name and not name.endswith("/")]
    return _labelled(name, files, folders, others)


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


def _labelled(
    name: str, files: list[_File], folders: list[str], names: Sequence[str]
) -> Source:
    """Returns the source with class and split taken from the folders of each path.

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
    beside = {folder[:-1] for folder in class_folders}
    every = {PurePosixPath(folder).parts for folder in folders}
    empty = [
        folder[-1]
        for folder in sorted(every)
        if folder and folder[:-1] in beside and _is_empty(folder, every, files)
    ]
    loose_count = len(files) - len(entries)
    return Source(name, entries, loose_count, tuple(empty), _other_kinds(names))


def _split_above(parts: tuple[str, ...]) -> str:
    """Returns the split that a path's folders name, without the class folder."""
    names = (SPLIT_NAMES.get(part.lower(), "") for part in reversed(parts[:-2]))
    return next((name for name in names if name), "")


def _is_empty(
    folder: tuple[str, ...], every: set[tuple[str, ...]], files: list[_File]
) -> bool:
    hidden = folder[-1].startswith((".", "__MACOSX"))
    depth = len(folder)
    has_folder = any(one[:depth] == folder for one in every if len(one) > depth)
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


def _csv_entries(path: Path) -> list[Entry]:
    # A row's pixels are 8 kB of text and 2.3 kB of bytes: keep the bytes only.
    entries = []
    try:
        # Spreadsheets write a byte order mark: "utf-8-sig" takes it or leaves it.
        with path.open(newline="", encoding="utf-8-sig") as file:
            rows = csv.DictReader(file)
            _check_columns(rows.fieldnames, path.name)
            for number, row in enumerate(rows, start=1):
                entries.append(_csv_entry(number, row, path.name))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise DatasetError(f"{path.name} is no readable CSV: {error}") from error
    return entries


def _check_columns(columns: Sequence[str] | None, name: str) -> None:
    found = list(columns or ())
    if not set(FER2013_COLUMNS) <= set(found):
        raise DatasetError(
            f"{name}: expected the columns {','.join(FER2013_COLUMNS)},"
            f" got {','.join(found)[:80]!r}"
        )


def _csv_entry(number: int, row: dict[str, str | None], name: str) -> Entry:
    emotion, usage = row["emotion"] or "", row["Usage"] or ""
    split = SPLIT_NAMES.get(usage.strip().lower())
    known = emotion.strip() in [str(n) for n in range(len(FER2013_LABELS))]
    if not known or split is None:
        raise DatasetError(
            f"{name} row {number}: expected emotion 0..6 and Usage Training,"
            f" PublicTest or PrivateTest, got {emotion[:20]!r} and {usage[:20]!r}"
        )
    pixels = _csv_pixels(row["pixels"] or "")
    return Entry(
        f"row {number}", split, FER2013_LABELS[int(emotion)], lambda: pixels, raw=True
    )


def _csv_pixels(text: str) -> bytes:
    """Returns 2,304 grey values as bytes, or none where the text is not that many."""
    try:
        values = bytes(map(int, text.split()))
    except ValueError:
        return b""
    return values if len(values) == FER2013_SIZE_PX**2 else b""
