"""``python -m export``: from a trained model to files for the device."""

from __future__ import annotations

import argparse
import json
import os
import signal
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from edge_runtime.errors import GateError, OutputError
from edge_runtime.model_file.signature import sign, signature_path
from edge_runtime.utils.argparser import CommandLine, exit_code_of
from edge_runtime.utils.files import write_bytes, write_text
from train.networks.backend import start_keras

if TYPE_CHECKING:
    from export.exporter import Export

ARTIFACTS = Path("artifacts")
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
  python -m export my.keras --int8 --labels cat,dog --calibration-data photos/

Every file explains itself: labels, input, temperature, origin and golden vectors are
inside. The int8 files are calibrated on training images; the measured ranges are kept
in the run folder, so the same files can be made again without any image.

exit codes: 0 done, 2 an error of use, 3 no exception holds the bound of --max-drop
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
    add("--out", type=Path, metavar="DIR", help="folder (default: artifacts/<run>)")
    add(
        "--calibration-data",
        metavar="PATH",
        help="measure the activation ranges afresh on these training images"
        " (raw pixels; folder per class, zip or CSV)",
    )
    add("--labels", metavar="A,B,...", help="class names, for a bare .keras file")
    add(
        "--pixels",
        choices=("raw", "unit", "signed"),
        default="raw",
        help="what a bare .keras file was trained on: pixels 0..255, or scaled by its"
        " own layers (raw), 0..1 (unit), -1..1 (signed)",
    )
    add_studies(parser.add_argument_group("questions about the int8 file"))
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


def add_studies(group: argparse._ArgumentGroup) -> None:
    """Adds the options that look into the int8 model."""
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
        " images is at most this much below float; exit code 3 when none holds",
    )
    add(
        "--float-layers",
        type=int,
        default=8,
        metavar="N",
        help="most layers kept in float for --max-drop (8)",
    )


def main(argv: Sequence[str] | None = None) -> int:
    """Returns the exit code: 0 done, 2 the user's error, 3 a bound is not held."""
    options = build_parser().parse_args(argv)
    return exit_code_of(lambda: _export(options))


def _export(options: argparse.Namespace) -> int:
    os.environ["KERAS_BACKEND"] = "tensorflow"  # the converters take no other
    if options.sign:
        sign(b"", options.sign)  # a wrong key is told now, not after minutes
    start_keras()
    from export import exporter
    from export.convert import formats
    from export.options import ExportOptions

    studies = options.audit or options.debug_layers or options.max_drop is not None
    int8 = options.int8 or (studies and options.formats is None)
    labels = options.labels.split(",") if options.labels else None
    wishes = ExportOptions(
        formats=formats.choose_formats(options.formats, int8=int8),
        io=options.io,
        pixels=options.pixels,
        audit=options.audit,
        debug_layers=options.debug_layers,
        max_drop=options.max_drop,
        float_layers=options.float_layers,
    )
    with _interrupts() as interrupted:

        def say(text: str) -> None:
            if interrupted():
                raise KeyboardInterrupt
            print(text, flush=True)

        try:
            done = exporter.export(
                options.model,
                int8=int8,
                labels=labels,
                calibration_data=options.calibration_data,
                say=say,
                wishes=wishes,
            )
        except Exception:
            if interrupted():  # the converter failed of it
                raise KeyboardInterrupt from None
            raise
        if interrupted():
            raise KeyboardInterrupt
    return _deliver(done, options)


@contextmanager
def _interrupts() -> Iterator[Callable[[], bool]]:
    """Yields what says whether there was a Ctrl-C.

    TensorFlow's converter calls Python in places that swallow the exception.
    """
    heard = []

    def hear(number: int, _: object) -> None:
        heard.append(number)
        raise KeyboardInterrupt

    before = signal.getsignal(signal.SIGINT)
    if before is not signal.SIG_IGN:  # else, as of a job in the background, it stays
        signal.signal(signal.SIGINT, hear)
    try:
        yield lambda: bool(heard)
    finally:
        signal.signal(signal.SIGINT, before)


def _deliver(done: Export, options: argparse.Namespace) -> int:
    """Writes and prints what was made, or what stands against it."""
    from export.report import tables
    from export.report.markdown import markdown_table

    folder = options.out or ARTIFACTS / done.name
    paths = [folder / f"{done.name}{item.draft.suffix}" for item in done.items]
    found = done.studies
    if found.passed:
        signatures = _signatures(done, options.sign)
        _write(done, paths, force=options.force)
        for path, signature in zip(paths, signatures, strict=False):
            write_bytes(signature_path(path), signature)
    print(tables.files_table(done, paths))
    print(tables.audit_lines(done), end="\n" if done.audit else "")
    if found.layers:
        print(tables.layers_table(found.layers))
        _picture(done, folder)
    if found.steps:
        print(tables.steps_table(found))
    document = tables.to_document(done, paths)
    if options.json:
        write_text(options.json, json.dumps(document, indent=1) + "\n")
    if options.markdown:
        write_text(options.markdown, markdown_table(document))
    if not found.passed:
        best = min(step.drop_points for step in found.steps or [])
        raise GateError(
            f"int8 stays {best:.2f} points below float with up to"
            f" {options.float_layers} layers in float, allowed are"
            f" {found.max_drop:g}: nothing was written; allow more with --float-layers"
            " or --max-drop, or look at --debug-layers"
        )
    _say_what_next(done, paths)
    return 0


def _signatures(done: Export, key: Path | None) -> list[bytes]:
    """Returns the signature of every file, before any is written; none without key."""
    return [sign(item.content, key) for item in done.items] if key else []


def _picture(done: Export, folder: Path) -> None:
    from export.analysis.layer_plot import plot_layers

    path = folder / f"{done.name}.layers.png"
    plot_layers(done.studies.layers or [], path, title=f"{done.name}: int8 by layer")
    print(f"picture: {path}")


def _points(text: str) -> float:
    value = float(text)
    if not 0 <= value <= 100:
        raise argparse.ArgumentTypeError(f"expected points in 0..100, got {text}")
    return value


def _write(done: Export, paths: Sequence[Path], *, force: bool) -> None:
    """Writes all files, or none if one would replace a different one."""
    differing = [
        str(path)
        for path, item in zip(paths, done.items, strict=True)
        if path.exists() and path.read_bytes() != item.content
    ]
    if differing and not force:
        raise OutputError(
            f"these files exist and differ: {', '.join(differing)}; replace them with"
            " --force, or write elsewhere with --out"
        )
    for path, item in zip(paths, done.items, strict=True):
        write_bytes(path, item.content)


def _say_what_next(done: Export, paths: Sequence[Path]) -> None:
    print(f"wrote {len(paths)} files to {paths[0].parent}/")
    wanted = (".mixed.tflite", ".int8.tflite", ".int8-io")
    best = next(
        (path for end in wanted for path in paths if end in path.name), paths[0]
    )
    print(f"next:  python -m edge_runtime run {best} --source 0")
    from train.data.fer2013 import FER2013_LABELS

    if set(done.labels) != set(FER2013_LABELS):
        print(
            f"       python -m edge_runtime run {best} --source 0 --faces none"
            "   # for pictures of something else than faces"
        )
    if best is not paths[0]:
        print(
            f"       python -m benchmarks accuracy {paths[0]} {best} --data {done.data}"
        )
        print(f"       python -m benchmarks latency {paths[0]} {best}")


if __name__ == "__main__":
    sys.exit(main())
