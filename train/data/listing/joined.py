"""Several image sets as one listing."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from dataclasses import replace
from functools import partial
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt

from edge_runtime.errors import DatasetError
from edge_runtime.sources.fake.face import LABELS
from train.data.drawn_faces import DRAWN, DRAWN_SIZE_PX, drawn_split
from train.data.listing.entries import Entry
from train.data.listing.image_files import ImageListing, open_listing
from train.data.splits import SPLITS


@contextmanager
def open_listings(path: Path, more: Sequence[str] = ()) -> Iterator[ImageListing]:
    """Yields the labelled images of one or several paths.

    Entries of further sets are numbered, and their names begin with that of their set.

    Args:
        path: The first, as for ``open_listing``.
        more: The others.

    Raises:
        DatasetError: As ``open_listing``; or a class is written in two ways.
    """
    with ExitStack() as opened:
        paths = [path, *map(Path, more)]
        yield join([opened.enter_context(_open(each)) for each in paths])


def join(listings: Sequence[ImageListing]) -> ImageListing:
    """Returns several listings as one; see ``open_listings``."""
    first = listings[0]
    if len(listings) == 1:
        return first
    _require_same_spelling(listings)
    entries, ignored = list(first.entries), dict(first.ignored)
    for number, (name, listing) in enumerate(
        zip(_distinct_names(listings), listings, strict=True)
    ):
        if not number:
            continue
        entries += [
            replace(entry, name=f"{name}/{entry.name}", source=number)
            for entry in listing.entries
        ]
        for reason, names in listing.ignored.items():
            inside = [f"{name}/{each}" for each in names]
            ignored[reason] = [*ignored.get(reason, ()), *inside]
    others = sum((Counter(each.other_files) for each in listings), Counter[str]())
    return ImageListing(
        " + ".join(_distinct_names(listings)),
        entries,
        ignored,
        first.empty_classes,
        dict(others.most_common()),
        tuple(path for each in listings for path in each.lists),
    )


def _distinct_names(listings: Sequence[ImageListing]) -> list[str]:
    names: list[str] = []
    for listing in listings:
        taken = sum(name.partition("#")[0] == listing.name for name in names)
        names.append(f"{listing.name}#{taken + 1}" if taken else listing.name)
    return names


def _require_same_spelling(listings: Sequence[ImageListing]) -> None:
    first = {entry.label.casefold(): entry.label for entry in listings[0].entries}
    for listing in listings[1:]:
        for label in sorted({entry.label for entry in listing.entries}):
            known = first.get(label.casefold(), label)
            if known != label:
                raise DatasetError(
                    f"{listing.name}: expected the class {known!r} as in"
                    f" {listings[0].name}, got {label!r}: rename one of them"
                )


def _open(path: Path) -> AbstractContextManager[ImageListing]:
    return nullcontext(_drawn_faces()) if str(path) == DRAWN else open_listing(path)


def _drawn_faces() -> ImageListing:
    """Returns the built-in set as files, to stand beside others."""
    entries = []
    for name in SPLITS:
        split = drawn_split(name, DRAWN_SIZE_PX)
        entries += [
            Entry(f"{name}/{each}", name, LABELS[label], partial(_png, image))
            for each, label, image in zip(
                split.names, split.labels, split.images, strict=True
            )
        ]
    return ImageListing("drawn faces", entries)


def _png(image: npt.NDArray[np.uint8]) -> bytes:
    return bytes(cv2.imencode(".png", image)[1])
