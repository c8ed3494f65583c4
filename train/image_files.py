"""Lists labelled images in a folder, a zip or fer2013.csv, and decodes one of them.

The layouts people have: ``<class>/<file>``, ``<split>/<class>/<file>``, either of them
below any number of wrapper folders, in a folder or in a zip (read without unpacking);
or a CSV with the columns ``emotion,pixels,Usage``.
"""

from __future__ import annotations

import csv
import os
import zipfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import cv2
import numpy as np
import numpy.typing as npt

from edge_runtime.errors import DatasetError

SUFFIXES = {".jpg", ".jpeg", ".png", ".bmp", ".webp", ".pgm", ".ppm", ".tif", ".tiff"}
LARGEST_FILE_BYTES = 64 * 2**20  # a picture beyond this is a mistake or a zip bomb
SPLIT_NAMES = {
    "train": "train",
    "training": "train",
    "val": "validation",
    "valid": "validation",
    "validation": "validation",
    "publictest": "validation",
    "dev": "validation",
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
    """A listed image set; entries can be read while it is open."""

    name: str
    entries: list[Entry]


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
        yield Source(path.name or str(path), _required(_folder_entries(path), path))
    elif not path.exists():
        raise DatasetError(
            f"expected an image folder, zip or CSV, got {str(path)!r}: no such path"
        )
    elif path.suffix.lower() == ".csv":
        yield Source(path.name, _required(_csv_entries(path), path))
    elif path.suffix.lower() == ".zip":
        with _open_zip(path) as archive:
            yield Source(path.name, _required(_zip_entries(archive), path))
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


def _required(entries: list[Entry], path: Path) -> list[Entry]:
    if entries:
        return entries
    raise DatasetError(
        f"expected images in class folders (<class>/<image> or <split>/<class>/<image>)"
        f" in {str(path)!r}, got none"
    )


def _folder_entries(root: Path) -> list[Entry]:
    files = []
    for folder, folders, names in os.walk(root, followlinks=True):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        base = Path(folder)
        files += [base / name for name in sorted(names) if _is_image(name)]
    paths = [path.relative_to(root).as_posix() for path in files]
    readers = [path.read_bytes for path in files]
    return _labelled(paths, readers)


def _zip_entries(archive: zipfile.ZipFile) -> list[Entry]:
    infos = sorted(archive.infolist(), key=lambda info: info.filename)
    infos = [info for info in infos if _is_image(info.filename)]
    readers = [_zip_reader(archive, info) for info in infos]
    return _labelled([info.filename for info in infos], readers)


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
    hidden = any(part.startswith((".", "__MACOSX")) for part in path.parts)
    return path.suffix.lower() in SUFFIXES and not hidden


def _labelled(paths: list[str], readers: list[Callable[[], bytes]]) -> list[Entry]:
    """Returns entries with class and split taken from the last folders of each path.

    Images that lie in no class folder (at the top, or right in a split's folder) are
    passed over.
    """
    entries = []
    for path, read in zip(paths, readers, strict=True):
        folders = PurePosixPath(path).parts[:-1]
        if not folders or folders[-1].lower() in SPLIT_NAMES:
            continue
        parent = folders[-2].lower() if len(folders) > 1 else ""
        entries.append(Entry(path, SPLIT_NAMES.get(parent, "train"), folders[-1], read))
    return entries


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
        with path.open(newline="", encoding="utf-8") as file:
            rows = csv.DictReader(file)
            _check_columns(rows.fieldnames, path.name)
            for number, row in enumerate(rows):
                entries.append(_csv_entry(number, row, path.name))
    except (UnicodeDecodeError, csv.Error) as error:
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
            f"{name} row {number + 1}: expected emotion 0..6 and Usage Training,"
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
