"""``python -m edge_runtime``: camera to answers, and what is inside a model file."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from typing import NoReturn

from edge_runtime import __version__
from edge_runtime.systemd.journal import set_up_logging
from edge_runtime.utils.argparser import CommandLine, add_commands, exit_code_of
from edge_runtime.utils.signals import exit_now

# Each command with the function that adds it: importing all of them would be most of
# the time from the start of ``run`` to its first label.
COMMANDS = {
    "run": "edge_runtime.cli.run:add_run",
    "check": "edge_runtime.cli.check:add_check",
    "doctor": "edge_runtime.cli.doctor:add_doctor",
    "collect": "edge_runtime.cli.collect:add_collect",
    "fetch-detector": "edge_runtime.cli.fetch_detector:add_fetch_detector",
    "install-service": "edge_runtime.cli.install_service:add_install_service",
    "tune": "edge_runtime.cli.tune:add_tune",
    "keygen": "edge_runtime.cli.keygen:add_keygen",
}


EXAMPLES = """\
examples:
  python -m edge_runtime run                       first camera, the released model
  python -m edge_runtime run --source fake:scene   no camera: a drawn face
  python -m edge_runtime check pets.int8.tflite
  python -m edge_runtime doctor
  python -m edge_runtime tune pets.int8.tflite
  python -m edge_runtime collect export crops dataset.zip
  python -m edge_runtime fetch-detector            YuNet, without fer-edge[yunet]
  python -m edge_runtime install-service --config fer-edge.toml
  python -m edge_runtime COMMAND --help            flags and examples of a command

exit codes: 0 done; 2 an argument, a file or a device is wrong (one line on stderr); 3 a
check failed: check (the file is not what it claims to be), doctor (the board is not
ready) or tune (no setting is fast enough); 130 Ctrl-C
"""


def build_parser(command: str = "") -> argparse.ArgumentParser:
    """Returns the command line.

    Args:
        command: The one that will be parsed; any other text adds all of them.
    """
    parser = CommandLine(
        prog="python -m edge_runtime",
        description="Runs an exported classifier on a camera; checks model files.",
        epilog=EXAMPLES,
    )
    parser.add_argument(
        "--version", action="version", version=f"fer-edge {__version__}"
    )
    add_commands(parser, COMMANDS, command)
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Runs a command and returns its exit code."""
    set_up_logging()
    arguments = list(sys.argv[1:] if argv is None else argv)
    parser = build_parser(arguments[0] if arguments else "")
    args = parser.parse_args(arguments)
    return exit_code_of(lambda: _call(parser, args, arguments))


def _call(
    parser: argparse.ArgumentParser, args: argparse.Namespace, arguments: list[str]
) -> int:
    """Runs a command, its configuration file read first."""
    configured: list[str] = []
    if getattr(args, "command_parser", None) and args.config:
        from edge_runtime.cli.config_file import as_words, flag_values

        values = flag_values(args.command_parser, args.config)
        args.command_parser.set_defaults(**values)
        configured = as_words(values)
        args = parser.parse_args(arguments)
    if getattr(args, "print_config", False):
        from edge_runtime.cli.config_file import print_config

        after = arguments[arguments.index(args.command) + 1 :]
        print(print_config(args.command_parser, after))
        return 0
    args.words = [*configured, *arguments]
    code: int = args.call(args)
    return code


def program() -> NoReturn:
    """Runs a command and ends the process: what ``edge-runtime`` calls."""
    exit_now(main())


if __name__ == "__main__":
    program()
