"""``python -m benchmarks report``."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from benchmarks.accuracy import measure as accuracy
from benchmarks.common.documents import check_writable, read_document, say_written
from benchmarks.latency import measure as latency
from benchmarks.report.accuracy_page import render_accuracy
from benchmarks.report.overview_page import render_overview
from benchmarks.report.results import read_results
from benchmarks.report.tables import markdown_tables
from edge_runtime.errors import FerEdgeError
from edge_runtime.utils.argparser import add_command
from edge_runtime.utils.files import write_text

RESULTS = Path("benchmarks/results")
EXAMPLES = """\
examples:
  python -m benchmarks report                    everything under benchmarks/results
  python -m benchmarks report --results FOLDER --output r.html --markdown r.md
  python -m benchmarks report accuracy.json --latency latency.json --output r.html

Without a file, it writes one page of all results, and tables as Markdown. With a result
of accuracy --json, it writes the page of that result.
"""


def add_report(commands: Any) -> None:
    """Adds ``report`` to the commands."""
    parser = add_command(
        commands,
        "report",
        _report,
        "an HTML page from results that were saved as JSON",
        EXAMPLES,
    )
    add = parser.add_argument
    add(
        "accuracy",
        type=Path,
        nargs="?",
        metavar="ACCURACY.json",
        help="one result of accuracy --json, for a page about it alone",
    )
    add("--latency", type=Path, metavar="FILE", help="adds a result of latency --json")
    add(
        "--results",
        type=Path,
        metavar="FOLDER",
        help=f"folder of the results ({RESULTS})",
    )
    add("--output", type=Path, metavar="FILE.html", help="page to write (report.html)")
    add(
        "--markdown",
        type=Path,
        metavar="FILE.md",
        help="tables of all results as Markdown",
    )
    add("--force", action="store_true", help="replace existing files")


def _report(options: argparse.Namespace) -> int:
    output = options.output or Path("report.html")
    check_writable([output, options.markdown], force=options.force)
    if options.accuracy:
        write_text(output, _accuracy_page(options))
    else:
        results = read_results(options.results or RESULTS)
        write_text(output, render_overview(results))
        if options.markdown:
            write_text(options.markdown, markdown_tables(results))
    say_written([output, options.markdown])
    return 0


def _accuracy_page(options: argparse.Namespace) -> str:
    if options.markdown or options.results:
        raise FerEdgeError(
            "--markdown and --results are for all results: leave out"
            f" {str(options.accuracy)!r}"
        )
    document = read_document(options.accuracy, accuracy.SCHEMA)
    times = read_document(options.latency, latency.SCHEMA) if options.latency else None
    return render_accuracy(document, times)
