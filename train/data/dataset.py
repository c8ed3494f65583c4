"""Reads labelled images: a folder per class, a zip of one, or ``fer2013.csv``.

Needs numpy and cv2 only, so that the benchmarks read the same images on the board.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from edge_runtime.errors import DatasetError, MetadataError
from edge_runtime.hardware.board import read_memory
from edge_runtime.model_file.metadata import check_labels
from edge_runtime.preprocessing import CHANNELS, Colour, Fit
from edge_runtime.sources.fake.face import LABELS
from train.data.decoding import decode_splits, probe_format
from train.data.drawn_faces import drawn_faces
from train.data.listing.image_files import (
    ImageListing,
    describe_dark,
    describe_unused,
    open_listing,
)
from train.data.listing.stored_files import Ignored, as_data, shorten
from train.data.missing import MissingImages, require_training_images
from train.data.splits import (
    SPLITS,
    TEST,
    TRAIN,
    VALIDATION,
    Split,
    carve_validation,
    count_shared,
    drop_leaks,
    fingerprint,
    validate_on_test,
)
from train.data.vote_labels import VotedListing, VoteSource, label_by_votes

logger = logging.getLogger(__name__)

DRAWN = "drawn"  # the built-in set, wherever a path is expected
DRAWN_COUNTS = {TRAIN: 7000, VALIDATION: 1400, TEST: 1750}
DRAWN_SIZE_PX = 48


@dataclass(frozen=True)
class Dataset:
    """A labelled image set, read and split.

    Attributes:
        name: File or folder name of the images, with that of the votes that the labels
            come from.
        labels: Class names in label order (sorted by name).
        size_px: Side of the square images in pixels.
        colour: ``"grey"`` or ``"rgb"``.
        train: Images to learn from, without copies of evaluation images.
        validation: Images that decide (checkpoint, temperature, thresholds).
        test: Images that only measure; empty where the source has none.
        dropped: Names of training images dropped as copies of evaluation images.
        unreadable: Why files could not be decoded, by their names.
        damaged: Names of JPEGs that were decoded with damage, and are used.
        dark: Names of images that seem to use fewer than their 16 bits a pixel.
        shared: Number of test images whose pixels occur in the validation split.
        ignored: What is not used: names by kind and reason.
        other_files: Number of files of other kinds by suffix.
        left_out: Number of images without a label, by reason.
        validation_from: Where the validation split comes from: ``"source"``,
            ``"train"`` (a seeded stratified part of it) or ``"test"``.
        fingerprint: SHA-256 of the labelled pixels of all splits, hexadecimal.
    """

    name: str
    labels: tuple[str, ...]
    size_px: int
    colour: Colour
    train: Split
    validation: Split
    test: Split
    dropped: tuple[str, ...] = ()
    unreadable: Mapping[str, str] = field(default_factory=dict)
    damaged: tuple[str, ...] = ()
    dark: tuple[str, ...] = ()
    shared: int = 0
    ignored: Ignored = field(default_factory=dict)
    other_files: Mapping[str, int] = field(default_factory=dict)
    left_out: dict[str, int] = field(default_factory=dict)
    validation_from: str = "source"
    fingerprint: str = ""

    def split(self, name: str) -> Split:
        """Returns a split by its name: train, validation or test."""
        if name not in SPLITS:
            raise DatasetError(f"expected a split of {SPLITS}, got {name!r}")
        split: Split = getattr(self, name)
        return split


def load(
    path: Path | str,
    *,
    size_px: int | None = None,
    colour: Colour | None = None,
    fit: Fit = "stretch",
    validation_from: str = "auto",
    validation_frac: float = 0.1,
    seed: int = 0,
    labels: Sequence[str] | None = None,
    votes: VoteSource | None = None,
) -> Dataset:
    """Returns the labelled images at a path, decoded, split and without leaks.

    Args:
        path: A folder, a ``.zip`` of one, a CSV (see
            ``train.data.listing.csv_lists``), or ``"drawn"`` for the built-in drawn
            faces.
        size_px: Side of the square images; None takes the images' own size when they
            are all square, equal and at most 224, else 96.
        colour: ``"grey"`` or ``"rgb"``; None looks at the images.
        fit: How images become square, see
            ``edge_runtime.preprocessing.to_model_input``.
        validation_from: ``"auto"`` takes the source's own validation split, else a
            part of the training images; ``"train"`` always takes that part;
            ``"test"`` uses the split named test to validate (there is no test then).
        validation_frac: Share of each class of the training images that validates
            when the source has no validation split, in (0, 0.5].
        seed: Decides which training images validate.
        labels: Expected class names in order; None sorts the names found.
        votes: Raters' votes that the labels come from, instead of class folders; see
            ``train.data.vote_labels.label_by_votes``.

    Raises:
        DatasetError: Nothing there, no images, one class, an empty class, or an
            unknown layout; the message says what was found.

    Examples:
        >>> data = load("photos", size_px=48, validation_frac=0.2)
        >>> data.labels
        ('cat', 'dog')
        >>> data.train.images.shape, len(data.validation)
        ((16, 48, 48, 1), 4)
    """
    if not 0 < validation_frac <= 0.5:
        raise DatasetError(
            f"expected a validation share in (0, 0.5], got {validation_frac}"
        )
    if str(path) == DRAWN:
        _refuse_votes(votes)
        return _drawn(size_px or DRAWN_SIZE_PX)
    with open_listing(Path(path)) as listing:
        voted = VotedListing(listing, ())
        if votes is not None:
            voted = label_by_votes(listing, votes)
        entries = voted.listing.entries
        names = _order_labels(voted.listing, labels or voted.labels or None)
        require_training_images(voted.listing)
        if size_px is None or colour is None:
            found_size, found_colour = probe_format(entries)
            size_px, colour = size_px or found_size, colour or found_colour
        _require_memory(len(entries), size_px, colour)
        decoded = decode_splits(entries, names, size_px=size_px, colour=colour, fit=fit)
    splits, origin = decoded.splits, "source"
    if validation_from == "test":
        splits, origin = validate_on_test(splits, listing.name)
    elif validation_from == "train" or not len(splits[VALIDATION]):
        origin = "train"
        splits = carve_validation(splits, validation_frac, seed, voted.undecided)
    splits, dropped = drop_leaks(splits)
    missing = MissingImages(voted.listing, names, decoded.unreadable, dropped, origin)
    missing.require_every_class(splits)
    return Dataset(
        name=voted.listing.name,
        labels=names,
        size_px=size_px,
        colour=colour,
        train=splits[TRAIN],
        validation=splits[VALIDATION],
        test=splits[TEST],
        dropped=dropped,
        unreadable=decoded.reasons,
        damaged=tuple(decoded.damaged),
        dark=tuple(decoded.dark),
        shared=count_shared(splits),
        ignored=listing.ignored,
        other_files=listing.other_files,
        left_out=voted.left_out,
        validation_from=origin,
        fingerprint=fingerprint(splits, names),
    )


def load_split(
    path: Path | str,
    *,
    split: str,
    size_px: int,
    colour: Colour,
    labels: Sequence[str],
    fit: Fit = "stretch",
    votes: VoteSource | None = None,
) -> Split:
    """Returns the images of one split as a finished model takes them.

    Only that split is decoded, so measuring on a board needs no memory for the
    training images. A source without splits (class folders only) is taken whole.

    Args:
        path: As for ``load``.
        split: ``"train"``, ``"validation"`` or ``"test"``.
        size_px: Side of the square images, from the model.
        colour: ``"grey"`` or ``"rgb"``, from the model.
        labels: The model's class names in order; the source must hold no others.
        fit: How images become square, from the model.
        votes: As for ``load``; every image then has the label of a majority.

    Raises:
        DatasetError: As for ``load``, or the source has no such split.
    """
    if str(path) == DRAWN:
        _refuse_votes(votes)
        return _drawn_split(split, size_px)
    with open_listing(Path(path)) as listing:
        voted = VotedListing(listing, ())
        if votes is not None:
            voted = label_by_votes(listing, votes)
        names = _order_labels(voted.listing, labels)
        decided = [e for e in voted.listing.entries if e.name not in voted.undecided]
        present = {entry.split for entry in decided}
        chosen = [entry for entry in decided if entry.split == split]
        if not chosen:
            raise DatasetError(
                f"{listing.name} has no {split} split, got {sorted(present)}"
            )
        decoded = decode_splits(chosen, names, size_px=size_px, colour=colour, fit=fit)
    lines = describe_unused(listing.ignored, decoded.reasons, decoded.damaged)
    for line in (*lines, *describe_dark(decoded.dark)):
        logger.warning("%s", line)
    if not len(decoded.splits[split]):
        raise DatasetError(f"{listing.name}: no readable image in split {split}")
    return decoded.splits[split]


def _refuse_votes(votes: VoteSource | None) -> None:
    if votes is not None:
        raise DatasetError(
            f"{votes.path}: the drawn faces have labels of their own: name the images"
            " that were voted on with --data, or leave out --labels-from"
        )


def _drawn(size_px: int) -> Dataset:
    """Returns the built-in set; its splits come from different seeds."""
    splits = {name: _drawn_split(name, size_px) for name in SPLITS}
    splits, dropped = drop_leaks(splits)
    return Dataset(
        name="drawn faces",
        labels=LABELS,
        size_px=size_px,
        colour="grey",
        train=splits[TRAIN],
        validation=splits[VALIDATION],
        test=splits[TEST],
        dropped=dropped,
        fingerprint=fingerprint(splits, LABELS),
    )


def _drawn_split(name: str, size_px: int) -> Split:
    count, seed = DRAWN_COUNTS[name], SPLITS.index(name)
    images, labels = drawn_faces(count, seed, size_px=size_px)
    names = tuple(f"{name} {index}" for index in range(count))
    return Split(images[..., np.newaxis], labels, names)


def _order_labels(
    listing: ImageListing, labels: Sequence[str] | None
) -> tuple[str, ...]:
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


def _require_memory(count: int, size_px: int, colour: Colour) -> None:
    """Raises DatasetError if the images would not fit into memory."""
    needed = 2 * count * size_px**2 * CHANNELS[colour]  # they are copied once
    memory = read_memory()
    if memory is not None and needed > memory.available:
        free = f"{memory.available / 2**30:.1f}"
        raise DatasetError(
            f"{count:,} images of {size_px} pixels need {needed / 2**30:.1f} GiB of"
            f" memory, {free} are free: choose a smaller --size"
        )
