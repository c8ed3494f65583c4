"""Writes labelled crops as a zip with a folder for each class, to train on."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path
from typing import Any

import cv2

from edge_runtime.errors import OutputError
from edge_runtime.outputs.collection.found_crops import (
    DATASET_SCHEMA,
    MANIFEST,
    folder_of,
)
from edge_runtime.outputs.collection.labelled_crops import LabelledCrops
from edge_runtime.utils.files import replacing
from edge_runtime.utils.pictures import decode_picture
from edge_runtime.utils.stderr import progress_counter


def write_dataset(path: Path, found: LabelledCrops) -> None:
    """Writes ``<class>/<image>.jpg`` and ``manifest.json``; all or nothing.

    The same crops with the same labels give the same bytes. What turns out to be
    damaged is counted, and left out.

    Args:
        path: The zip; an older one is replaced.
        found: The crops, with their labels.

    Raises:
        OutputError: It cannot be written, all crops are damaged, or two labels would
            have one folder.
    """
    entries: list[dict[str, Any]] = []
    folders = {folder_of(label): label for label in found.counts}
    for label in found.counts:
        if (other := folders[folder_of(label)]) != label:
            raise OutputError(
                f"expected a folder for each label, got {label!r} and {other!r}, which"
                " would share one: label these crops alike"
            )
    with (
        replacing(path, mode=0o600) as temporary,
        progress_counter(len(found.crops), "writing crops", unit="crop") as step,
    ):
        try:
            with zipfile.ZipFile(temporary, "w") as archive:
                for sha256 in sorted(found.crops):
                    if entry := _write_crop(archive, sha256, found):
                        entries.append(entry)
                    step(1)
                if not entries:
                    raise OutputError(
                        f"expected labelled crops, got none: {found.damaged:,} damaged"
                    )
                manifest = {"schema": DATASET_SCHEMA, "crops": entries}
                _write(archive, MANIFEST, json.dumps(manifest, indent=1).encode())
        except OSError as error:
            message = f"cannot write {str(path)!r}: {error.strerror}"
            raise OutputError(message) from error


def _write_crop(
    archive: zipfile.ZipFile, sha256: str, found: LabelledCrops
) -> dict[str, Any] | None:
    label, crop = found.crops[sha256]
    try:
        jpeg = crop.read()
        decode_picture(jpeg, cv2.IMREAD_UNCHANGED)
    except (OSError, ValueError):
        found.damaged += 1
        del found.crops[sha256]
        return None
    name = f"{folder_of(label)}/{sha256[:16]}.jpg"
    _write(archive, name, jpeg)
    reviewed = crop.label is not None
    return {**crop.entry, "file": name, "label": label, "reviewed": reviewed}


def _write(archive: zipfile.ZipFile, name: str, data: bytes) -> None:
    # A time of its own would make another file of the same crops.
    archive.writestr(zipfile.ZipInfo(name, (2000, 1, 1, 0, 0, 0)), data)
