"""``python -m benchmarks compare``."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from benchmarks.cli.parser import add_result_file
from benchmarks.common.documents import check_writable, read_document, save_result
from benchmarks.latency.compare import MAY_DIFFER, compare_latency, comparison_lines
from benchmarks.latency.measure import SCHEMA
from edge_runtime.utils.argparser import add_command

EXAMPLES = """\
examples:
  python -m benchmarks compare before.json after.json
  python -m benchmarks compare pi4.json pi5.json --despite machine

Both files are from latency --json. B over A: below 1, B is faster. Measurements under
different conditions are refused (exit code 4), unless --despite names the condition.
"""


def add_compare(commands: Any) -> None:
    """Adds ``compare`` to the commands."""
    parser = add_command(
        commands, "compare", _compare, "the ratio of two latency measurements", EXAMPLES
    )
    add = parser.add_argument
    add("a", type=Path, metavar="A.json", help="from latency --json")
    add("b", type=Path, metavar="B.json", help="from latency --json")
    add(
        "--despite",
        action="append",
        choices=MAY_DIFFER,
        default=[],
        help="a condition that may differ; can be given more than once",
    )
    add_result_file(parser)


def _compare(options: argparse.Namespace) -> int:
    check_writable([options.json], force=options.force)
    a, b = (read_document(path, SCHEMA) for path in (options.a, options.b))
    document = compare_latency(a, b, despite=options.despite)
    print("\n".join(comparison_lines(document)))
    save_result(document, options.json)
    return 0
