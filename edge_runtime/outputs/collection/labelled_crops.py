"""The crops of folders and of datasets made of them, with labels, without copies."""

from __future__ import annotations

import hashlib
import zipfile
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from edge_runtime.errors import SourceError
from edge_runtime.outputs.collection import crop_files
from edge_runtime.outputs.collection.crop_files import MAX_JPEG_BYTES, Document
from edge_runtime.outputs.collection.kept_crop import RANDOM
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


@dataclass
class LabelledCrops:
    """Crops to train on, and what was left out.

    Attributes:
        crops: By the SHA-256 of their images, with their labels.
        unreviewed: Number of those that nobody has looked at.
        discarded: Number of those that people threw away.
        copies: Number of those that are there already.
        damaged: Number of those that cannot be read.
        contradictory: Number of those that were given two labels.
        random_right: Reviewed crops of those taken at random with the right answer.
        random_all: All of them: how often the model is right on this device.
    """

    crops: dict[str, tuple[str, FoundCrop]] = field(default_factory=dict)
    unreviewed: int = 0
    discarded: int = 0
    copies: int = 0
    damaged: int = 0
    contradictory: int = 0
    random_right: int = 0
    random_all: int = 0

    @property
    def counts(self) -> Counter[str]:
        """Number of crops by label."""
        return Counter(label for label, _ in self.crops.values())


def read_labelled(
    opened: ExitStack, sources: Sequence[Path], *, with_unreviewed: bool
) -> LabelledCrops:
    """Returns the labelled crops of folders and datasets.

    Args:
        opened: Closes the datasets; their images are read before.
        sources: Folders of ``run --collect``, and zips that were made of them.
        with_unreviewed: Take the model's answer where nobody has looked.

    Raises:
        SourceError: One is neither.
    """
    result, two_labels = LabelledCrops(), set[str]()
    for source in sources:
        for crop in _crops_in(opened, source):
            if crop is None:
                result.damaged += 1
            else:
                _add(crop, result, two_labels, with_unreviewed=with_unreviewed)
    result.contradictory = len(two_labels)
    for each in two_labels:
        del result.crops[each]
    return result


def _add(
    crop: FoundCrop,
    result: LabelledCrops,
    two_labels: set[str],
    *,
    with_unreviewed: bool,
) -> None:
    if crop.discarded:
        result.discarded += 1
        return
    if crop.label is None and not with_unreviewed:
        result.unreviewed += 1
        return
    label = crop.answer if crop.label is None else crop.label
    if crop.sha256 in result.crops:
        result.copies += 1
        before, first = result.crops[crop.sha256]
        if crop.label is not None and first.label is None:
            result.crops[crop.sha256] = label, crop  # a person knows better
        elif crop.label is not None and before != label:
            two_labels.add(crop.sha256)
        return
    result.crops[crop.sha256] = label, crop
    if crop.label is not None and crop.entry.get("reason") == RANDOM:
        result.random_all += 1
        result.random_right += crop.label == crop.answer


def _crops_in(opened: ExitStack, source: Path) -> Iterator[FoundCrop | None]:
    """Yields the crops of a folder or dataset; None for each damaged one."""
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
        raise SourceError(f"cannot read {str(source)!r}: {error.strerror}") from error
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
        if name is not None and not is_folder_name(name):
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
    if archive.getinfo(MANIFEST).file_size > MAX_MANIFEST_BYTES:
        raise ValueError(f"its {MANIFEST} is too large")
    manifest = parse_json(archive.read(MANIFEST))
    if not isinstance(manifest, dict) or manifest.get("schema") != DATASET_SCHEMA:
        raise ValueError(f"its {MANIFEST} is not {DATASET_SCHEMA}")
    for entry in manifest.get("crops", []):
        try:
            document = {**entry, "label": entry["answer"]}
            given = {"label": entry["label"]} if entry["reviewed"] else None
            crop_files.check_document({**document, "review": given})
            more = {"crop": entry.get("crop", "")}
            read = partial(_read_member, archive, entry["file"], document)
            yield _found({**document, "review": given}, read, more)
        except (ValueError, TypeError, KeyError):
            yield None


def _read_member(archive: zipfile.ZipFile, name: str, document: Document) -> bytes:
    try:
        if archive.getinfo(name).file_size > MAX_JPEG_BYTES:
            raise ValueError("the image is too large")
        jpeg = archive.read(name)
    except (OSError, ValueError):
        raise
    except Exception as error:  # zipfile raises many kinds on damage
        raise ValueError(f"damaged in the zip ({error})") from error
    if hashlib.sha256(jpeg).hexdigest() != document["image"]["sha256"]:
        raise ValueError("the image is not whole")
    return jpeg


def is_folder_name(label: str) -> bool:
    """Returns whether a label can be the name of a class folder."""
    fits = 0 < len(label.encode()) <= 255 and label not in (".", "..")
    return fits and not set("/\\") & set(label) and not has_control(label)
