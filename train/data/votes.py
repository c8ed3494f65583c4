"""Raters' votes for images, read from a CSV with one column for each category."""

from __future__ import annotations

from collections.abc import Container, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from edge_runtime.errors import DatasetError
from train.data.listing.csv_table import CsvTable, column_key, open_table
from train.data.listing.stored_files import stored_file

NAME_COLUMN = "file"
MIN_SHARE_FOUND = 0.5


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
        DatasetError: No such file, no such column, a value that is not a vote, a file
            named twice, or votes for fewer than half of the images.
    """
    with open_table(stored_file(Path(path), str(path)), str(path)) as table:
        categories = _categories(table)
        votes_by_name = _counts(table, categories)
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


def _categories(table: CsvTable) -> tuple[str, ...]:
    """Returns the names of all columns but that of the files."""
    categories = tuple(c for c in table.columns if column_key(c) != NAME_COLUMN)
    if NAME_COLUMN not in table.keys or len(categories) < 2 or "" in categories:
        raise DatasetError(
            f"{table.name}: expected the column {NAME_COLUMN} and one for each of at"
            f" least two categories of votes, got {list(table.columns)}"
        )
    return categories


def _counts(table: CsvTable, categories: Sequence[str]) -> dict[str, list[float]]:
    """Returns the votes by image name, without images that have no votes."""
    found: dict[str, list[float]] = {}
    for number, row in table.rows:
        where, name = f"{table.name} row {number}", row[NAME_COLUMN]
        if name in found:
            raise DatasetError(f"{where}: {name!r} is listed twice: remove one row")
        found[name] = [_vote(row[column_key(each)], where) for each in categories]
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
