"""``python -m benchmarks``: how accurate and how fast model files are."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from benchmarks.cli.accuracy import add_accuracy
from benchmarks.cli.compare import add_compare
from benchmarks.cli.latency import add_latency
from benchmarks.cli.pipeline import add_pipeline
from benchmarks.cli.report import add_report
from benchmarks.cli.roofline import add_limit
from benchmarks.cli.tune import add_tune
from edge_runtime.errors import exit_code_of
from edge_runtime.utils.argparser import CommandLine

DESCRIPTION = "Measures model files the way a device runs them."
EXAMPLES = """\
examples:
  python -m benchmarks accuracy float.tflite int8.tflite --data fer2013.zip
  python -m benchmarks latency float.tflite int8.tflite --threads 1,2
  python -m benchmarks compare before.json after.json
  python -m benchmarks limit int8.tflite
  python -m benchmarks tune int8.tflite --max-latency 5
  python -m benchmarks pipeline float.tflite int8.tflite
  python -m benchmarks report

exit codes: 0 done, 2 something given is wrong, 3 a gate failed, 4 not valid
"""


def build_parser() -> argparse.ArgumentParser:
    """Returns the command line; ``call`` runs the command."""
    parser = CommandLine(
        prog="python -m benchmarks",
        description=DESCRIPTION,
        epilog=EXAMPLES,
    )
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    add_accuracy(commands)
    add_latency(commands)
    add_compare(commands)
    add_limit(commands)
    add_tune(commands)
    add_pipeline(commands)
    add_report(commands)
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Returns the exit code: 0 done, 2 the user's error, 3 gate, 4 not valid."""
    options = build_parser().parse_args(argv)
    return exit_code_of(lambda: int(options.call(options)))


if __name__ == "__main__":
    sys.exit(main())
