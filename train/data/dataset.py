"""Reads labelled images: a folder per class, a zip of one, or ``fer2013.csv``.

Needs numpy and cv2 only, so that the benchmarks read the same images on the board.
Two steps: ``scan`` lists the images without decoding them, ``load`` decodes them,
splits them and drops training images that would give the evaluation away.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import numpy.typing as npt

from edge_runtime.errors import DatasetError, MetadataError
from edge_runtime.hardware.memory import available_bytes
from edge_runtime.model_file.metadata import check_labels
from edge_runtime.preprocessing import CHANNELS, Colour, to_model_input
from edge_runtime.sources.fake.face import LABELS
from train.data.drawn_faces import drawn_faces
from train.data.image_files import Entry, Source, decode, described, open_source
from train.data.splits import (
    SPLITS,
    TEST,
    TRAIN,
    VALIDATION,
    Split,
    carve_validation,
    drop_leaks,
    fingerprint,
    validate_on_test,
)
from train.progress import progress_bar

logger = logging.getLogger(__name__)

DRAWN = "drawn"  # the built-in set, wherever a path is expected
DRAWN_COUNTS = {TRAIN: 7000, VALIDATION: 1400, TEST: 1750}
SHOWN_UNREADABLE = 10
LARGEST_AUTO_SIZE_PX = 224
FALLBACK_SIZE_PX = 96
DRAWN_SIZE_PX = 48
PROBED_IMAGES = 64


@dataclass(frozen=True)
class Dataset:
    """A labelled image set, read and split.

    Attributes:
        name: File or folder name of the source.
        labels: Class names in label order (sorted by name).
        size_px: Side of the square images in pixels.
        colour: ``"grey"`` or ``"rgb"``.
        train: Images to learn from, without copies of evaluation images.
        validation: Images that decide (checkpoint, temperature, thresholds).
        test: Images that only measure; empty where the source has none.
        dropped: Names of training images dropped as copies of evaluation images.
        unreadable: Names of files that could not be decoded.
        passed_over: Number of pictures that lie in no class folder.
        others: How many files of each suffix are no pictures that can be read.
        validation_from: Where the validation split comes from: ``"source"``,
            ``"train"`` (a seeded stratified part of it) or ``"test"``.
    """

    name: str
    labels: tuple[str, ...]
    size_px: int
    colour: Colour
    train: Split
    validation: Split
    test: Split
    dropped: tuple[str, ...] = ()
    unreadable: tuple[str, ...] = ()
    passed_over: int = 0
    others: dict[str, int] = field(default_factory=dict)
    validation_from: str = "source"
    fingerprint: str = field(default="")

    def split(self, name: str) -> Split:
        """Returns a split by its name: train, validation or test."""
        if name not in SPLITS:
            raise DatasetError(f"expected a split of {SPLITS}, got {name!r}")
        split: Split = getattr(self, name)
        return split

    def summary(self) -> str:
        """Returns a table of images per class and split, with what was dropped."""
        return _summary(self)


def load(
    path: Path | str,
    *,
    size_px: int | None = None,
    colour: Colour | None = None,
    validation_from: str = "auto",
    validation_frac: float = 0.1,
    seed: int = 0,
    labels: Sequence[str] | None = None,
) -> Dataset:
    """Returns the labelled images at a path, decoded, split and without leaks.

    Args:
        path: A folder, a ``.zip`` of one, a CSV with the columns of fer2013.csv, or
            ``"drawn"`` for the built-in drawn faces.
        size_px: Side of the square images; None takes the images' own size when they
            are all square, equal and at most 224, else 96.
        colour: ``"grey"`` or ``"rgb"``; None looks at the images.
        validation_from: ``"auto"`` takes the source's own validation split, else a
            part of the training images; ``"train"`` always takes that part;
            ``"test"`` uses the split named test to validate (there is no test then).
        validation_frac: Share of each class of the training images that validates
            when the source has no validation split, in (0, 0.5].
        seed: Decides which training images validate.
        labels: Expected class names in order; None sorts the names found.

    Raises:
        DatasetError: Nothing there, no images, one class, an empty class, or an
            unknown layout; the message says what was found.
    """
    if not 0 < validation_frac <= 0.5:
        raise DatasetError(
            f"expected a validation share in (0, 0.5], got {validation_frac}"
        )
    if str(path) == DRAWN:
        return _drawn(size_px or DRAWN_SIZE_PX)
    with open_source(Path(path)) as source:
        entries = source.entries
        names = _label_order(source, labels)
        if size_px is None or colour is None:
            found_size, found_colour = _probe(entries)
            size_px, colour = size_px or found_size, colour or found_colour
        _require_memory(len(entries), size_px, colour)
        splits, unreadable = _decode_all(entries, names, size_px, colour)
        source_name, passed_over = source.name, source.passed_over
        others = source.others
    origin = "source"
    if validation_from == "test":
        splits, origin = validate_on_test(splits, source_name)
    elif validation_from == "train" or not len(splits[VALIDATION]):
        splits, origin = carve_validation(splits, validation_frac, seed), "train"
    splits, dropped = drop_leaks(splits)
    _require_every_class(splits, names, source_name, origin)
    return Dataset(
        name=source_name,
        labels=names,
        size_px=size_px,
        colour=colour,
        train=splits[TRAIN],
        validation=splits[VALIDATION],
        test=splits[TEST],
        dropped=dropped,
        unreadable=unreadable,
        passed_over=passed_over,
        others=others,
        validation_from=origin,
        fingerprint=fingerprint(splits, names),
    )


def load_split(
    path: Path | str,
    *,
    split: str | None,
    size_px: int,
    colour: Colour,
    labels: Sequence[str],
) -> Split:
    """Returns the images of one split as a finished model takes them.

    Only that split is decoded, so measuring on a board needs no memory for the
    training images. A source without splits (class folders only) is taken whole.

    Args:
        path: As for ``load``.
        split: ``"train"``, ``"validation"`` or ``"test"``; None takes test, else
            validation, else everything.
        size_px: Side of the square images, from the model.
        colour: ``"grey"`` or ``"rgb"``, from the model.
        labels: The model's class names in order; the source must hold no others.

    Raises:
        DatasetError: As for ``load``, or the source has no such split.
    """
    if str(path) == DRAWN:
        return _drawn_split(split or TEST, size_px)
    with open_source(Path(path)) as source:
        names = _label_order(source, labels)
        present = {entry.split for entry in source.entries}
        wanted = split or next((s for s in (TEST, VALIDATION) if s in present), TRAIN)
        chosen = [entry for entry in source.entries if entry.split == wanted]
        if not chosen:
            raise DatasetError(
                f"{source.name} has no {wanted} split, got {sorted(present)}"
            )
        splits, unreadable = _decode_all(chosen, names, size_px, colour)
    if unreadable:
        logger.warning("%s", _unreadable_line(unreadable))
    if not len(splits[wanted]):
        raise DatasetError(f"{source.name}: no readable image in split {wanted}")
    return splits[wanted]


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


def _label_order(source: Source, labels: Sequence[str] | None) -> tuple[str, ...]:
    found = sorted({entry.label for entry in source.entries})
    missing = sorted(set(source.empty_classes) - set(found))
    if labels is not None:
        unknown = sorted(set(found) - set(labels))
        if unknown:
            raise DatasetError(
                f"{source.name}: expected only the classes {list(labels)},"
                f" got also {unknown[:10]}"
            )
        return tuple(labels)
    if missing:
        raise DatasetError(
            f"{source.name}: expected images in every class folder, got none in"
            f" {missing[:10]}: fill or remove them"
        )
    if len(found) < 2:
        raise DatasetError(
            f"{source.name}: expected at least two classes (one folder each),"
            f" got {found}"
        )
    try:
        return check_labels(found)  # now, not at the export after hours of training
    except MetadataError as error:
        raise DatasetError(f"{source.name}: {error}; rename the folder") from error


def _require_memory(count: int, size_px: int, colour: Colour) -> None:
    """Raises DatasetError if the images would not fit into memory."""
    needed = 2 * count * size_px**2 * CHANNELS[colour]  # they are copied once
    free = available_bytes()
    if free is not None and needed > free:
        raise DatasetError(
            f"{count:,} images of {size_px} pixels need {needed / 2**30:.1f} GiB of"
            f" memory, {free / 2**30:.1f} are free: choose a smaller --size"
        )


def _probe(entries: Sequence[Entry]) -> tuple[int, Colour]:
    step = max(1, len(entries) // PROBED_IMAGES)
    images = [image for e in entries[::step] if (image := decode(e)) is not None]
    shapes = {image.shape[:2] for image in images}
    height, width = next(iter(shapes)) if len(shapes) == 1 else (0, 1)
    own_size = height == width and height <= LARGEST_AUTO_SIZE_PX
    size_px = height if own_size else FALLBACK_SIZE_PX
    grey = all(_is_grey(image) for image in images)
    return size_px, "grey" if grey else "rgb"


def _is_grey(image: npt.NDArray[np.uint8]) -> bool:
    if image.ndim == 2:
        return True
    blue, green, red = image[..., 0], image[..., 1], image[..., 2]
    return bool(np.array_equal(blue, green) and np.array_equal(green, red))


def _decode_all(
    entries: Sequence[Entry], labels: tuple[str, ...], size_px: int, colour: Colour
) -> tuple[dict[str, Split], tuple[str, ...]]:
    """Returns every split's images, and the names of files that are no images."""
    index = {label: i for i, label in enumerate(labels)}
    shape = (size_px, size_px, CHANNELS[colour])
    counts = Counter(entry.split for entry in entries)
    images = {s: np.empty((counts[s], *shape), np.uint8) for s in SPLITS}
    classes: dict[str, list[int]] = {s: [] for s in SPLITS}
    names: dict[str, list[str]] = {s: [] for s in SPLITS}
    unreadable = []
    for entry in progress_bar(entries, "reading images", unit="image"):
        image = decode(entry)
        if image is None:
            unreadable.append(entry.name)
            continue
        row = len(names[entry.split])
        images[entry.split][row] = to_model_input(image, size_px, colour)
        classes[entry.split].append(index[entry.label])
        names[entry.split].append(entry.name)
    splits = {
        s: Split(
            images[s][: len(names[s])],
            np.array(classes[s], dtype=np.int64),
            tuple(names[s]),
        )
        for s in SPLITS
    }
    return splits, tuple(unreadable)


def _require_every_class(
    splits: dict[str, Split], labels: tuple[str, ...], name: str, origin: str
) -> None:
    for split in (TRAIN, VALIDATION):
        counts = np.bincount(splits[split].labels, minlength=len(labels))
        empty = [
            label for label, count in zip(labels, counts, strict=True) if not count
        ]
        if empty:
            hint = ": each needs two or more, one to validate with"
            raise DatasetError(
                f"{name}: expected images of every class in the {split} split,"
                f" got none of {empty[:10]}{hint if origin == 'train' else ''}"
            )


def _unreadable_line(unreadable: Sequence[str]) -> str:
    shown = ", ".join(unreadable[:SHOWN_UNREADABLE])
    more = len(unreadable) - SHOWN_UNREADABLE
    rest = f" and {more} more" if more > 0 else ""
    return f"skipped {len(unreadable)} files that are no readable images: {shown}{rest}"


def _summary(data: Dataset) -> str:
    width = max(len(label) for label in (*data.labels, "all"))
    rows = [f"{data.name}: {data.size_px}x{data.size_px} {data.colour}"]
    rows.append(f"  {'class':<{width}}" + "".join(f"{s:>12}" for s in SPLITS))
    for index, label in enumerate(data.labels):
        counts = [int(np.sum(data.split(s).labels == index)) for s in SPLITS]
        rows.append(f"  {label:<{width}}" + "".join(f"{c:>12,}" for c in counts))
    totals = "".join(f"{len(data.split(s)):>12,}" for s in SPLITS)
    rows.append(f"  {'all':<{width}}{totals}")
    if data.validation_from == "train":
        rows.append("validation: a seeded, stratified part of the training images")
    if data.validation_from == "test":
        rows.append("validation: the split named test (nothing is left to test on)")
    if data.dropped:
        rows.append(
            f"dropped {len(data.dropped)} training images whose pixels"
            " occur in an evaluation split"
        )
    if data.passed_over:
        rows.append(
            f"passed over {data.passed_over} pictures that are in no class folder"
        )
    if data.others:
        count = sum(data.others.values())
        rows.append(f"passed over {count:,} other files: {described(data.others)}")
    if data.unreadable:
        rows.append(_unreadable_line(data.unreadable))
    return "\n".join(rows)
