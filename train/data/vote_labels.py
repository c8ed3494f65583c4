"""Labels from raters' votes, by FERPlus's rule.

Barsoum et al., "Training deep networks for facial expression recognition with
crowd-sourced label distribution" (2016): a category with one vote counts as having
none, and the label of an evaluation image has more than half of the votes that remain.
Categories such as "not a face" take part in the count and are not labels.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt

from edge_runtime.errors import DatasetError
from train.data.listing.entries import Entry
from train.data.listing.image_files import ImageListing
from train.data.votes import Votes, read_votes, require_category

NO_LABELS = ("unknown", "nf")  # FERPlus's categories that are not labels, in small
OUTLIER_VOTES = 1


@dataclass(frozen=True)
class VoteSource:
    """Where labels come from instead of the class folders.

    Attributes:
        path: A CSV as for ``read_votes``.
        dropped: Categories that are not labels; None for "unknown" and "NF", as far as
            the file has them.
    """

    path: str
    dropped: tuple[str, ...] | None = None

    def name_with(self, images: str) -> str:
        """Returns the name of an image set that has these labels."""
        return f"{images} + {Path(self.path).name}"


@dataclass(frozen=True)
class VotedListing:
    """Images with the labels that raters gave them.

    Attributes:
        listing: The images, without those that were left out.
        labels: All categories that are labels, sorted.
        undecided: Names of training images whose label has no majority: they do not
            evaluate.
        left_out: Number of images without a label, by reason.
    """

    listing: ImageListing
    labels: tuple[str, ...]
    undecided: frozenset[str] = frozenset()
    left_out: dict[str, int] = field(default_factory=dict)


def refuse_votes(votes: VoteSource | None) -> None:
    """Raises DatasetError where votes are given for the built-in drawn faces."""
    if votes is not None:
        raise DatasetError(
            f"{votes.path}: the drawn faces have labels of their own: name the images"
            " that were voted on with --data, or leave out --labels-from"
        )


def label_by_votes(listing: ImageListing, source: VoteSource) -> VotedListing:
    """Returns the images with the votes' labels instead of their folders' names.

    A training image has the category with the most votes, the first column of equals;
    any other image has the category with the majority. Left out are images with more
    votes for a category that is not a label, images without votes, and evaluation
    images without a majority.

    Args:
        listing: The images as they are found.
        source: The votes.

    Raises:
        DatasetError: The votes cannot be read or do not fit the images.
    """
    names = [entry.name for entry in listing.entries]
    votes = read_votes(source.path, names)
    labels = label_categories(votes, source.dropped)
    is_label = np.array([name in labels for name in votes.categories])
    counts = remaining_votes(votes.counts)
    of_labels = np.where(is_label, counts, 0)
    best, most = of_labels.argmax(axis=1), of_labels.max(axis=1)
    others = np.where(is_label, 0, counts).max(axis=1)
    total = counts.sum(axis=1)
    majority = most > total / 2
    left_out, entries, undecided = Counter[str](), list[Entry](), set[str]()
    for row, entry in enumerate(listing.entries):
        evaluates = entry.split != "train"
        if not votes.known[row] or not total[row]:
            left_out["without two votes for one category"] += 1
        elif others[row] > most[row]:
            left_out["of which most votes are for no label"] += 1
        elif evaluates and not majority[row]:
            left_out[f"of {entry.split} without a majority"] += 1
        else:
            entries.append(replace(entry, label=votes.categories[best[row]]))
            if not majority[row]:
                undecided.add(entry.name)
    if not entries:
        raise DatasetError(
            f"{source.path}: expected votes of several raters (one vote alone counts as"
            f" none), got a label for none of the {len(names):,} images"
        )
    name = source.name_with(listing.name)
    voted = replace(listing, name=name, entries=entries, empty_classes={})
    return VotedListing(voted, labels, frozenset(undecided), dict(left_out))


def label_categories(votes: Votes, dropped: Sequence[str] | None) -> tuple[str, ...]:
    """Returns the categories that are labels, sorted.

    Args:
        votes: The votes.
        dropped: Those that are none; None for those that FERPlus drops.

    Raises:
        DatasetError: A dropped category does not exist.
    """
    if dropped is None:
        dropped = [name for name in votes.categories if name.lower() in NO_LABELS]
    for name in dropped:
        require_category(votes, name)
    return tuple(sorted(set(votes.categories) - set(dropped)))


def remaining_votes(counts: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Returns votes without those that stand alone in their category; unknown is 0.

    Args:
        counts: float64 (N, categories); rows of NaN are unknown.
    """
    known = np.nan_to_num(counts)
    return np.where(known > OUTLIER_VOTES, known, 0.0)


def vote_shares(votes: Votes, labels: Sequence[str]) -> npt.NDArray[np.float32]:
    """Returns each label's share of the votes that remain, float32 (N, labels).

    Args:
        votes: The votes of N images.
        labels: The class names in order, each a category of the votes.

    Returns:
        Rows that sum to 1; NaN for images of which no vote for a label remains.
    """
    columns = [votes.categories.index(label) for label in labels]
    counts = remaining_votes(votes.counts)[:, columns]
    totals = counts.sum(axis=1, keepdims=True)
    shares = np.full_like(counts, np.nan)
    np.divide(counts, totals, out=shares, where=totals > 0)
    return shares.astype(np.float32)
