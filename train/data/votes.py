"""Raters' votes: read from a CSV, and turned into labels and target distributions.

The rule is that of FERPlus (Barsoum et al., "Training deep networks for facial
expression recognition with crowd-sourced label distribution", 2016): a category with
one vote counts as having none, and the label of an evaluation image has more than half
of the votes that remain. Categories such as "not a face" take part in the count and are
no labels.
"""

from __future__ import annotations

import csv
from collections import Counter
from collections.abc import Container, Iterable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt

from edge_runtime.errors import DatasetError
from train.data.entries import Entry
from train.data.image_files import ImageListing

NAME_COLUMN = "file"
MIN_SHARE_FOUND = 0.5
NO_LABELS = ("unknown", "nf")  # FERPlus's categories that are no labels, in small
OUTLIER_VOTES = 1


@dataclass(frozen=True)
class VoteSource:
    """Where labels come from instead of the class folders.

    Attributes:
        path: A CSV as for ``read_votes``.
        dropped: Categories that are no labels; None for "unknown" and "NF", as far as
            the file has them.
    """

    path: str
    dropped: tuple[str, ...] | None = None

    def name_with(self, images: str) -> str:
        """Returns the name of an image set that has these labels."""
        return f"{images} + {Path(self.path).name}"


@dataclass(frozen=True)
class Votes:
    """The raters' votes for each image.

    Attributes:
        categories: Names of the categories, the columns of the CSV.
        counts: float64 (N, categories), not negative; a row of NaN for an image
            without votes.
    """

    categories: tuple[str, ...]
    counts: npt.NDArray[np.float64]

    @property
    def known(self) -> npt.NDArray[np.bool_]:
        """Which images have votes, bool (N,)."""
        return np.asarray(~np.isnan(self.counts).any(axis=1), dtype=bool)


def read_votes(path: Path | str, names: Sequence[str]) -> Votes:
    """Returns the votes for the named images.

    Args:
        path: A CSV with a column ``file``, which holds names as in ``Split.names``;
            its other columns hold numbers of votes, one column per category.
        names: The images.

    Returns:
        One row per image; NaN where the file has no votes for it.

    Raises:
        DatasetError: No such file, no such column, a value that is no vote, a file
            named twice, or votes for fewer than half of the images.
    """
    try:
        with Path(path).open(encoding="utf-8-sig", newline="") as file:
            rows = csv.reader(file)
            header = next(rows, [])
            categories = _categories(header, path)
            columns = [column.strip() for column in header]
            votes_by_name = _counts(rows, columns, path)
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise DatasetError(f"cannot read votes from {path}: {error}") from error
    unknown = [np.nan] * len(categories)
    named = _as_named(names, votes_by_name)
    counts = np.array([votes_by_name.get(name, unknown) for name in named])
    votes = Votes(categories, counts)
    share = votes.known.mean()
    if share < MIN_SHARE_FOUND:
        raise DatasetError(
            f"{path}: expected votes for images with names such as {names[0]!r}, got"
            f" votes for {share:.0%} of the images: of another image set?"
        )
    return votes


def _as_named(names: Sequence[str], known: Container[str]) -> Sequence[str]:
    """Returns paths as the votes have them: without folders around the whole set."""
    shorter = list(names)
    while not any(name in known for name in shorter):
        folders = {name.partition("/")[0] for name in shorter if "/" in name}
        if len(folders) != 1 or not all("/" in name for name in shorter):
            return names
        shorter = [name.partition("/")[2] for name in shorter]
    return shorter


def _categories(header: Sequence[str], path: Path | str) -> tuple[str, ...]:
    """Returns the names of all columns but that of the files."""
    columns = [column.strip() for column in header]
    categories = tuple(column for column in columns if column != NAME_COLUMN)
    enough = len(set(categories)) == len(categories) >= 2
    if columns.count(NAME_COLUMN) != 1 or not enough or "" in categories:
        raise DatasetError(
            f"{path}: expected the column {NAME_COLUMN} and one for each of at least"
            f" two categories of votes, got {list(header)}"
        )
    return categories


def _counts(
    rows: Iterable[Sequence[str]], columns: Sequence[str], path: Path | str
) -> dict[str, list[float]]:
    """Returns the votes by image name, without images that have no votes."""
    found: dict[str, list[float]] = {}
    name_column = columns.index(NAME_COLUMN)
    for line, row in enumerate(rows, start=2):
        if not row:
            continue
        where = f"{path}, row {line}"
        if len(row) != len(columns):
            raise DatasetError(
                f"{where}: expected {len(columns) - 1} numbers of votes,"
                f" got {len(row) - 1}"
            )
        texts = list(row)
        name = texts.pop(name_column)
        if name in found:
            raise DatasetError(f"{where}: {name!r} is listed twice: remove one row")
        found[name] = [_vote(text, where) for text in texts]
    return {name: votes for name, votes in found.items() if any(votes)}


def _vote(text: str, where: str) -> float:
    try:
        vote = float(text)
    except ValueError:
        vote = -1.0
    if not 0 <= vote < float("inf"):
        raise DatasetError(f"{where}: expected a number of votes, got {text!r}")
    return vote


def require_category(votes: Votes, category: str) -> None:
    """Raises DatasetError if the votes have no such category."""
    if category not in votes.categories:
        raise DatasetError(
            f"expected --drop-category of {', '.join(votes.categories)},"
            f" got {category!r}"
        )


def has_majority(votes: Votes, category: str) -> npt.NDArray[np.bool_]:
    """Returns whether half of an image's votes are for a category, bool (N,).

    Raises:
        DatasetError: There is no such category.
    """
    require_category(votes, category)
    chosen = votes.counts[:, votes.categories.index(category)]
    # Comparisons with NaN are false: an image without votes is not among them.
    majority: npt.NDArray[np.bool_] = 2 * chosen >= votes.counts.sum(axis=1)
    return majority


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


def label_by_votes(listing: ImageListing, source: VoteSource) -> VotedListing:
    """Returns the images with the votes' labels instead of their folders' names.

    A training image has the category with the most votes, the first column of equals;
    any other image has the category with the majority. Left out are images with more
    votes for a category that is no label, images without votes, and evaluation images
    without a majority.

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
