"""Lists the labelled images at a path without decoding them.

A folder or a zip with a layout of ``train.data.listing.layout``, or a CSV: see
``train.data.listing.csv_lists``.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from edge_runtime.errors import DatasetError, MetadataError
from edge_runtime.model_file.metadata import check_labels
from edge_runtime.untrusted import one_line
from edge_runtime.utils.picture_kinds import SUFFIXES
from train.data.listing.ambiguous_layout import hint_of_labels, resolve
from train.data.listing.csv_lists import read_csv, read_csv_in
from train.data.listing.entries import Entry
from train.data.listing.layout import find_classes
from train.data.listing.stored_files import (
    FileTree,
    Ignored,
    as_data,
    count_suffixes,
    list_folder,
    shorten,
)
from train.data.listing.zip_source import open_zip

SHOWN_KINDS = 5


@dataclass(frozen=True)
class ImageListing:
    """The labelled images of a set; entries can be read while it is open.

    Attributes:
        name: File or folder name.
        entries: The labelled images, in an order that depends on their names only.
        ignored: Names of images that are not used, by the reason.
        empty_classes: What is in folders beside the class folders that hold no image,
            by name.
        other_files: Number of files of other kinds by suffix, the most frequent first.
        lists: Paths of CSVs among them: the labels may be in there instead.
    """

    name: str
    entries: list[Entry]
    ignored: Ignored = field(default_factory=dict)
    empty_classes: Mapping[str, str] = field(default_factory=dict)
    other_files: Mapping[str, int] = field(default_factory=dict)
    lists: tuple[str, ...] = ()


@contextmanager
def open_listing(path: Path) -> Iterator[ImageListing]:
    """Yields the labelled images at a path, listed but not decoded.

    Args:
        path: A folder, a ``.zip`` or a ``.csv``.

    Raises:
        DatasetError: The path does not exist, is of another kind, is damaged, holds no
            image in a class folder, or has a layout that could be read in two ways.
    """
    try:
        is_folder, exists = path.is_dir(), path.exists()
    except OSError as error:
        raise DatasetError(f"cannot read {str(path)!r}: {error.strerror}") from error
    if is_folder:
        yield _label(list_folder(path), path)
    elif not exists:
        raise DatasetError(
            f"expected an image folder, zip or CSV, got {str(path)!r}: no such path"
        )
    elif path.suffix.lower() == ".csv":
        entries, ignored = read_csv(path)
        if not entries:
            raise DatasetError(f"{path.name}: expected rows with images, got none")
        yield ImageListing(path.name, entries, ignored)
    elif path.suffix.lower() == ".zip":
        with open_zip(path) as tree:
            yield _label(tree, path)
    else:
        raise DatasetError(
            f"expected an image folder, .zip or .csv, got {path.name!r}: unpack an"
            " archive of another kind"
        )


def _label(tree: FileTree, path: Path) -> ImageListing:
    """Returns the images with the labels that folders or CSVs give them.

    Raises:
        DatasetError: No image has one.
    """
    listed = read_csv_in(tree) if tree.csvs else None
    listing = _sort_into_classes(tree) if listed is None else _listing(tree, *listed)
    if listing.entries:
        return listing
    if listed is not None:
        raise DatasetError(f"{tree.name}: expected rows with images in the CSV")
    others, hint = listing.other_files, ""
    instead = f" but {describe_other_files(others)}" if others else ""
    if tree.images:
        instead = f" of {len(tree.images):,} in one"
        hint = hint_of_labels(tree)
    raise DatasetError(
        f"expected images in class folders (<class>/<image> or <split>/<class>/<image>)"
        f" in {str(path)!r}, got none{instead}{hint}"
    )


def order_labels(
    listing: ImageListing, labels: Sequence[str] | None
) -> tuple[str, ...]:
    """Returns the class names in label order.

    Args:
        listing: The images.
        labels: Expected class names in order; None sorts the names found.

    Raises:
        DatasetError: There are others, fewer than two, or classes without an image.
    """
    found = sorted({entry.label for entry in listing.entries})
    missing = {
        name: kinds
        for name, kinds in sorted(listing.empty_classes.items())
        if name not in found
    }
    if labels is not None:
        unknown = sorted(set(found) - set(labels))
        if unknown:
            raise DatasetError(
                f"{listing.name}: expected only the classes {list(labels)},"
                f" got also {unknown[:10]}"
            )
        return tuple(labels)
    if missing:
        each = [f"{name!r} ({kinds or 'empty'})" for name, kinds in missing.items()]
        raise DatasetError(
            f"{listing.name}: expected images in every class folder, got none in"
            f" {shorten(each)}: fill or remove them"
        )
    if len(found) < 2:
        hint = "give --data the folder that holds the class folders"
        if listing.lists:
            csv = shorten(listing.lists)
            hint = f"if the labels are in {csv}, give that CSV{as_data(listing.name)}"
        raise DatasetError(
            f"{listing.name}: expected at least two classes (one folder each), got"
            f" {found}: {hint}"
        )
    try:
        return check_labels(found)  # now, not at the export after hours of training
    except MetadataError as error:
        raise DatasetError(f"{listing.name}: {error}; rename the folder") from error


def _listing(
    tree: FileTree,
    entries: list[Entry],
    ignored: Ignored,
    empty: Mapping[str, str] | None = None,
) -> ImageListing:
    return ImageListing(
        tree.name,
        entries,
        {**tree.ignored, **ignored},
        empty or {},
        count_suffixes(tree.others),
        tuple(file.path for file in tree.csvs),
    )


def _sort_into_classes(tree: FileTree) -> ImageListing:
    layout = find_classes(tree)
    if layout is None or not layout.is_plain(tree):
        layout = resolve(tree, layout)
    entries: list[Entry] = []
    ignored: dict[str, list[str]] = {}
    for file in tree.images:
        if place := layout.place(file.parts):
            entries.append(Entry(file.path, *place, file.read, file.stamp))
        else:
            ignored.setdefault(layout.why_ignored(file.parts), []).append(file.path)
    return _listing(tree, entries, ignored, layout.empty)


def describe_other_files(other_files: Mapping[str, int]) -> str:
    """Returns a text with the number of files by suffix, and the suffixes read."""
    kinds = [f"{count:,} {kind}" for kind, count in other_files.items()]
    hidden = len(kinds) - SHOWN_KINDS
    rest = f" and {hidden} other kinds" if hidden > 0 else ""
    suffixes = " ".join(sorted(SUFFIXES))
    return f"{', '.join(kinds[:SHOWN_KINDS])}{rest} (read is {suffixes})"


def describe_unused(
    ignored: Ignored, unreadable: Mapping[str, str], damaged: Sequence[str]
) -> list[str]:
    """Returns a line with the number and some names for each reason.

    Args:
        ignored: What is not used: names by kind and reason.
        unreadable: Why files could not be decoded, by their names.
        damaged: Names of JPEGs that were decoded with damage.
    """
    lines = [f"ignored {len(n):,} {what}: {shorten(n)}" for what, n in ignored.items()]
    by_reason: dict[str, list[str]] = {}
    for name, reason in unreadable.items():
        by_reason.setdefault(reason, []).append(name)
    lines += [
        f"skipped {len(names):,} files that cannot be read ({reason}): {shorten(names)}"
        for reason, names in by_reason.items()
    ]
    if damaged:
        lines.append(f"used {len(damaged):,} damaged JPEGs: {shorten(damaged)}")
    return [one_line(line) for line in lines]  # names may hold anything


def describe_dark(dark: Sequence[str]) -> list[str]:
    """Returns a line about images that seem to use fewer than their 16 bits a pixel."""
    if not dark:
        return []
    return [
        one_line(
            f"used {len(dark):,} dark images with 16 bits a pixel (if their values have"
            f" fewer bits, save them with 8): {shorten(dark)}"
        )
    ]
