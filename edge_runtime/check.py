"""``python -m edge_runtime check``: what a model file really is.

Reads the graph without any TFLite or ONNX library; one inference library then replays
the golden vectors.
"""

from __future__ import annotations

import argparse
import json
from typing import Any

from edge_runtime.arguments import command
from edge_runtime.check_document import check_document
from edge_runtime.check_table import table
from edge_runtime.classifier import Classifier, released_model
from edge_runtime.container import ModelFile, read_model_file
from edge_runtime.errors import FerEdgeError, GateError
from edge_runtime.inventory import read_graph, take_inventory
from edge_runtime.promises import FORMATS
from edge_runtime.spec import ModelSpec
from edge_runtime.typed import own_command
from edge_runtime.verdict import Replay, reach_verdict


def add_check(commands: Any) -> None:
    """Adds ``check`` to the commands."""
    parser = command(commands, "check", check, "what is really inside a model file")
    parser.add_argument("--json", action="store_true", help="as a JSON document")
    parser.add_argument(
        "--expect",
        choices=tuple(FORMATS),
        metavar="FORMAT",
        help=f"what it must be: {', '.join(FORMATS)} (default: what its metadata say,"
        " else its name)",
    )


def check(args: argparse.Namespace) -> int:
    """Says what a model file is, and fails where it is not what it says it is."""
    path = args.model or released_model()
    file = read_model_file(path, public_key=args.require_signature)
    spec = ModelSpec.from_document(file.document) if file.document else None
    graph = read_graph(file)
    inventory = take_inventory(graph)
    replay = _replay(file, args)
    verdict = reach_verdict(file, spec, inventory, expect=args.expect, replay=replay)
    document = {
        **check_document(path, file, spec, inventory, replay, verdict),
        "signature": "verified" if args.require_signature else "not checked",
    }
    if args.json:
        print(json.dumps(document, indent=2))
    else:
        print(table(document))
    if verdict.violations:
        rules = ", ".join(dict.fromkeys(one.rule for one in verdict.violations))
        raise GateError(f"{file.name} is not what it says it is ({rules})")
    if replay.error:
        raise replay.error
    # A classifier has one answer: a face detector, say, is nothing for run.
    if not args.json and (spec or len(graph.outputs) == 1):
        labels = "" if spec else " --labels A,B,..."
        print(f"\nnext:\n  {own_command()} run {path}{labels} --source 0")
    return 0


def _replay(file: ModelFile, args: argparse.Namespace) -> Replay:
    """Runs the model on its golden vectors, if it has metadata or labels came."""
    if file.document is None and args.labels is None:
        return Replay()
    try:
        return Replay(
            Classifier.from_file(
                file,
                num_threads=args.threads,
                backend=args.backend,
                labels=args.labels,
            ),
            threads=args.threads,
        )
    except FerEdgeError as error:
        return Replay(error=error)
