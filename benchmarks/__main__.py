"""``python -m benchmarks``: how accurate and how fast model files are."""

from __future__ import annotations

import argparse
import importlib
import sys
from collections.abc import Sequence

from edge_runtime.errors import exit_code_of
from edge_runtime.utils.argparser import CommandLine

DESCRIPTION = "Measures model files the way a device runs them."
EXAMPLES = """\
examples:
  python -m benchmarks accuracy float.tflite int8.tflite --data fer2013.zip
  python -m benchmarks latency float.tflite int8.tflite --threads 1,2
  python -m benchmarks compare before.json after.json
  python -m benchmarks roofline int8.tflite
  python -m benchmarks pipeline int8.tflite
  python -m benchmarks report

exit codes: 0 done, 2 something given is wrong, 3 a gate failed, 4 not valid
"""
# Each command with the function that adds it: importing all of them takes longer than
# some of them run.
COMMANDS = {
    "accuracy": "benchmarks.cli.accuracy:add_accuracy",
    "latency": "benchmarks.cli.latency:add_latency",
    "compare": "benchmarks.cli.compare:add_compare",
    "roofline": "benchmarks.cli.roofline:add_roofline",
    "pipeline": "benchmarks.cli.pipeline:add_pipeline",
    "report": "benchmarks.cli.report:add_report",
}
ALIASES = {"limit": "roofline"}  # as the command was called up to version 0.1


def build_parser(command: str = "") -> argparse.ArgumentParser:
    """Returns the command line; ``call`` runs the command.

    Args:
        command: The one that will be parsed; any other text adds all of them.
    """
    parser = CommandLine(
        prog="python -m benchmarks",
        description=DESCRIPTION,
        epilog=EXAMPLES,
    )
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    name = ALIASES.get(command, command)
    for added in [name] if name in COMMANDS else COMMANDS:
        module, function = COMMANDS[added].split(":")
        getattr(importlib.import_module(module), function)(commands)
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Returns the exit code: 0 done, 2 the user's error, 3 gate, 4 not valid."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    options = build_parser(arguments[0] if arguments else "").parse_args(arguments)
    return exit_code_of(lambda: int(options.call(options)))


if __name__ == "__main__":
    sys.exit(main())
