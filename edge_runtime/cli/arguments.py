"""What the commands' arguments have in common."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from typing import Any

from edge_runtime.inference.backends import BACKENDS
from edge_runtime.utils import argparser as flags

EXAMPLES = """\
examples:
  python -m edge_runtime run                       first camera, the released model
  python -m edge_runtime run --source fake:scene   no camera: a drawn face
  python -m edge_runtime run --source clip.mp4 --output out.mp4
  python -m edge_runtime run pets.int8.tflite --source cat.jpg --faces none
  python -m edge_runtime fetch-detector            YuNet: better than Haar
  python -m edge_runtime run --detect-every 3 --json
  python -m edge_runtime run --config fer-edge.toml
  python -m edge_runtime check pets.int8.tflite
  python -m edge_runtime doctor
  python -m edge_runtime tune pets.int8.tflite
  python -m edge_runtime install-service --config fer-edge.toml

exit codes: 0 done, 2 something given is wrong (one line on stderr), 3 check found that
a file is not what it says it is, doctor that the board is not ready or tune that
no setting is fast enough, 130 Ctrl-C
"""


def label_list(text: str) -> tuple[str, ...]:
    """Returns class names from a list such as ``cat, dog``, for argparse."""
    return tuple(name.strip() for name in text.split(","))


def command(
    commands: Any, name: str, call: Callable[[argparse.Namespace], int], text: str
) -> argparse.ArgumentParser:
    """Adds a command that takes a model, and returns its parser.

    Args:
        commands: What ``add_subparsers`` returned.
        name: As it is typed.
        call: Runs it and returns the exit code.
        text: What it does, for the help.
    """
    parser: argparse.ArgumentParser = commands.add_parser(
        name,
        help=text,
        description=text[0].upper() + text[1:] + ".",
        epilog=EXAMPLES,
    )
    parser.set_defaults(call=call)
    add = parser.add_argument
    add(
        "model",
        nargs="?",
        type=flags.path,
        help=".tflite or .onnx (default: the released one, where there is one)",
    )
    add(
        "--labels",
        type=label_list,
        metavar="A,B,C",
        help="class names in order, for a model without metadata",
    )
    add("--backend", choices=("auto", *BACKENDS), default="auto", help="(auto)")
    add(
        "--require-signature",
        type=flags.path,
        metavar="PUBKEY",
        help="refuse a model whose MODEL.sig is not by the owner of this key (PEM)",
    )
    add("--threads", type=flags.threads, default=1, metavar="N", help="CPU threads (1)")
    return parser
