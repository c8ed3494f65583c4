"""``python -m edge_runtime collect``: collected crops become images to train on."""

from __future__ import annotations

import argparse
import shlex
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from edge_runtime.errors import OutputError
from edge_runtime.outputs.collection.dataset_zip import write_dataset
from edge_runtime.outputs.collection.labelled_crops import LabelledCrops, read_labelled
from edge_runtime.untrusted import one_line
from edge_runtime.utils import flags
from edge_runtime.utils.argparser import add_command
from edge_runtime.utils.text_table import align

EXAMPLES = """\
examples:
  python -m edge_runtime run --serve 8080 --collect crops    label them at /review
  python -m edge_runtime collect export crops dataset.zip
  python -m edge_runtime collect export board1/ board2.zip dataset.zip   of two boards
  python -m train --data photos/ --data dataset.zip --from RUN           in the checkout

The zip has a folder for each class and a manifest.json. Copies are left out, and what
people gave two answers: two labels, or a label and "discard". A run may go on
collecting meanwhile.
"""


def add_collect(commands: Any) -> None:
    """Adds ``collect`` to the commands."""
    text = "make a dataset of the crops that run --collect kept"
    parser = add_command(commands, "collect", collect, text, EXAMPLES)
    add = parser.add_argument
    add("action", choices=("export",), help="export: write labelled crops to a zip")
    add(
        "sources",
        nargs="+",
        type=flags.path,
        metavar="DIR",
        help="folders of run --collect, or zips that were exported from them",
    )
    add("zip", type=flags.path, metavar="ZIP", help="the zip to write")
    add(
        "--with-unreviewed",
        action="store_true",
        help="also crops that nobody has looked at, with the model's answer, which may"
        " be wrong",
    )
    add("--force", action="store_true", help="replace an existing zip")


def collect(args: argparse.Namespace) -> int:
    """Writes a dataset of labelled crops."""
    path: Path = args.zip
    if path.suffix.lower() != ".zip":
        raise OutputError(f"expected a .zip to write, last, got {str(path)!r}")
    if path.exists() and not args.force:
        raise OutputError(f"{path} exists: replace it with --force")
    with ExitStack() as opened:
        found = read_labelled(
            opened, args.sources, with_unreviewed=args.with_unreviewed
        )
        if not found.crops:
            raise OutputError(_nothing(found, args.sources))
        write_dataset(path, found)
    print(summary(found))
    print(f"\nwrote {path}")
    data = shlex.quote(str(path))
    print(f"next:  python -m train --data PHOTOS --data {data} --from RUN")
    return 0


def _nothing(found: LabelledCrops, sources: list[Path]) -> str:
    if found.unreviewed:
        return (
            f"none of {found.unreviewed:,} crops is labelled: do it at /review of  run"
            f" --serve 8080 --collect {shlex.quote(str(sources[0]))}, or take the"
            " model's answers with --with-unreviewed"
        )
    return (
        f"expected labelled crops, got none: {found.discarded:,} discarded,"
        f" {found.damaged:,} damaged, {found.contradictory:,} with two answers"
    )


def summary(found: LabelledCrops) -> str:
    """Returns the crops by label, and what was left out, as a table."""
    counts = sorted(found.counts.items())
    rows = [(label, f"{count:,}") for label, count in counts]
    rows.append(("all", f"{len(found.crops):,}"))
    left_out = {
        "not reviewed": found.unreviewed,
        "discarded": found.discarded,
        "copies": found.copies,
        "damaged": found.damaged,
        "with two answers": found.contradictory,
    }
    lines = [align(rows, left=1)]
    lines += [f"left out: {count:,} {why}" for why, count in left_out.items() if count]
    by_model = found.random_right()
    for name, sha256, right, count in by_model:
        # Only where there are several: of different files the name may be the same.
        model = f"{one_line(name)} ({one_line(sha256[:8])})"
        lines.append(
            f"of {count:,} crops taken at random"
            f" {model if len(by_model) > 1 else 'the model'} had {right:,} right"
        )
    return "\n".join(lines)
