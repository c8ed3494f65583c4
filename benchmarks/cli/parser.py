"""The command line ``python -m benchmarks``, and what its commands share."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from edge_runtime.cli.given import GIVEN_FLAGS
from edge_runtime.errors import ModelError
from edge_runtime.inference.backends import BACKENDS
from edge_runtime.inference.classifier import model_path
from edge_runtime.utils import flags
from edge_runtime.utils.argparser import CommandLine, add_commands, exit_code_of

SECONDS = {"s": 1, "m": 60, "h": 3600}
DESCRIPTION = "Measures model files the way a device runs them."
EXAMPLES = """\
examples:
  python -m benchmarks accuracy float.tflite int8.tflite --data fer2013.zip
  python -m benchmarks latency float.tflite int8.tflite --threads 1,2
  python -m benchmarks compare before.json after.json
  python -m benchmarks roofline int8.tflite
  python -m benchmarks pipeline int8.tflite
  python -m benchmarks report

exit codes: 0 done, 2 an argument or a file is wrong, 3 a gate failed, 4 not valid
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
MODEL_HELP = ".tflite or .onnx file, or the name of a released model"
ALIASES = {"limit": "roofline"}  # as the command was called up to version 0.1


def build_parser(command: str = "") -> argparse.ArgumentParser:
    """Returns the command line; ``call`` runs the command.

    Args:
        command: The one that will be parsed; any other text adds all of them.
    """
    parser = CommandLine(
        prog="python -m benchmarks", description=DESCRIPTION, epilog=EXAMPLES
    )
    add_commands(parser, COMMANDS, ALIASES.get(command, command))
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Returns the exit code: 0 done, 2 the user's error, 3 gate, 4 not valid."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    options = build_parser(arguments[0] if arguments else "").parse_args(arguments)
    options.words = arguments
    return exit_code_of(lambda: int(options.call(options)))


def model_file(text: str) -> Path:
    """Returns the path of a model file or of a released model, for argparse."""
    try:
        return model_path(text)
    except ModelError as error:
        raise argparse.ArgumentTypeError(str(error)) from error


def add_models(parser: argparse.ArgumentParser) -> None:
    """Adds the model files, what they may not say, and the result's file."""
    add = parser.add_argument
    add("models", nargs="+", type=model_file, metavar="MODEL", help=MODEL_HELP)
    add_given(parser)
    add_result_file(parser)


def add_given(parser: argparse.ArgumentParser) -> None:
    """Adds what the user says of model files without metadata."""
    for names, settings in GIVEN_FLAGS:
        parser.add_argument(*names, **settings)


def add_result_file(parser: argparse.ArgumentParser) -> None:
    """Adds ``--json`` and ``--force``."""
    add = parser.add_argument
    add("--json", type=Path, metavar="FILE", help="save the result as JSON")
    add("--force", action="store_true", help="replace existing files")


def thread_counts(text: str) -> tuple[int, ...]:
    """Returns CPU thread counts from a list such as ``1,2``."""
    return tuple(dict.fromkeys(flags.threads(part) for part in text.split(",")))


def backends(text: str) -> tuple[str, ...]:
    """Returns inference libraries from a list such as ``onnxruntime,auto``."""
    names = tuple(dict.fromkeys(part.strip() for part in text.split(",")))
    known = ("auto", *BACKENDS)
    for name in names:
        if name not in known:
            raise argparse.ArgumentTypeError(
                f"expected some of {', '.join(known)}, got {name[:40]!r}"
            )
    return names


def seconds(text: str) -> float:
    """Returns seconds from a time such as ``30s`` or ``10m``."""
    number, unit = (text[:-1], text[-1:]) if text[-1:] in SECONDS else (text, "s")
    try:
        value = float(number) * SECONDS[unit]
    except ValueError:
        value = 0.0
    if not 0 < value <= 24 * 3600:
        raise argparse.ArgumentTypeError(
            f"expected a time such as 30s or 10m, up to 24h, got {text[:40]!r}"
        )
    return value


def points(text: str) -> float:
    """Returns percentage points, more than 0 and up to 100."""
    value = float(text)
    if not 0 < value <= 100:
        # No image set can show that nothing at all was lost.
        raise argparse.ArgumentTypeError(
            f"expected more than 0 and at most 100 points, got {text}"
        )
    return value
