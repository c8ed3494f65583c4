"""The command: gathers findings, prints them, fails where one fails."""

from __future__ import annotations

import argparse
import json
import textwrap
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from edge_runtime import __version__
from edge_runtime.doctor.finding import Finding, worst
from edge_runtime.errors import GateError
from edge_runtime.utils import argparser as flags
from edge_runtime.utils.invocation import invocation

EXAMPLES = """\
examples:
  python -m edge_runtime doctor                          with the released model
  python -m edge_runtime doctor pets.int8.tflite
  python -m edge_runtime doctor --json > board.json
"""
SCHEMA = "fer-edge/doctor/1"
ROOT = Path("/")
_WIDTH = 88


def add_doctor(commands: Any) -> None:
    """Adds ``doctor`` to the commands."""
    text = "whether this board is ready, and what to do if not"
    parser = commands.add_parser(
        "doctor",
        help=text,
        description=text[0].upper() + text[1:] + ". Exit code 3: something fails.",
        epilog=EXAMPLES,
    )
    parser.set_defaults(call=doctor)
    parser.add_argument(
        "model",
        nargs="?",
        type=flags.path,
        help=".tflite or .onnx to answer with (default: the released one, if there)",
    )
    parser.add_argument("--json", action="store_true", help="as a JSON document")


def doctor(args: argparse.Namespace) -> int:
    """Examines the board, prints what was found, and fails where it cannot run."""
    findings = examine(args.model)
    if args.json:
        print(json.dumps(document(findings), indent=2))
    else:
        print(table(findings))
    failed = [one.name for one in findings if one.status == "fail"]
    if failed:
        raise GateError(f"this board is not ready: {', '.join(failed)}")
    if not args.json:
        model = f" {args.model}" if args.model else ""
        source = _source(findings)
        print(f"\nnext:\n  {invocation()} run{model} --source {source}")
    return 0


def _source(findings: Sequence[Finding]) -> str:
    """Returns the first camera that can be used; without one the drawn one."""
    for one in findings:
        if one.name.startswith("camera") and one.status == "ok":
            return one.value.rpartition("--source ")[2]
    return "fake:scene"


def examine(model: Path | None, root: Path = ROOT) -> list[Finding]:
    """Returns all findings.

    Args:
        model: A model file to answer one image with; None takes the released one,
            where there is one.
        root: Where ``proc``, ``sys``, ``dev``, ``etc`` and ``usr`` are found.
    """
    # Here: they import OpenCV and more, which no other command waits for.
    from edge_runtime.doctor.board import board_findings
    from edge_runtime.doctor.cameras import camera_findings
    from edge_runtime.doctor.health import health_findings
    from edge_runtime.doctor.software import software_findings

    return [
        *board_findings(root),
        *health_findings(root, Path.cwd()),
        *software_findings(model or _released()),
        *camera_findings(root),
    ]


def _released() -> Path | None:
    from edge_runtime.errors import ModelError
    from edge_runtime.inference.classifier import released_model

    try:
        return released_model()
    except ModelError:
        return None


def document(findings: Sequence[Finding]) -> dict[str, Any]:
    """Returns findings JSON-ready, schema ``fer-edge/doctor/1``."""
    return {
        "schema": SCHEMA,
        "version": __version__,
        "status": worst(findings),
        "findings": [one.document() for one in findings],
    }


def table(findings: Sequence[Finding]) -> str:
    """Returns findings as people read them, each remedy below what it is for."""
    width = max(len(one.name) for one in findings)
    lines = []
    for one in findings:
        lines.append(f"{one.status:<4}  {one.name:<{width}}  {one.value}")
        if one.remedy:
            indent = " " * (4 + 2 + width + 2)
            lines += textwrap.wrap(
                "-> " + one.remedy,
                _WIDTH,
                initial_indent=indent,
                subsequent_indent=indent + "   ",
                break_long_words=False,
                break_on_hyphens=False,
            )
    return "\n".join(lines)
