"""A labelled image set to train on: read, split and without leaks.

Needs numpy and cv2 only.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

from edge_runtime.errors import DatasetError
from edge_runtime.preprocessing import Colour, Fit
from edge_runtime.sources.fake.face import LABELS
from train.data.decoding import Decoder, decode_splits, keep_open
from train.data.drawn_faces import DRAWN, DRAWN_SIZE_PX, drawn_split
from train.data.image_formats import ImageFormat
from train.data.image_stores import require_memory
from train.data.left_out import leave_out_marked, refuse_leave_out
from train.data.listing.image_files import order_labels
from train.data.listing.joined import open_listings
from train.data.listing.stored_files import Ignored
from train.data.missing import MissingImages, require_training_images
from train.data.probing import probe_format
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
from train.data.vote_labels import (
    VotedListing,
    VoteSource,
    label_by_votes,
    refuse_votes,
)


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
        marked: Names of images that a CSV leaves out.
        unknown_marked: Names in that CSV that the set does not have.
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
    marked: tuple[str, ...] = ()
    unknown_marked: tuple[str, ...] = ()
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
    leave_out: str = "",
    more: Sequence[str] = (),
    decoder: Decoder | None = None,
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
        leave_out: A CSV of images that are not used, or ``""``; see
            ``train.data.left_out.leave_out_marked``.
        more: Further image sets; the first one decides size and colour.
        decoder: How the images are decoded and kept; None decodes on all cores.

    Raises:
        DatasetError: Nothing there, no images, one class, an empty class, or an
            unknown layout; the message says what was found.
        OutputError: The decoded images cannot be kept on the disk.

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
    if str(path) == DRAWN and not more:
        refuse_votes(votes)
        refuse_leave_out(leave_out)
        return _drawn(size_px or DRAWN_SIZE_PX)
    with ExitStack() as opened:
        listing = opened.enter_context(open_listings(Path(path), more))
        marked = leave_out_marked(listing, leave_out)
        listing = marked.listing
        voted = VotedListing(listing, ())
        if votes is not None:
            voted = label_by_votes(listing, votes)
        entries = voted.listing.entries
        names = order_labels(voted.listing, labels or voted.labels or None)
        require_training_images(voted.listing)
        if size_px is None or colour is None:
            of_first = [entry for entry in entries if not entry.source]
            found_size, found_colour = probe_format(of_first)
            size_px, colour = size_px or found_size, colour or found_colour
        form = ImageFormat(size_px, colour, fit)
        decoder = decoder or Decoder()
        if decoder.in_memory(len(entries), form):
            require_memory(len(entries), form)
        decoded = decode_splits(entries, names, form, decoder)
        keep_open(opened, decoded)
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
        marked=marked.left_out,
        unknown_marked=marked.unknown,
        validation_from=origin,
        fingerprint=fingerprint(splits, names),
    )


def _drawn(size_px: int) -> Dataset:
    """Returns the built-in set; its splits come from different seeds."""
    splits = {name: drawn_split(name, size_px) for name in SPLITS}
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
