"""``python -m export``: from a trained model to files for the device."""

from __future__ import annotations

import argparse
import json
import os
import shlex
import signal
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, get_args

from edge_runtime.errors import GateError, OutputError
from edge_runtime.model_file.labels import labels
from edge_runtime.model_file.pixels import pixels
from edge_runtime.model_file.released import are_released_labels
from edge_runtime.model_file.signature import sign, signature_path
from edge_runtime.preprocessing import Fit
from edge_runtime.utils.argparser import CommandLine, exit_code_of, invocation
from edge_runtime.utils.files import write_bytes, write_text
from edge_runtime.utils.flags import positive, whole_number
from train.networks.backend import start_keras
from train.options.arguments import add_words

if TYPE_CHECKING:
    from export.exporter import Export
    from export.options import ExportOptions

ARTIFACTS = Path("artifacts")
OLDEST_OPSET, NEWEST_OPSET = 17, 18
EXAMPLES = """\
examples:
  python -m export --int8                     the newest run
  python -m export runs/fer-1 --int8
  python -m export --formats all              every format, in one table
  python -m export --int8 --io uint8          pixels go in as they are
  python -m export --int8 --audit             does the choice of images matter?
  python -m export --int8 --debug-layers      which layer does int8 hurt?
  python -m export --int8 --max-drop 0.5      keep layers in float until it holds
  python -m export --int8 --sign private.pem  for  edge_runtime run --require-signature
  python -m export my.keras --int8 --labels cat,dog --calibration-data photos/ \\
      --fit crop

Every file explains itself: labels, input, temperature, origin and golden vectors are
inside. The int8 files are calibrated on training images; the measured ranges are kept
in the run folder, so the same files can be made again without any image.

exit codes: 0 done, 2 an argument or a file is wrong, 3 more accuracy is lost than
--max-drop allows, or a requested format could not be made (the others are written)
"""


def build_parser() -> argparse.ArgumentParser:
    """Returns the command line."""
    parser = CommandLine(
        prog="python -m export",
        description="Exports a trained model as TFLite and ONNX files.",
        epilog=EXAMPLES,
    )
    add = parser.add_argument
    add("model", nargs="?", metavar="RUN", help="run or .keras file (newest run)")
    add("--int8", action="store_true", help="also full int8 TFLite and int8 QDQ ONNX")
    add(
        "--formats",
        metavar="A,B,...",
        help="these formats, or all: float32, float16, dynamic-range, int8, int16x8"
        " (diagnostic), onnx-float32, onnx-int8",
    )
    add(
        "--io",
        choices=("int8", "uint8", "float32"),
        default="int8",
        help="input and output of the int8 TFLite file (int8); float32 for old"
        " programs, quantized inside",
    )
    add(
        "--allow-float",
        action="store_true",
        help="keep operators without an integer kernel in float32: a .mixed.tflite file"
        " instead of the int8 one",
    )
    add(
        "--opset",
        type=partial(whole_number, low=OLDEST_OPSET, high=NEWEST_OPSET),
        metavar="N",
        help=f"version of the operators of ONNX files ({OLDEST_OPSET})",
    )
    add("--out", type=Path, metavar="DIR", help="folder (default: artifacts/<run>)")
    add(
        "--calibration-data",
        metavar="PATH",
        help="measure the activation ranges afresh on these training images"
        " (raw pixels; folder per class, zip or CSV)",
    )
    add(
        "--labels",
        type=labels,
        metavar="A,B,...",
        help="class names in order, or a file with one on each line, for a bare .keras"
        " file",
    )
    add(
        "--pixels",
        type=pixels,
        metavar="VALUES",
        help="what a bare .keras file that scales no pixels was trained on: raw"
        " (0..255), unit (0..1), signed (-1..1), imagenet, or a JSON file with mean and"
        " std",
    )
    add(
        "--size",
        type=positive,
        metavar="PX",
        help="side of the input of a bare .keras file that leaves it free",
    )
    add(
        "--fit",
        choices=get_args(Fit),
        help="how the images that a bare .keras file was trained on became square; the"
        " device does the same (stretch)",
    )
    add_words(add)
    _add_analysis(parser.add_argument_group("analysis of the int8 file"))
    add("--json", type=Path, metavar="FILE", help="write all figures as JSON")
    add("--markdown", type=Path, metavar="FILE", help="write the table as Markdown")
    add(
        "--sign",
        type=Path,
        metavar="KEY",
        help="sign every file with this ed25519 private key (PEM; made by"
        "  python -m edge_runtime keygen): the signature is written beside it",
    )
    add("--force", action="store_true", help="replace files that differ")
    return parser


def _add_analysis(group: argparse._ArgumentGroup) -> None:
    """Adds the options that examine the int8 model."""
    add = group.add_argument
    add("--audit", action="store_true", help="accuracy over five calibration seeds")
    add(
        "--debug-layers",
        action="store_true",
        help="rank the layers by the error that int8 adds: table and picture",
    )
    add(
        "--max-drop",
        type=_points,
        metavar="POINTS",
        help="keep the worst layers in float, until the TFLite accuracy on validation"
        " images is at most this much below float; exit code 3 when that is impossible",
    )
    add(
        "--float-layers",
        type=int,
        default=8,
        metavar="N",
        help="most layers kept in float for --max-drop (8)",
    )


def main(argv: Sequence[str] | None = None) -> int:
    """Returns the exit code: 0 done, 2 a user's error, 3 not all that was asked."""
    args = build_parser().parse_args(argv)
    return exit_code_of(lambda: _export(args))


def _export(args: argparse.Namespace) -> int:
    os.environ["KERAS_BACKEND"] = "tensorflow"  # the converters take no other
    if args.sign:
        sign(b"", args.sign)  # a wrong key is an error now, not after minutes
    start_keras()
    from export import exporter

    options = _options(args)
    with _interrupts() as interrupted:

        def log(text: str) -> None:
            if interrupted():
                raise KeyboardInterrupt
            print(text, flush=True)

        try:
            export = exporter.export(args.model, options, log)
        except Exception:
            if interrupted():  # and the converter failed because of it
                raise KeyboardInterrupt from None
            raise
        if interrupted():
            raise KeyboardInterrupt
    return _deliver(export, args)


def _options(args: argparse.Namespace) -> ExportOptions:
    from export.convert.formats import choose_formats
    from export.options import ExportOptions

    analysis = args.audit or args.debug_layers or args.max_drop is not None
    int8 = args.int8 or (analysis and args.formats is None)
    return ExportOptions(
        formats=choose_formats(args.formats, int8=int8),
        io=args.io,
        labels=args.labels,
        pixels=args.pixels,
        size_px=args.size,
        fit=args.fit,
        subject=args.subject,
        labels_are=args.labels_are,
        calibration_data=args.calibration_data,
        allow_float=args.allow_float,
        opset=args.opset or OLDEST_OPSET,
        audit=args.audit,
        debug_layers=args.debug_layers,
        max_drop=args.max_drop,
        float_layers=args.float_layers,
    )


@contextmanager
def _interrupts() -> Iterator[Callable[[], bool]]:
    """Yields a function that returns whether Ctrl-C was pressed.

    TensorFlow's converter calls Python in places that swallow the exception.
    """
    received = []

    def handle(number: int, _: object) -> None:
        received.append(number)
        raise KeyboardInterrupt

    before = signal.getsignal(signal.SIGINT)
    if before is not signal.SIG_IGN:  # a job in the background keeps ignoring it
        signal.signal(signal.SIGINT, handle)
    try:
        yield lambda: bool(received)
    finally:
        signal.signal(signal.SIGINT, before)


def _deliver(export: Export, args: argparse.Namespace) -> int:
    """Writes the files and prints the tables.

    Raises:
        GateError: No attempt is within --max-drop, and no file was written; or a
            format could not be made, and the others were written.
        OutputError: A file exists and differs.
    """
    from export.report import tables
    from export.report.document import to_document
    from export.report.markdown import markdown_table

    folder = args.out or ARTIFACTS / export.name
    paths = [folder / f"{export.name}{file.converted.suffix}" for file in export.files]
    analysis = export.analysis
    if analysis.passed:
        # All signatures before any file is written.
        files = export.files if args.sign else []
        signatures = [sign(file.content, args.sign) for file in files]
        _write(export, paths, force=args.force)
        for path, signature in zip(paths, signatures, strict=False):
            write_bytes(signature_path(path), signature)
    document = to_document(export, paths)
    print("\n".join([tables.files_table(document), *tables.audit_lines(document)]))
    if analysis.layers:
        print(tables.layers_table(document["layers"]))
        _plot_layers(export, folder)
    if analysis.attempts:
        print(tables.exceptions_table(document["exceptions"]))
    if args.json:
        write_text(args.json, json.dumps(document, indent=1) + "\n")
    if args.markdown:
        write_text(args.markdown, markdown_table(document))
    if not analysis.passed:
        least = min(attempt.drop_points for attempt in analysis.attempts or [])
        raise GateError(
            f"int8 stays {least:.2f} points below float with up to"
            f" {args.float_layers} layers in float, allowed are"
            f" {analysis.max_drop:g}: nothing was written; allow more with"
            " --float-layers or --max-drop, or look at --debug-layers"
        )
    _print_next_steps(export, paths, args.calibration_data)
    if export.missing:
        reasons = "; ".join(f"{one.format}: {one.reason}" for one in export.missing)
        raise GateError(f"not written: {reasons}")
    return 0


def _plot_layers(export: Export, folder: Path) -> None:
    from export.report.layer_plot import plot_layers

    path = folder / f"{export.name}.layers.png"
    layers = export.analysis.layers or []
    plot_layers(layers, path, title=f"{export.name}: int8 by layer")
    print(f"picture: {path}")


def _points(text: str) -> float:
    value = float(text)
    if not 0 <= value <= 100:
        raise argparse.ArgumentTypeError(f"expected points in 0..100, got {text}")
    return value


def _write(export: Export, paths: Sequence[Path], *, force: bool) -> None:
    """Writes all files, or none if one would replace a different one."""
    contents = [file.content for file in export.files]
    differing = [
        str(path)
        for path, content in zip(paths, contents, strict=True)
        if path.exists() and path.read_bytes() != content
    ]
    if differing and not force:
        raise OutputError(
            f"these files exist and differ: {', '.join(differing)}; replace them with"
            " --force, or write elsewhere with --out"
        )
    for path, content in zip(paths, contents, strict=True):
        write_bytes(path, content)


def _print_next_steps(
    export: Export, paths: Sequence[Path], images: Path | None
) -> None:
    trained, first = export.trained, paths[0]
    preferred = (".mixed.tflite", ".int8.tflite", ".int8-io")
    best = next(
        (path for end in preferred for path in paths if end in path.name), first
    )
    print(f"wrote {len(paths)} files to {first.parent}/")
    run = f"{invocation()} run {shlex.quote(str(best))} --source 0"
    if are_released_labels(trained.spec.labels):
        print(f"next:  {run}")
    else:
        print(f"next:  {run} --faces none   # classifies the whole image")
        if trained.spec.subject in (None, "face"):
            print(f"       {run}                # classifies each face in it")
    if best is not first:
        used = trained.config.data if trained.config else images
        data = shlex.quote(str(used)) if used else "PATH"
        if trained.config and trained.config.labels_from:
            data += f" --labels-from {shlex.quote(trained.config.labels_from)}"
        benchmarks = invocation("benchmarks")
        files = shlex.join([str(first), str(best)])
        print(f"       {benchmarks} accuracy {files} --data {data}")
        print(f"       {benchmarks} latency {files}")


if __name__ == "__main__":
    sys.exit(main())
