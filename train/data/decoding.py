"""Decodes images, alone and as the splits of a set, in several processes.

Needs numpy and cv2 only, so that the benchmarks read the same images on the board.
"""

from __future__ import annotations

import logging
import time
import weakref
from collections import Counter, deque
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from itertools import starmap
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
import numpy.typing as npt

from edge_runtime.errors import DatasetError
from edge_runtime.preprocessing import CHANNELS, Colour, Fit, to_model_input
from edge_runtime.utils.picture_kinds import why_unreadable
from edge_runtime.utils.pictures import DARKEST_16_BITS, decode_picture, to_8_bits
from edge_runtime.utils.stderr import capture_stderr, progress_counter
from train.data.drawn_faces import DRAWN, drawn_split
from train.data.image_formats import (
    Flags,
    ImageFile,
    ImageFormat,
    PreparedImage,
    content_hash,
)
from train.data.image_stores import Cache, ImageStore, open_store, stamp_of
from train.data.listing.entries import Entry
from train.data.listing.image_files import (
    describe_dark,
    describe_unused,
    open_listing,
    order_labels,
)
from train.data.splits import SPLITS, Split, pixel_hash
from train.data.stored_images import Images, StoredImages
from train.data.vote_labels import (
    VotedListing,
    VoteSource,
    label_by_votes,
    refuse_votes,
)
from train.data.workers import Workers, available_cores

logger = logging.getLogger(__name__)

SMALL_SET_BYTES = 2**28  # decoded anew sooner than anybody minds
WORTH_PROCESSES_S = 2.0  # of one core; less is done sooner here
# What a process decodes at a time: at most so many images, or bytes of their files.
IMAGES_AT_ONCE, BYTES_AT_ONCE = 32, 4 * 2**20
_DAMAGE = "Corrupt JPEG data"  # libjpeg's words


PrepareArguments = tuple[list[bytes], ImageFormat, bool]


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


def decode(entry: Entry) -> DecodedImage:
    """Returns the decoded image of an entry.

    Raises:
        ValueError: It cannot be read or decoded; the text is the reason.
    """
    return decode_bytes(read(entry))


def read(entry: Entry) -> bytes:
    """Returns the bytes of an entry's image file.

    Raises:
        ValueError: It cannot be read; the text is the reason.
    """
    try:
        return entry.read()
    except OSError as error:
        raise ValueError(error.strerror or str(error)) from error


def decode_bytes(data: bytes) -> DecodedImage:
    """Returns the decoded image of an image file.

    Raises:
        ValueError: It cannot be decoded; the text is the reason.
    """
    try:
        with capture_stderr() as messages:
            image = decode_picture(data, cv2.IMREAD_ANYCOLOR | cv2.IMREAD_ANYDEPTH)
    except ValueError as error:
        raise ValueError(why_unreadable(data, str(error))) from error
    damaged = _DAMAGE in messages()
    pixels, dark = to_8_bits(image)
    return DecodedImage(pixels, image.dtype == np.uint16, dark, damaged)


def prepare(
    files: Sequence[bytes], form: ImageFormat, hashed: bool
) -> list[PreparedImage | str]:
    """Returns images as a model's input, or the reason why one cannot be decoded.

    Args:
        files: The bytes of image files.
        form: The input.
        hashed: Compute ``pixel_hash``, too.
    """
    prepared: list[PreparedImage | str] = []
    for data in files:
        try:
            image = decode_bytes(data)
        except ValueError as error:
            prepared.append(str(error))
            continue
        pixels = to_model_input(image.pixels, form.size_px, form.colour, form.fit)
        flags = Flags(image.deep, image.dark, image.damaged)
        prepared.append(
            PreparedImage(pixels, pixel_hash(pixels) if hashed else "", flags)
        )
    return prepared


class Decoder(NamedTuple):
    """How images are decoded and kept.

    Attributes:
        cache: ``"ram"``, ``"disk"`` or ``"none"``; None chooses by the size of the set:
            in memory below 256 MiB, else on the disk.
        workers: Processes that decode; with 1 this one does. None takes one for each
            core.
    """

    cache: Cache | None = None
    workers: int | None = None

    def in_memory(self, count: int, form: ImageFormat) -> bool:
        """Returns whether so many images are kept in memory."""
        small = count * form.size_px**2 * CHANNELS[form.colour] < SMALL_SET_BYTES
        return self.cache == "ram" or (self.cache is None and small)


ON_A_BOARD = Decoder(workers=1)  # a process more takes 50 MB


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


@dataclass
class _Outcomes:
    """What came of the entries, by their positions.

    Plain numbers: an object for each image would cost the garbage collector seconds.

    Attributes:
        rows: Rows in the store, int64 (N,); -1 where an image cannot be decoded.
        flags: What is doubtful about an image, if anything is.
        reasons: Why images cannot be decoded.
    """

    rows: npt.NDArray[np.int64]
    flags: dict[int, Flags] = field(default_factory=dict)
    reasons: dict[int, str] = field(default_factory=dict)

    def found(self, index: int, row: int, flags: Flags) -> None:
        self.rows[index] = row
        if any(flags):
            self.flags[index] = flags


class _InMemory:
    """Keeps images in one array."""

    def __init__(self, count: int, form: ImageFormat) -> None:
        shape = (count, form.size_px, form.size_px, CHANNELS[form.colour])
        self._array, self._count = np.empty(shape, np.uint8), 0

    def content_of(self, stamp: str) -> str:
        return ""

    def find(self, file: ImageFile) -> None:
        return None

    def add(self, image: PreparedImage, file: ImageFile) -> int:
        self._array[self._count] = image.pixels
        self._count += 1
        return self._count - 1

    def images(self, rows: list[int]) -> Images:
        start = rows[0] if rows else 0
        whole = rows == list(range(start, start + len(rows)))
        return self._array[start : start + len(rows)] if whole else self._array[rows]

    def finish(self) -> None:
        pass


def decode_splits(
    entries: Sequence[Entry],
    labels: tuple[str, ...],
    form: ImageFormat,
    decoder: Decoder,
) -> DecodedSet:
    """Returns every split's images, and what could not be decoded.

    Args:
        entries: The images; with ``none`` readable as long as they are used.
        labels: Class names in order.
        form: How a model takes them.
        decoder: How they are decoded and kept.

    Raises:
        DatasetError: Most images of a class with 16 bits a pixel are dark: their values
            have fewer bits, and nothing says how many. Or they do not fit in memory.
        OutputError: The disk is full, or cannot be written.
    """
    store: ImageStore | None = None
    if not decoder.in_memory(len(entries), form):
        store = open_store(entries, form, decoder.cache, prepare)
    store = store or _InMemory(len(entries), form)
    try:
        workers = decoder.workers or available_cores()
        outcomes = _decode(entries, form, store, workers)
    finally:
        store.finish()  # also after Ctrl-C: what was decoded is kept
    return _sort(entries, outcomes, labels, store)


def _prepare_all(
    calls: Iterator[PrepareArguments], images: int, workers: int
) -> Iterator[list[PreparedImage | str]]:
    """Yields the results of ``prepare`` in the order of the calls.

    The first is made here: processes are started only where they save time.
    """
    for first in calls:
        before = time.process_time()
        prepared = prepare(*first)
        needed_s = (time.process_time() - before) * images / len(first[0])
        yield prepared
        if workers > 1 and needed_s > WORTH_PROCESSES_S:
            with Workers(workers) as processes:
                yield from processes.map(prepare, calls)
        else:
            yield from starmap(prepare, calls)


def _decode(
    entries: Sequence[Entry], form: ImageFormat, store: ImageStore, workers: int
) -> _Outcomes:
    outcomes = _Outcomes(np.full(len(entries), -1, np.int64))
    sent: deque[list[tuple[int, ImageFile]]] = deque()
    with progress_counter(len(entries), "reading images", unit="image") as step:

        def calls() -> Iterator[PrepareArguments]:
            """Yields the files to decode, and notes the outcome of the others."""
            hashed = not isinstance(store, _InMemory)
            files: list[tuple[int, ImageFile]] = []
            contents: list[bytes] = []
            size = 0
            # By split, so that the array of each is a part of one.
            splits = [SPLITS.index(entry.split) for entry in entries]
            for index in sorted(range(len(entries)), key=splits.__getitem__):
                file = _read_unless_known(index, entries[index], store, outcomes)
                if file is None:
                    step(1)
                    continue
                files.append((index, file[0]))
                contents.append(file[1])
                size += len(file[1])
                if len(files) == IMAGES_AT_ONCE or size > BYTES_AT_ONCE:
                    sent.append(files)
                    yield contents, form, hashed
                    files, contents, size = [], [], 0
            if files:
                sent.append(files)
                yield contents, form, hashed

        for images in _prepare_all(calls(), len(entries), workers):
            for (index, file), image in zip(sent.popleft(), images, strict=True):
                if isinstance(image, str):
                    outcomes.reasons[index] = image
                else:
                    outcomes.found(index, store.add(image, file), image.flags)
            step(len(images))
    return outcomes


def _read_unless_known(
    index: int, entry: Entry, store: ImageStore, outcomes: _Outcomes
) -> tuple[ImageFile, bytes] | None:
    """Returns a file and its bytes; None where it need not be decoded."""
    keeps = not isinstance(store, _InMemory)
    stamp = stamp_of(entry) if keeps else ""  # before its bytes: they may change
    content = store.content_of(stamp)
    found = store.find(ImageFile(entry, stamp, content)) if content else None
    if found is None:
        try:
            data = read(entry)
        except ValueError as error:
            outcomes.reasons[index] = str(error)
            return None
        file = ImageFile(entry, stamp, content_hash(data) if keeps else "")
        found = store.find(file)
        if found is None:
            return file, data
    outcomes.found(index, *found)
    return None


def _sort(
    entries: Sequence[Entry],
    outcomes: _Outcomes,
    labels: tuple[str, ...],
    store: ImageStore,
) -> DecodedSet:
    """Returns the images by split.

    Raises:
        DatasetError: Most images of a class are dark for their 16 bits.
    """
    result, number = DecodedSet({}), {label: i for i, label in enumerate(labels)}
    deep, dark = Counter[str](), Counter[str]()
    names: dict[str, list[str]] = {split: [] for split in SPLITS}
    classes: dict[str, list[int]] = {split: [] for split in SPLITS}
    rows: dict[str, list[int]] = {split: [] for split in SPLITS}
    sources: dict[str, list[int]] = {split: [] for split in SPLITS}
    several = any(entry.source for entry in entries)
    for index, row in enumerate(outcomes.rows.tolist()):
        entry = entries[index]
        if row < 0:
            result.unreadable.append((entry, outcomes.reasons[index]))
            continue
        names[entry.split].append(entry.name)
        classes[entry.split].append(number[entry.label])
        rows[entry.split].append(row)
        sources[entry.split].append(entry.source)
        if index in outcomes.flags:
            flags = outcomes.flags[index]
            result.damaged += [entry.name] * flags.damaged
            result.dark += [entry.name] * flags.dark
            deep[entry.label] += flags.deep
            dark[entry.label] += flags.dark
    # By class: what is darker in one class alone is what a network learns first.
    for label, count in dark.items():
        if 2 * count > deep[label]:
            raise DatasetError(
                f"expected values to 65,535 in images with 16 bits a pixel, got"
                f" {count:,} of {label!r} with none above {DARKEST_16_BITS - 1:,}, such"
                f" as {result.dark[-1]}: they would be dark or black; save them with 8"
                " bits a pixel, values 0 to 255"
            )
    for split in SPLITS:
        result.splits[split] = Split(
            store.images(rows[split]),
            np.array(classes[split], np.int64),
            tuple(names[split]),
            np.array(sources[split], np.int64) if several else None,
        )
    return result


def keep_open(opened: ExitStack, decoded: DecodedSet) -> None:
    """Keeps an image set open as long as images of it may have to be read again."""
    images = next(iter(decoded.splits.values())).images
    if isinstance(images, StoredImages):
        weakref.finalize(images.store, opened.pop_all().close)


def load_split(
    path: Path | str,
    *,
    split: str,
    size_px: int,
    colour: Colour,
    labels: Sequence[str],
    fit: Fit = "stretch",
    votes: VoteSource | None = None,
    decoder: Decoder = ON_A_BOARD,
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
        decoder: How the images are decoded and kept.

    Raises:
        DatasetError: As for ``load``, or the source has no such split.
        OutputError: As for ``load``.
    """
    if str(path) == DRAWN:
        refuse_votes(votes)
        return drawn_split(split, size_px)
    with ExitStack() as opened:
        listing = opened.enter_context(open_listing(Path(path)))
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
        form = ImageFormat(size_px, colour, fit)
        decoded = decode_splits(chosen, names, form, decoder)
        keep_open(opened, decoded)
    lines = describe_unused(listing.ignored, decoded.reasons, decoded.damaged)
    for line in (*lines, *describe_dark(decoded.dark)):
        logger.warning("%s", line)
    if not len(decoded.splits[split]):
        raise DatasetError(f"{listing.name}: no readable image in split {split}")
    return decoded.splits[split]
