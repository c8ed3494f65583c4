"""``python -m edge_runtime check``: what is in a model file, and whether it is true.

Reads the graph of a TFLite file without any library, that of an ONNX file with
``onnx``; one inference library then replays the golden vectors.
"""

from __future__ import annotations

import argparse
import json
import shlex
from typing import Any

from edge_runtime.cli.check_report import format_report
from edge_runtime.cli.given import GIVEN_NAMES, given
from edge_runtime.cli.next_run import faces_flag
from edge_runtime.cli.run_options import add_model_options
from edge_runtime.errors import FerEdgeError, GateError, MissingDependencyError
from edge_runtime.inference.classifier import Classifier, model_path
from edge_runtime.inspection.analyzer import analyze, read_graph
from edge_runtime.inspection.document import check_document
from edge_runtime.inspection.foreign_rules import check_foreign
from edge_runtime.inspection.format_rules import FORMATS
from edge_runtime.inspection.verdict import NOTHING_FOUND, Replay, evaluate
from edge_runtime.model_file.container import ModelFile, read_model_file
from edge_runtime.model_file.input_range import any_pixels
from edge_runtime.model_file.metadata import ModelSpec
from edge_runtime.model_file.statements import Statements, read_statements, resolve
from edge_runtime.utils.argparser import add_command, as_typed, invocation

EXAMPLES = """\
examples:
  python -m edge_runtime check                        the released model
  python -m edge_runtime check pets.int8.tflite
  python -m edge_runtime check pets.tflite --expect tflite-int8
  python -m edge_runtime check MODEL --require-signature signing.pub.pem
  python -m edge_runtime check MODEL --json > check.json

exit code 3: the file is not what its metadata, its name or --expect say
"""


def add_check(commands: Any) -> None:
    """Adds ``check`` to the commands."""
    text = "show what a model file contains, and verify what it claims to be"
    parser = add_command(commands, "check", check, text, EXAMPLES)
    add_model_options(parser)
    parser.add_argument("--json", action="store_true", help="as a JSON document")
    parser.add_argument(
        "--expect",
        choices=tuple(FORMATS),
        metavar="FORMAT",
        help=f"what it must be: {', '.join(FORMATS)} (default: what its metadata say,"
        " else its name)",
    )


def check(args: argparse.Namespace) -> int:
    """Prints what is in a model file; fails where it is not what it claims to be."""
    path = model_path(args.model)
    file = read_model_file(path, public_key=args.require_signature)
    spec = ModelSpec.from_document(file.document) if file.document else None
    graph, graph_error = None, None
    try:
        graph = read_graph(file)
    except MissingDependencyError as error:
        graph_error = error
    summary = analyze(graph) if graph is not None else None
    stated = read_statements(file) if spec is None else None
    replay = _replay(file, args, stated)
    foreign = NOTHING_FOUND
    if graph is not None and stated is not None:
        foreign = check_foreign(graph, stated, given(args))
    verdict = evaluate(
        file, spec, summary, expect=args.expect, replay=replay, foreign=foreign
    )
    document = {
        **check_document(path, file, spec, summary, replay, verdict, stated),
        "signature": "verified" if args.require_signature else "not checked",
    }
    print(json.dumps(document, indent=2) if args.json else format_report(document))
    if verdict.violations:
        rules = ", ".join({violation.rule: None for violation in verdict.violations})
        raise GateError(f"{file.name} is not what it says it is ({rules})")
    missing = [error for error in (graph_error, replay.error) if error is not None]
    if missing:  # both at once: else the second is found only after the first
        raise FerEdgeError("; ".join(map(str, missing)))
    # A model with several outputs, such as a face detector, is not a classifier.
    if not args.json and (spec or (graph is not None and len(graph.outputs) == 1)):
        flags_needed = _flags_needed(stated, args) if stated else ""
        run = f"{invocation()} run {shlex.quote(str(path))}{flags_needed} --source 0"
        print(f"\nnext:\n  {run}{faces_flag(file)}")
    return 0


def _flags_needed(stated: Statements, args: argparse.Namespace) -> str:
    """Returns the flags with which ``run`` opens a file that does not say all."""
    said, asked = given(args), ""
    if said.labels is None and not stated.labels:
        asked += " --labels A,B,..."
    if said.pixels is None and stated.pixels is None:
        asked += " --pixels SCALE"
    if said.output is None and stated.output is None:
        asked += " --model-output OUTPUT"
    return as_typed(args.words, GIVEN_NAMES) + asked


def _replay(
    file: ModelFile, args: argparse.Namespace, stated: Statements | None
) -> Replay:
    """Returns the model run on its golden vectors, where it has labels to run with.

    Files of others are only opened: it does not matter what their pixels are.
    """
    said = given(args)
    if stated is not None and said.labels is None and not stated.labels:
        return Replay()
    try:
        if stated is not None:
            said = resolve(said, stated)
            pixels = said.pixels or any_pixels(stated.quantized)
            said = said._replace(pixels=pixels, output=said.output or "logits")
        return Replay(
            Classifier.from_file(
                file, num_threads=args.threads, backend=args.backend, given=said
            ),
            threads=args.threads,
        )
    except FerEdgeError as error:
        return Replay(error=error)
