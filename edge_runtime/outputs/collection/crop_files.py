"""A collected crop on the disk: a JPEG, and beside it a JSON with the model's answer.

The JSON is written first, and both under a temporary name that is then changed: a crop
exists once its JPEG does. What a killed process or a power cut leaves is not a crop.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
import re
from contextlib import suppress
from pathlib import Path
from typing import Any

from edge_runtime.untrusted import read_bounded, read_json, require_regular
from edge_runtime.utils.files import TEMPORARY

CROP_SCHEMA = "fer-edge/crop/1"
NAME = re.compile(r"(\d{9,})-\d{8}T\d{6}\.\d{6}Z")  # number and time of day
MAX_JPEG_BYTES = 8 * 2**20
MAX_JSON_BYTES = 2**20

Document = dict[str, Any]


def with_image(document: Document, jpeg: bytes) -> Document:
    """Returns a document with what identifies the image: bytes and SHA-256."""
    digest = hashlib.sha256(jpeg).hexdigest()
    return {**document, "image": {"bytes": len(jpeg), "sha256": digest}}


def encoded(document: Document) -> bytes:
    """Returns a document as it is on the disk."""
    return json.dumps(document).encode()


def write_crop(folder: Path, name: str, jpeg: bytes, document: Document) -> None:
    """Writes a crop.

    Args:
        folder: Where crops are.
        name: Matches ``NAME``.
        jpeg: The image file.
        document: From ``with_image``.

    Raises:
        OSError: It cannot be written, and no part of it was.
    """
    write_document(folder, name, document)
    try:
        _write_whole(folder / f"{name}.jpg", jpeg)
    except OSError:
        remove_crop(folder, name)
        raise


def write_document(folder: Path, name: str, document: Document) -> None:
    """Writes the JSON of a crop, in the place of an older one.

    Raises:
        OSError: It cannot be written, and an older one is as it was.
    """
    _write_whole(folder / f"{name}.json", encoded(document))
    with suppress(OSError):  # some file systems cannot
        _sync_folder(folder)


def remove_crop(folder: Path, name: str) -> None:
    """Removes a crop; the JPEG first, so that there is none without its JSON."""
    (folder / f"{name}.jpg").unlink(missing_ok=True)
    (folder / f"{name}.json").unlink(missing_ok=True)


def remove_parts(folder: Path) -> None:
    """Removes what was written of crops before a process was killed."""
    names = {path.name for path in folder.iterdir() if NAME.fullmatch(path.stem)}
    other = {".jpg": ".json", ".json": ".jpg"}
    for path in map(Path, names):
        if (
            path.suffix in other
            and path.with_suffix(other[path.suffix]).name not in names
        ):
            with suppress(IsADirectoryError, PermissionError):  # a folder
                (folder / path).unlink(missing_ok=True)


def size_of(folder: Path, name: str) -> int:
    """Returns the bytes of both files of a crop.

    Raises:
        OSError: One of them is missing, or is not a file.
    """
    paths = [folder / f"{name}{end}" for end in (".jpg", ".json")]
    for path in paths:
        require_regular(path)
    return sum(path.stat().st_size for path in paths)


def read_document(folder: Path, name: str) -> Document:
    """Returns the JSON of a crop.

    Raises:
        OSError: It cannot be read.
        ValueError: It is none of this version.
    """
    document = read_json(folder / f"{name}.json", MAX_JSON_BYTES)
    if not isinstance(document, dict) or document.get("schema") != CROP_SCHEMA:
        raise ValueError(f"expected a document {CROP_SCHEMA}")
    return check_document(document)


def check_document(document: Document) -> Document:
    """Returns a crop's document, if it has what is read from it.

    Raises:
        ValueError: It has not.
    """
    image, review = document.get("image"), document.get("review")
    shares = document.get("probabilities")
    labelled = review is None or (
        isinstance(review, dict)
        and "label" in review
        and isinstance(review["label"], str | None)
    )
    if (
        not labelled
        or not isinstance(document.get("label"), str)
        or not _is_finite(document.get("score"))
        or not isinstance(image, dict)
        or not isinstance(image.get("sha256"), str)
    ):
        raise ValueError("it lacks label, score, image or review")
    if shares is not None and not (
        isinstance(shares, dict) and all(map(_is_finite, shares.values()))
    ):
        raise ValueError("its probabilities are not numbers by label")
    return document


def read_jpeg(folder: Path, name: str, document: Document) -> bytes:
    """Returns the image file of a crop.

    Raises:
        OSError: It cannot be read.
        ValueError: It is not the one that was written.
    """
    jpeg = read_bounded(folder / f"{name}.jpg", MAX_JPEG_BYTES)
    if hashlib.sha256(jpeg).hexdigest() != document["image"]["sha256"]:
        raise ValueError("the image is not whole")
    return jpeg


def crop_names(folder: Path) -> list[str]:
    """Returns the names of the crops in a folder, the oldest first.

    Raises:
        OSError: The folder cannot be read.
    """
    names = (path.stem for path in folder.iterdir() if path.suffix == ".jpg")
    return sorted(filter(NAME.fullmatch, names), key=number_of)


def number_of(name: str) -> int:
    """Returns the running number in the name of a crop."""
    return int(name.partition("-")[0])


def _is_finite(value: object) -> bool:
    try:
        return isinstance(value, int | float) and math.isfinite(value)
    except OverflowError:  # an integer of hundreds of digits
        return False


def _sync_folder(folder: Path) -> None:
    """Brings new names to the disk; without it a power cut brings the old file back."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _write_whole(path: Path, data: bytes) -> None:
    """Writes a file for its owner alone, completely or not at all.

    It is on the disk before it has its name: some file systems keep the new name and
    lose the content when the power fails.
    """
    temporary = path.with_name(f"{TEMPORARY}{os.getpid()}-{path.name}")
    flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC
    try:
        with os.fdopen(os.open(temporary, flags, 0o600), "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except OSError:
        temporary.unlink(missing_ok=True)
        raise
