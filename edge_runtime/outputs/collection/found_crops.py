"""The crops in folders of ``--collect``, and in datasets made of them."""

from __future__ import annotations

import hashlib
import zipfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from edge_runtime.errors import SourceError
from edge_runtime.outputs.collection import crop_files
from edge_runtime.outputs.collection.crop_files import MAX_JPEG_BYTES, Document
from edge_runtime.untrusted import has_control, open_regular, parse_json

DATASET_SCHEMA = "fer-edge/dataset/1"
MANIFEST = "manifest.json"
MAX_MANIFEST_BYTES = 64 * 2**20
# Of a crop's document; the probabilities would be most of a manifest.
SHOWN = (
    *("label", "confidence", "score", "reason", "utc", "source", "frame", "track"),
    *("region", "subject", "labels_are", "model", "image"),
)


class FoundCrop(NamedTuple):
    """A crop in a folder or dataset.

    Attributes:
        label: By a person; None where nobody has looked at it.
        answer: The model's.
        discarded: By a person.
        sha256: Of its image.
        read: Returns the image file; raises OSError or ValueError.
        entry: For the manifest.
    """

    label: str | None
    answer: str
    discarded: bool
    sha256: str
    read: Callable[[], bytes]
    entry: dict[str, Any]


def crops_in(opened: ExitStack, source: Path) -> Iterator[FoundCrop | None]:
    """Yields the crops of a folder or dataset; None for each damaged one.

    Args:
        opened: Closes the dataset.
        source: The folder or zip.

    Raises:
        SourceError: It is neither.
    """
    try:
        if source.is_dir():
            yield from _crops_in_folder(source)
        elif source.is_file():
            file = opened.enter_context(open_regular(source))
            yield from _crops_in_zip(opened.enter_context(zipfile.ZipFile(file)))
        else:
            raise SourceError(
                f"expected a folder of  run --collect, got {str(source)!r}: no such"
                " path"
            )
    except OSError as error:
        reason = error.strerror or error
        raise SourceError(f"cannot read {str(source)!r}: {reason}") from error
    except (ValueError, zipfile.BadZipFile) as error:
        raise SourceError(
            f"expected a zip of  collect export, got {str(source)!r}: {error}"
        ) from error


def _crops_in_folder(folder: Path) -> Iterator[FoundCrop | None]:
    names = crop_files.crop_names(folder)
    if not names:
        raise SourceError(
            f"expected a folder of  run --collect, got {str(folder)!r}: no crop is in"
            " it"
        )
    for name in names:
        try:
            document = crop_files.read_document(folder, name)
            read = partial(crop_files.read_jpeg, folder, name, document)
            yield _found(document, read, {"crop": f"{folder.resolve().name}/{name}"})
        except FileNotFoundError:
            continue  # removed since by a run that goes on
        except (OSError, ValueError):
            yield None


def _found(
    document: Document, read: Callable[[], bytes], more: dict[str, Any]
) -> FoundCrop:
    review = document.get("review")
    label = None if review is None else review["label"]
    for name in (label, document["label"]):
        if name is not None and folder_of(name) is None:
            raise ValueError(f"expected a class name, got {name!r}")
    shown = {key: document[key] for key in SHOWN if key in document}
    entry = {"answer": document["label"], **shown, **more}
    return FoundCrop(
        label,
        document["label"],
        review is not None and label is None,
        document["image"]["sha256"],
        read,
        entry,
    )


def _crops_in_zip(archive: zipfile.ZipFile) -> Iterator[FoundCrop | None]:
    if MANIFEST not in archive.namelist():
        raise ValueError(f"it has no {MANIFEST}")
    manifest = parse_json(_member(archive, MANIFEST, MAX_MANIFEST_BYTES))
    if not isinstance(manifest, dict) or manifest.get("schema") != DATASET_SCHEMA:
        raise ValueError(f"its {MANIFEST} is not {DATASET_SCHEMA}")
    entries = manifest.get("crops")
    if not isinstance(entries, list):
        raise ValueError(f"its {MANIFEST} has no list of crops")
    for entry in entries:
        try:
            document = {**entry, "label": entry["answer"]}
            given = {"label": entry["label"]} if entry["reviewed"] else None
            crop_files.check_document({**document, "review": given})
            more = {"crop": entry.get("crop", "")}
            read = partial(_read_image, archive, entry["file"], document)
            yield _found({**document, "review": given}, read, more)
        except (ValueError, TypeError, KeyError):
            yield None


def _read_image(archive: zipfile.ZipFile, name: str, document: Document) -> bytes:
    jpeg = _member(archive, name, MAX_JPEG_BYTES)
    if hashlib.sha256(jpeg).hexdigest() != document["image"]["sha256"]:
        raise ValueError("the image is not whole")
    return jpeg


def _member(archive: zipfile.ZipFile, name: str, max_bytes: int) -> bytes:
    """Returns a file in a zip.

    Raises:
        OSError: The zip cannot be read.
        ValueError: The file is too large, damaged or missing.
    """
    try:
        if archive.getinfo(name).file_size > max_bytes:
            raise ValueError(f"its {name} is too large")
        return archive.read(name)
    except (OSError, ValueError):
        raise
    except Exception as error:  # zipfile raises many kinds on damage
        raise ValueError(f"its {name} cannot be read ({error})") from error


def folder_of(label: str) -> str | None:
    """Returns the name of the class folder of a label; None if it can have none.

    Labels such as ``arena/hockey`` (Places365) have a hyphen for each slash.
    """
    parts = label.strip("/").split("/")
    fits = 0 < len(label.encode()) <= 255 and not {"", ".", ".."} & set(parts)
    fits = fits and not has_control(label) and "\\" not in label
    return "-".join(parts) if fits else None
