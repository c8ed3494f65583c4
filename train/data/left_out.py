"""Images that a CSV leaves out: that of ``python -m train audit``, or one's own."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

from edge_runtime.errors import DatasetError
from edge_runtime.untrusted import one_line, spreadsheet_cell
from train.data.listing.csv_table import CsvTable, open_table
from train.data.listing.image_files import ImageListing
from train.data.listing.stored_files import shorten, stored_file

ACTION, FILE = "action", "file"  # columns
LEAVE_OUT, KEEP = "leave out", "keep"


class Marked(NamedTuple):
    """The images of a set without those that a CSV leaves out.

    Attributes:
        listing: The images that stay.
        left_out: Names of those that do not.
        unknown: Names in the CSV that the set does not have.
    """

    listing: ImageListing
    left_out: tuple[str, ...] = ()
    unknown: tuple[str, ...] = ()


def leave_out_marked(listing: ImageListing, path: str) -> Marked:
    """Returns a set without the images that a CSV leaves out.

    Args:
        listing: The images as they are found.
        path: A CSV with the columns ``file`` (names as in the listing) and ``action``
            (``leave out`` or ``keep``); others are not read. ``""`` for none.

    Raises:
        DatasetError: No such file, no such column, another action, a CSV of another
            image set or of a further one alone, or a class of which nothing would stay.
    """
    if not path:
        return Marked(listing)
    actions = read_actions(path)
    # A spreadsheet's CSV holds some names with an apostrophe before them.
    names = {spreadsheet_cell(entry.name): entry.name for entry in listing.entries}
    names |= {entry.name: entry.name for entry in listing.entries}
    unknown = tuple(file for file in actions if file not in names)
    _require_names_with_their_set(listing, unknown, path)
    if actions and len(unknown) == len(actions):
        raise DatasetError(
            f"{path}: expected names of images in {listing.name}, such as"
            f" {one_line(listing.entries[0].name)!r}, got {unknown[0]!r}: of another"
            " image set?"
        )
    chosen = {
        names[file]
        for file, action in actions.items()
        if action == LEAVE_OUT and file in names
    }
    stay = [entry for entry in listing.entries if entry.name not in chosen]
    left = tuple(each.name for each in listing.entries if each.name in chosen)
    _require_every_class(listing, Counter(each.label for each in stay), path)
    return Marked(replace(listing, entries=stay), left, unknown)


def read_actions(path: str) -> dict[str, str]:
    """Returns ``leave out`` or ``keep`` by the file named in each row of a CSV.

    Raises:
        DatasetError: See ``leave_out_marked``.
    """
    if not Path(path).is_file():
        raise DatasetError(
            f"expected a CSV of python -m train audit, got {path!r}: no such file"
        )
    with open_table(stored_file(Path(path), path), path) as table:
        return _actions(table)


def _actions(table: CsvTable) -> dict[str, str]:
    if not {ACTION, FILE} <= set(table.keys):
        raise DatasetError(
            f"{table.name}: expected the columns {ACTION} and {FILE}, as python -m"
            f" train audit writes them, got {list(table.columns)}"
        )
    actions: dict[str, str] = {}
    for number, row in table.rows:
        action = " ".join(row[ACTION].casefold().replace("_", " ").split())
        if action not in (LEAVE_OUT, KEEP):
            raise DatasetError(
                f"{table.name} row {number}: expected the {ACTION} {LEAVE_OUT!r} or"
                f" {KEEP!r}, got {row[ACTION][:40]!r}"
            )
        if actions.setdefault(row[FILE], action) != action:
            raise DatasetError(
                f"{table.name} row {number}: {row[FILE]!r} has both actions: remove one"
                " row"
            )
    return actions


def refuse_leave_out(path: str) -> None:
    """Raises DatasetError where a CSV would leave out drawn faces."""
    if path:
        raise DatasetError(
            f"{path}: the drawn faces have no files to leave out: name the images with"
            " --data, or leave out --leave-out"
        )


def _require_names_with_their_set(
    listing: ImageListing, unknown: Sequence[str], path: str
) -> None:
    """Raises DatasetError for the CSV of a further image set alone.

    Its other names may be those of images in the first set.
    """
    more = {e.name.partition("/")[2]: e.name for e in listing.entries if e.source}
    for file in unknown:
        if file in more:
            raise DatasetError(
                f"{path}: {one_line(file)!r} is not an image of the first set, but of a"
                " further one, whose names begin with the set's, such as"
                f" {one_line(more[file])!r}: correct all names of that set"
            )


def _require_every_class(listing: ImageListing, stay: Counter[str], path: str) -> None:
    gone: Sequence[str] = sorted({e.label for e in listing.entries} - set(stay))
    if gone:
        raise DatasetError(
            f"{path} leaves out all images of {shorten(gone)}: keep some of them, or"
            " remove the class"
        )
