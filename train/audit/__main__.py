"""``python -m train audit``: what is wrong with an image set."""

from __future__ import annotations

import argparse
import json
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path

from edge_runtime.errors import DatasetError, OutputError
from edge_runtime.untrusted import one_line
from edge_runtime.utils import flags
from edge_runtime.utils.argparser import CommandLine, exit_code_of
from edge_runtime.utils.files import real_path, write_text
from train.audit.audit import Audit, audit
from train.audit.findings import KINDS
from train.audit.labels import TOLD_APART
from train.audit.results import csv_text, document
from train.data.drawn_faces import DRAWN
from train.data.listing.image_files import open_listing

FOLDER = Path("artifacts/audit")
PAGE, TABLE, RESULT = "audit.html", "audit.csv", "audit.json"
EXAMPLES = """\
examples:
  python -m train audit --data photos/
  python -m train audit --data photos.zip --output what-is-wrong --force
  python -m train --data photos/ --leave-out artifacts/audit/photos/audit.csv

DATA is what python -m train takes. Writes audit.html (a page with pictures of the
images, the worst first), audit.csv (a row for each image with a finding; edit its
column action: leave out, or keep) and audit.json. Nothing in DATA is changed.
"""
_OF_TRAINING = "it is a flag of training: python -m train --data DATA --leave-out CSV"


def build_parser() -> argparse.ArgumentParser:
    """Returns the parser."""
    parser = CommandLine(
        prog="python -m train audit",
        description="Finds what is wrong with labelled images: files that cannot be"
        " read, near copies,\nlikely wrong labels, classes that cannot be told apart,"
        " dark, blurred and odd ones.",
        epilog=EXAMPLES,
    )
    parser.missing_flags = {"--apply": _OF_TRAINING, "--leave-out": _OF_TRAINING}
    add = parser.add_argument
    add("--data", required=True, metavar="PATH", help="folder, zip or CSV of images")
    add(
        "--output",
        type=flags.path,
        metavar="FOLDER",
        help=f"for the results ({FOLDER}/<name of the images>)",
    )
    add("--force", action="store_true", help="replace the results of an earlier audit")
    add("--seed", type=flags.seed, default=0, metavar="N", help="seed of folds (0)")
    add("--threads", type=flags.threads, metavar="N", help="CPU threads of the network")
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Returns the exit code: 0 done, 2 the user's error, 130 interrupted."""
    options = build_parser().parse_args(argv)
    return exit_code_of(lambda: _audit(options))


def _audit(options: argparse.Namespace) -> int:
    if options.data == DRAWN:
        raise DatasetError("drawn faces have nothing to find: name your images")
    data = Path(options.data)
    folder = options.output or FOLDER / real_path(data).stem
    _require_free(folder, force=options.force)
    with open_listing(data) as listing:
        print(f"{listing.name}: {len(listing.entries):,} images", flush=True)
        result = audit(listing, seed=options.seed, threads=options.threads)
        from train.audit.page import render_page  # jinja2

        write_text(folder / PAGE, render_page(result, options.data))
    write_text(folder / TABLE, csv_text(result))
    write_text(folder / RESULT, json.dumps(document(result), indent=1) + "\n")
    print("\n".join(map(one_line, _summary(result))))
    print(f"page:       {folder / PAGE}")
    print(f"next:       edit the column action of {folder / TABLE}, and")
    words = ["--data", options.data, "--leave-out", str(folder / TABLE)]
    print(f"            python -m train {shlex.join(words)}")
    return 0


def _require_free(folder: Path, *, force: bool) -> None:
    for name in (PAGE, TABLE, RESULT):
        if (folder / name).exists() and not force:
            raise OutputError(
                f"{folder / name} exists, and may have been edited: choose another"
                " --output, or replace it with --force"
            )


def _summary(result: Audit) -> list[str]:
    """Returns the number of findings of each kind, and the classes that are alike."""
    lines = [
        f"  {count:>7,}  {KINDS[kind][:1].lower()}{KINDS[kind][1:]}"
        for kind, count in result.counts.items()
        if count
    ] or ["  nothing was found"]
    for pair in result.report.pairs if result.report else ():
        if pair.told_apart < TOLD_APART:
            first, second = result.labels[pair.first], result.labels[pair.second]
            lines.append(
                f"  {first} and {second} are hard to tell apart:"
                f" {pair.told_apart:.0%} (chance: 50 %)"
            )
    return lines + [f"  note: {note}" for note in result.notes]


if __name__ == "__main__":
    sys.exit(main())
