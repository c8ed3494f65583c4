"""``python -m edge_runtime check``: what is in a model file, and whether it is true.

Reads the graph of a TFLite file without any library, that of an ONNX file with
``onnx``; one inference library then replays the golden vectors.
"""

from __future__ import annotations

import argparse
import json
import shlex
from typing import Any

from edge_runtime.cli.run_options import add_model_options
from edge_runtime.errors import FerEdgeError, GateError, MissingDependencyError
from edge_runtime.inference.classifier import Classifier, model_path
from edge_runtime.inspection.analyzer import analyze, read_graph
from edge_runtime.inspection.document import Document, check_document
from edge_runtime.inspection.format_rules import FORMATS
from edge_runtime.inspection.verdict import Replay, evaluate
from edge_runtime.model_file.container import ModelFile, read_model_file
from edge_runtime.model_file.metadata import ModelSpec
from edge_runtime.text import one_line
from edge_runtime.utils import argparser as flags
from edge_runtime.utils.invocation import invocation
from edge_runtime.utils.text_table import align

LARGEST_LAYERS = 8

Row = tuple[str, str]


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
    parser = flags.add_command(commands, "check", check, text, EXAMPLES)
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
    replay = _replay(file, args)
    verdict = evaluate(file, spec, summary, expect=args.expect, replay=replay)
    document = {
        **check_document(path, file, spec, summary, replay, verdict),
        "signature": "verified" if args.require_signature else "not checked",
    }
    print(json.dumps(document, indent=2) if args.json else format_report(document))
    if verdict.violations:
        rules = ", ".join({violation.rule: None for violation in verdict.violations})
        raise GateError(f"{file.name} is not what it says it is ({rules})")
    missing = [error for error in (graph_error, replay.error) if error is not None]
    if missing:  # both at once: else the second is found only after the first
        raise FerEdgeError("; ".join(map(str, missing)))
    # A model with several outputs, such as a face detector, is no classifier.
    if not args.json and (spec or (graph is not None and len(graph.outputs) == 1)):
        labels = "" if spec else " --labels A,B,..."
        run = f"{invocation()} run {shlex.quote(str(path))}{labels} --source 0"
        print(f"\nnext:\n  {run}")
    return 0


def _replay(file: ModelFile, args: argparse.Namespace) -> Replay:
    """Returns the model run on its golden vectors, where it has labels to run with."""
    if file.document is None and args.labels is None:
        return Replay()
    try:
        return Replay(
            Classifier.from_file(
                file, num_threads=args.threads, backend=args.backend, labels=args.labels
            ),
            threads=args.threads,
        )
    except FerEdgeError as error:
        return Replay(error=error)


def format_report(document: Document) -> str:
    """Returns the tables and the verdict of a check's document, many lines."""
    parts = [_facts(document)]
    if document["layers"] is not None:
        parts += [_operators(document), _layers(document)]
    return "\n\n".join([*parts, _verdict(document)])


def _facts(document: Document) -> str:
    inputs_and_outputs, contents = _graph(document)
    rows = [
        ("file", f"{document['file']}  ({document['size_bytes']:,} bytes)"),
        ("sha256", document["sha256"]),
        *_metadata(document),
        *inputs_and_outputs,
        ("golden vectors", _golden(document)),
        ("signature", document["signature"]),
        *contents,
    ]
    return align(rows, left=2)


def _graph(document: Document) -> tuple[list[Row], list[Row]]:
    """Returns the rows about input and output, and those about what is computed."""
    weights, macs = document["weights"], document["macs"]
    if macs is None:
        return [], [("graph", "not read: a library is missing, see below")]
    share = weights["int8_per_channel_share"]
    return [
        ("input", _tensor(document["input"])),
        ("output", _tensor(document["output"])),
    ], [
        ("MACs", f"{macs['total']:,}, {100 * macs['int8_share']:.1f} % in int8"),
        ("weights", ", ".join(f"{n:,} {t}" for t, n in weights["elements"].items())),
        ("per channel", "-" if share is None else f"{100 * share:.1f} % of int8"),
        ("float islands", _islands(document["float_islands"])),
        ("custom operators", ", ".join(document["custom_operators"]) or "none"),
        ("unfolded BatchNorm", str(len(document["unfolded_batchnorm"]) or "none")),
    ]


def _metadata(document: Document) -> list[Row]:
    if not document["metadata"]:
        return [("metadata", f"none in this .{document['kind']} file")]
    rows = [
        ("format", document["format"]),
        ("architecture", document["architecture"] or "-"),
        ("labels", ", ".join(document["labels"])),
        ("image", "{size_px} px, {colour}".format(**document["image"])),
        ("crop margin", f"{100 * document['crop_margin_frac']:g} %"),
        ("temperature", f"{document['temperature']:.4g}"),
    ]
    for group in ("accuracy", "origin"):
        rows += [(f"{group}: {k}", _value(v)) for k, v in document[group].items()]
    return rows


def _value(value: Any) -> str:
    """Returns one value of the metadata, which may be anything, in short."""
    try:
        low, high = (f"{100 * end:.2f}" for end in value["accuracy_95"])
        share, count = value["accuracy"], value["count"]
        text = f"{100 * share:.2f} % ({low} to {high}) of {count:,} images"
        return text + f", macro-F1 {value['macro_f1']:.3f}"
    except (KeyError, TypeError, ValueError, OverflowError):
        return _short(value)


def _operators(document: Document) -> str:
    rows = [("operator", "type", "count", "MACs", "share")]
    for operator in document["operators"]:
        share = f"{100 * operator['share']:.1f} %"
        count, macs = f"{operator['count']}", f"{operator['macs']:,}"
        rows.append((operator["operator"], operator["dtype"], count, macs, share))
    return align(rows, left=2)


def _layers(document: Document) -> str:
    layers = sorted(document["layers"], key=lambda layer: -layer["bytes"])
    rows = [("largest layers", "operator", "weights", "MACs", "bytes")]
    for layer in layers[:LARGEST_LAYERS]:
        name, dtype = _short(layer["name"], 44), layer["weights"] or layer["dtype"]
        macs, size = f"{layer['macs'] or 0:,}", f"{layer['bytes']:,}"
        rows.append((name, layer["operator"], dtype, macs, size))
    if rest := layers[LARGEST_LAYERS:]:
        macs = f"{sum(layer['macs'] or 0 for layer in rest):,}"
        size = f"{sum(layer['bytes'] for layer in rest):,}"
        rows.append((f"{len(rest)} others", "", "", macs, size))
    return align(rows, left=3)


def _verdict(document: Document) -> str:
    verdict = document["verdict"]
    format, judge = verdict["format"], verdict["judged_by"]
    judge = judge if judge == "--expect" else f"its {judge}"
    claim = f"as {judge} says"
    lines = [f"note: {note}" for note in verdict["notes"]]
    if format is None:
        lines.append("verdict: nothing promised (no metadata, --expect or .int8. name)")
    elif verdict["passed"] is None:
        lines.append(f"verdict: not known whether it is {format}, {claim}")
    elif verdict["passed"]:
        replayed = (document["golden"] or {}).get("error") is None
        rest = "" if replayed else ", but it could not be run here"
        lines.append(f"verdict: is {format}, {claim}{rest}")
    else:
        lines.append(f"verdict: is NOT {format}, contrary to {judge}")
    for violation in verdict["violations"]:
        rule = violation["rule"]
        lines.append(f"  {rule}: expected {violation['expected']}")
        lines.append(f"  {' ' * len(rule)}  found    {violation['found']}")
    return "\n".join(map(one_line, lines))


def _islands(islands: list[Document]) -> str:
    if not islands:
        return "none"
    count = sum(len(island["operators"]) for island in islands)
    macs = sum(island["macs"] for island in islands)
    return f"{len(islands)} with {count} operators, {macs:,} MACs"


def _tensor(tensor: Document | None) -> str:
    if tensor is None:
        return "none"
    text = f"{tensor['dtype']} {tuple(tensor['shape'] or ())}"
    if tensor["scale"] is not None:
        text += f", scale {tensor['scale']:.6g}, zero point {tensor['zero_point']}"
    inside = tensor["quantized_inside"]
    return f"{text}, quantized inside to {_tensor(inside)}" if inside else text


def _golden(document: Document) -> str:
    golden, backend = document["golden"], document["backend"]
    if golden is None:
        return "none in the file: a broken export or library would not be noticed"
    if golden["error"] is not None or backend is None:
        return "not replayed, or not with the same answers: see below"
    return (
        f"{golden['count']} replayed with {backend['name']} {backend['version']},"
        f" largest difference {golden['largest_difference']:g}"
        f" (exported with {golden['exported_with']})"
    )


def _short(value: Any, limit: int = 100) -> str:
    text = value if isinstance(value, str) else json.dumps(value)
    if len(text) <= limit:
        return text
    return text[: limit - 3] + "..." if limit > 60 else ".." + text[2 - limit :]
