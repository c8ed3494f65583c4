"""``python -m edge_runtime doctor``: whether this board is ready to run."""

from __future__ import annotations

import argparse
import json
import textwrap
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from edge_runtime import __version__
from edge_runtime.doctor.finding import Finding, worst
from edge_runtime.errors import GateError
from edge_runtime.untrusted import one_line
from edge_runtime.utils import flags
from edge_runtime.utils.argparser import add_command, invocation

EXAMPLES = """\
examples:
  python -m edge_runtime doctor                          with the released model
  python -m edge_runtime doctor pets.int8.tflite
  python -m edge_runtime doctor --json > board.json

exit code 3: something fails
"""
SCHEMA = "fer-edge/doctor/1"
ROOT = Path("/")
WIDTH = 88


def add_doctor(commands: Any) -> None:
    """Adds ``doctor`` to the commands."""
    text = "examine this board: is it ready, and what to do if not"
    parser = add_command(commands, "doctor", doctor, text, EXAMPLES)
    parser.add_argument(
        "model",
        nargs="?",
        type=flags.path,
        help="file or released model to try (default: the released one)",
    )
    parser.add_argument("--json", action="store_true", help="as a JSON document")


def doctor(args: argparse.Namespace) -> int:
    """Examines the board, prints the findings, and fails where it cannot run."""
    findings = examine(args.model)
    if args.json:
        print(json.dumps(document(findings), indent=2))
    else:
        print(table(findings))
    failed = [finding.name for finding in findings if finding.status == "fail"]
    if failed:
        raise GateError(f"this board is not ready: {', '.join(failed)}")
    if not args.json:
        words = f" --source {_source(findings)}"
        if args.model:
            words = f" {args.model}{words}{_faces(args.model)}"
        print(f"\nnext:\n  {invocation()} run{words}")
    return 0


def _faces(model: Path) -> str:
    from edge_runtime.cli.next_run import faces_flag
    from edge_runtime.inference.classifier import model_path
    from edge_runtime.model_file.container import read_model_file

    return faces_flag(read_model_file(model_path(model)))


def _source(findings: Sequence[Finding]) -> str:
    """Returns the first usable camera; without one, the fake camera."""
    for finding in findings:
        if finding.name.startswith("camera") and finding.status == "ok":
            return finding.value.rpartition("--source ")[2]
    return "fake:scene"


def examine(model: Path | None, root: Path = ROOT) -> list[Finding]:
    """Returns all findings; without a model, those with the released one, if any."""
    # Here: they import OpenCV and more, which other commands need not wait for.
    from edge_runtime.doctor.board import board_findings
    from edge_runtime.doctor.cameras import camera_findings
    from edge_runtime.doctor.health import health_findings
    from edge_runtime.doctor.software import software_findings

    return [
        *board_findings(root),
        *health_findings(root, Path.cwd()),
        *software_findings(_model_file(model)),
        *camera_findings(root),
    ]


def _model_file(model: Path | None) -> Path | None:
    from edge_runtime.errors import ModelError
    from edge_runtime.inference.classifier import model_path

    try:
        return model_path(model)
    except ModelError:
        return model  # a finding says what is wrong with it


def document(findings: Sequence[Finding]) -> dict[str, Any]:
    """Returns findings JSON-ready, schema ``fer-edge/doctor/1``."""
    return {
        "schema": SCHEMA,
        "version": __version__,
        "status": worst(findings),
        "findings": [asdict(finding) for finding in findings],
    }


def table(findings: Sequence[Finding]) -> str:
    """Returns findings as a table, each with its remedy below."""
    width = max(len(finding.name) for finding in findings)
    lines = []
    for finding in findings:
        value = one_line(finding.value)  # a camera may call itself anything
        lines.append(f"{finding.status:<4}  {finding.name:<{width}}  {value}")
        if finding.remedy:
            indent = " " * (4 + 2 + width + 2)
            lines += textwrap.wrap(
                "-> " + one_line(finding.remedy),
                WIDTH,
                initial_indent=indent,
                subsequent_indent=indent + "   ",
                break_long_words=False,
                break_on_hyphens=False,
            )
    return "\n".join(lines)
