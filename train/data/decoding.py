"""Decodes listed images into arrays.

Needs numpy and cv2 only, so that the benchmarks read the same images on the board.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
import numpy.typing as npt

from edge_runtime.errors import DatasetError
from edge_runtime.preprocessing import CHANNELS, Colour, Fit, to_model_input
from edge_runtime.utils.picture_kinds import why_unreadable
from edge_runtime.utils.pictures import DARKEST_16_BITS, decode_picture, to_8_bits
from edge_runtime.utils.stderr import capture_stderr, progress_bar
from train.data.drawn_faces import DRAWN, drawn_split
from train.data.listing.entries import Entry
from train.data.listing.image_files import (
    describe_dark,
    describe_unused,
    open_listing,
    order_labels,
)
from train.data.splits import SPLITS, Split
from train.data.vote_labels import (
    VotedListing,
    VoteSource,
    label_by_votes,
    refuse_votes,
)

logger = logging.getLogger(__name__)

LARGEST_AUTO_SIZE_PX = 224
FALLBACK_SIZE_PX = 96
PROBED_IMAGES = 64
LARGEST_ICON_PX = 64
_DAMAGE = "Corrupt JPEG data"  # libjpeg's words


class DecodedImage(NamedTuple):
    """A decoded image.

    Attributes:
        pixels: uint8 (H, W) grey or (H, W, 3) BGR, 0..255, upright.
        deep: It had 16 bits a pixel.
        dark: It seems to use fewer of them.
        damaged: The decoder met bytes that do not belong there.
    """

    pixels: npt.NDArray[np.uint8]
    deep: bool = False
    dark: bool = False
    damaged: bool = False


@dataclass
class DecodedSet:
    """What came of decoding the images of a set.

    Attributes:
        splits: The images by split.
        unreadable: Entries that could not be decoded, and why.
        damaged: Names of JPEGs that were decoded with damage.
        dark: Names of images that seem to use fewer than their 16 bits a pixel.
    """

    splits: dict[str, Split]
    unreadable: list[tuple[Entry, str]] = field(default_factory=list)
    damaged: list[str] = field(default_factory=list)
    dark: list[str] = field(default_factory=list)

    @property
    def reasons(self) -> dict[str, str]:
        """Why files could not be decoded, by their names."""
        return {entry.name: reason for entry, reason in self.unreadable}


def decode(entry: Entry) -> DecodedImage:
    """Returns the decoded image of an entry.

    Raises:
        ValueError: It cannot be read or decoded; the text is the reason.
    """
    try:
        data = entry.read()
    except OSError as error:
        raise ValueError(error.strerror or str(error)) from error
    try:
        with capture_stderr() as messages:
            image = decode_picture(data, cv2.IMREAD_ANYCOLOR | cv2.IMREAD_ANYDEPTH)
    except ValueError as error:
        raise ValueError(why_unreadable(data, str(error))) from error
    damaged = _DAMAGE in messages()
    pixels, dark = to_8_bits(image)
    return DecodedImage(pixels, image.dtype == np.uint16, dark, damaged)


def probe_format(entries: Sequence[Entry]) -> tuple[int, Colour]:
    """Returns the side in pixels and the colour that suit some of the images."""
    step = max(1, len(entries) // PROBED_IMAGES)
    images = [image for e in entries[::step] if (image := _pixels(e)) is not None]
    shapes = {image.shape[:2] for image in images}
    height, width = next(iter(shapes)) if len(shapes) == 1 else (0, 1)
    own_size = height == width and height <= LARGEST_AUTO_SIZE_PX
    size_px = height if own_size else FALLBACK_SIZE_PX
    grey = all(_is_grey(image) for image in images)
    return size_px, "grey" if grey else "rgb"


def probe_kind(entries: Sequence[Entry]) -> tuple[bool, bool]:
    """Returns whether most of some images are above 64 pixels, and any is in colour.

    The shorter side counts.
    """
    step = max(1, len(entries) // PROBED_IMAGES)
    images = [image for e in entries[::step] if (image := _pixels(e)) is not None]
    sides = [min(image.shape[:2]) for image in images]
    large = bool(sides) and float(np.median(sides)) > LARGEST_ICON_PX
    return large, not all(_is_grey(image) for image in images)


def _pixels(entry: Entry) -> npt.NDArray[np.uint8] | None:
    try:
        return decode(entry).pixels
    except ValueError:
        return None


def _is_grey(image: npt.NDArray[np.uint8]) -> bool:
    if image.ndim == 2:
        return True
    blue, green, red = image[..., 0], image[..., 1], image[..., 2]
    return bool(np.array_equal(blue, green) and np.array_equal(green, red))


def decode_splits(
    entries: Sequence[Entry],
    labels: tuple[str, ...],
    *,
    size_px: int,
    colour: Colour,
    fit: Fit,
) -> DecodedSet:
    """Returns every split's images, and what could not be decoded.

    Raises:
        DatasetError: Most images of a class with 16 bits a pixel are dark: their values
            have fewer bits, and nothing says how many.
    """
    index = {label: i for i, label in enumerate(labels)}
    shape = (size_px, size_px, CHANNELS[colour])
    counts = Counter(entry.split for entry in entries)
    images = {s: np.empty((counts[s], *shape), np.uint8) for s in SPLITS}
    classes: dict[str, list[int]] = {s: [] for s in SPLITS}
    names: dict[str, list[str]] = {s: [] for s in SPLITS}
    result, deep, dark = DecodedSet({}), Counter[str](), Counter[str]()
    for entry in progress_bar(entries, "reading images", unit="image"):
        try:
            picture = decode(entry)
        except ValueError as error:
            result.unreadable.append((entry, str(error)))
            continue
        if picture.damaged:
            result.damaged.append(entry.name)
        if picture.dark:
            result.dark.append(entry.name)
        deep[entry.label] += picture.deep
        dark[entry.label] += picture.dark
        row = len(names[entry.split])
        images[entry.split][row] = to_model_input(picture.pixels, size_px, colour, fit)
        classes[entry.split].append(index[entry.label])
        names[entry.split].append(entry.name)
    # By class: what is darker in one class alone is what a network learns first.
    for label, count in dark.items():
        if 2 * count > deep[label]:
            raise DatasetError(
                f"expected values to 65,535 in images with 16 bits a pixel, got"
                f" {count:,} of {label!r} with none above {DARKEST_16_BITS - 1:,}, such"
                f" as {result.dark[-1]}: they would be dark or black; save them with 8"
                " bits a pixel, values 0 to 255"
            )
    result.splits = {
        s: Split(
            images[s][: len(names[s])],
            np.array(classes[s], dtype=np.int64),
            tuple(names[s]),
        )
        for s in SPLITS
    }
    return result


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
        path: As for ``train.data.dataset.load``.
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
        refuse_votes(votes)
        return drawn_split(split, size_px)
    with open_listing(Path(path)) as listing:
        voted = VotedListing(listing, ())
        if votes is not None:
            voted = label_by_votes(listing, votes)
        names = order_labels(voted.listing, labels)
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
