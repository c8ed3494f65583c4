"""Text about a loaded image set."""

from __future__ import annotations

from collections import Counter

import numpy as np

from edge_runtime.untrusted import one_line
from train.data.dataset import Dataset
from train.data.listing.image_files import (
    describe_dark,
    describe_other_files,
    describe_unused,
)
from train.data.listing.stored_files import shorten
from train.data.splits import SPLITS
from train.data.stored_images import StoredImages


def summarize(data: Dataset) -> str:
    """Returns a table of images per class and split, and what was left out."""
    width = max(len(label) for label in (*data.labels, "all"))
    rows = [f"{data.name}: {data.size_px}x{data.size_px} {data.colour}"]
    rows.append(f"  {'class':<{width}}" + "".join(f"{s:>12}" for s in SPLITS))
    for index, label in enumerate(data.labels):
        counts = [int(np.sum(data.split(s).labels == index)) for s in SPLITS]
        rows.append(f"  {label:<{width}}" + "".join(f"{c:>12,}" for c in counts))
    totals = "".join(f"{len(data.split(s)):>12,}" for s in SPLITS)
    rows.append(f"  {'all':<{width}}{totals}")
    rows += [
        f"left out: {count:,} images {why}" for why, count in data.left_out.items()
    ]
    if data.marked or data.unknown_marked:
        rows.append(f"left out: {len(data.marked):,} images that a CSV leaves out")
    if data.unknown_marked:
        names = shorten(data.unknown_marked)
        rows.append(
            f"note: {len(data.unknown_marked):,} names in it are of no image: {names}"
        )
    if data.validation_from == "train":
        count = len(data.split("validation"))
        rows.append(
            f"validation: {count:,} of the training images, set aside"
            " (--validation-frac)"
        )
    sources = data.validation.sources
    if data.validation_from == "source" and sources is not None and sources.all():
        rows.append(
            "note: no image of the first set validates, as a further one has a"
            " validation split: --validation train sets a part of each aside"
        )
    if data.validation_from == "test":
        rows.append("validation: the split named test (nothing is left to test on)")
    if len(data.validation) > len(data.train):
        rows.append("note: more images validate than are learnt from: as intended?")
    spelled = Counter(map(str.casefold, data.labels))
    if alike := [one for one in data.labels if spelled[one.casefold()] > 1]:
        rows.append(f"note: classes that differ by case alone: {', '.join(alike)}")
    if data.dropped:
        rows.append(
            f"dropped {len(data.dropped)} training images whose pixels"
            " occur in an evaluation split"
        )
    if data.shared:
        rows.append(f"note: {data.shared:,} test images are validation images, too")
    rows += describe_unused(data.ignored, data.unreadable, data.damaged)
    rows += describe_dark(data.dark)
    if isinstance(data.train.images, StoredImages):
        rows.append(data.train.images.store.place)
    if data.other_files:
        count, kinds = sum(data.other_files.values()), data.other_files
        rows.append(f"ignored {count:,} other files: {describe_other_files(kinds)}")
    return "\n".join(map(one_line, rows))  # with names of files
