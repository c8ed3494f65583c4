"""Arguments that several commands share, and the types of their values."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from edge_runtime.inference.backends import BACKENDS
from edge_runtime.utils import argparser as flags

UNITS = {"s": 1, "m": 60, "h": 3600}


def command(
    commands: Any,
    name: str,
    call: Callable[[argparse.Namespace], int],
    text: str,
    examples: str,
    *,
    aliases: Sequence[str] = (),
) -> argparse.ArgumentParser:
    """Returns the parser of a new command.

    Args:
        commands: What ``add_subparsers`` returned.
        name: The command's name.
        call: Runs the command and returns the exit code.
        text: What it does, for the help.
        examples: Text below the help.
        aliases: Other names of the command.
    """
    parser: argparse.ArgumentParser = commands.add_parser(
        name,
        aliases=aliases,
        help=text,
        description=text[0].upper() + text[1:] + ".",
        epilog=examples,
    )
    parser.set_defaults(call=call)
    return parser


def add_models(parser: argparse.ArgumentParser) -> None:
    """Adds the model files, their labels, and where the result goes."""
    add = parser.add_argument
    add("models", nargs="+", type=Path, metavar="MODEL", help=".tflite or .onnx file")
    add("--json", type=Path, metavar="FILE", help="keep the result as JSON")
    add("--force", action="store_true", help="replace existing files")
    add(
        "--labels",
        type=lambda text: text.split(","),
        metavar="A,B",
        help="class names in order, for a model without metadata",
    )


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
    number, unit = (text[:-1], text[-1:]) if text[-1:] in UNITS else (text, "s")
    try:
        value = float(number) * UNITS[unit]
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


def above_zero(text: str) -> float:
    """Returns a number above 0."""
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 0 < value < float("inf"):
        raise argparse.ArgumentTypeError(
            f"expected a number above 0, got {text[:40]!r}"
        )
    return value
