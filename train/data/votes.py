"""Raters' votes for images, read from a CSV with one column for each category."""

from __future__ import annotations

import csv
from collections.abc import Container, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from edge_runtime.errors import DatasetError
from edge_runtime.utils.read_files import require_regular

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
        DatasetError: No such file, no such column, a value that is no vote, a file
            named twice, or votes for fewer than half of the images.
    """
    try:
        require_regular(Path(path))
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
