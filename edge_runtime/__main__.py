"""``python -m edge_runtime``: camera to answers, and what is inside a model file."""

from __future__ import annotations

import argparse
import logging
import sys
from collections.abc import Sequence

from edge_runtime import __version__
from edge_runtime.arguments import EXAMPLES
from edge_runtime.check import add_check
from edge_runtime.errors import exit_code_of
from edge_runtime.keygen import add_keygen
from edge_runtime.run_command import add_run


def build_parser() -> argparse.ArgumentParser:
    """Returns the command line."""
    parser = argparse.ArgumentParser(
        prog="python -m edge_runtime",
        description="Runs an exported classifier on a camera; checks model files.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument(
        "--version", action="version", version=f"fer-edge {__version__}"
    )
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    add_run(commands)
    add_check(commands)
    add_keygen(commands)
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Runs a command and returns its exit code."""
    logging.basicConfig(level=logging.WARNING, format="%(levelname)s: %(message)s")
    args = build_parser().parse_args(argv)
    return exit_code_of(lambda: args.call(args))


if __name__ == "__main__":
    sys.exit(main())
