"""``python -m export``: from a trained model to files for the device."""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edge_runtime.errors import OutputError, exit_code_of
from edge_runtime.files import write_bytes, write_text
from train.quiet_start import start_keras

if TYPE_CHECKING:
    from export.exporter import Export

ARTIFACTS = Path("artifacts")
SCHEMA = "fer-edge/export/1"
EXAMPLES = """\
examples:
  python -m export --int8                     the newest run
  python -m export runs/fer-1 --int8
  python -m export my.keras --int8 --labels cat,dog --calibration-data photos/

Every file explains itself: labels, input, temperature, origin and golden vectors are
inside. The int8 files are calibrated on training images; the measured ranges are kept
in the run folder, so the same files can be made again without any image.
"""


def build_parser() -> argparse.ArgumentParser:
    """Returns the command line."""
    parser = argparse.ArgumentParser(
        prog="python -m export",
        description="Exports a trained model as TFLite and ONNX files.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    add = parser.add_argument
    add("model", nargs="?", metavar="RUN", help="run or .keras file (newest run)")
    add("--int8", action="store_true", help="also full int8 TFLite and int8 QDQ ONNX")
    add("--out", type=Path, metavar="DIR", help="folder (default: artifacts/<run>)")
    add(
        "--calibration-data",
        metavar="PATH",
        help="measure the activation ranges afresh on these training images"
        " (raw pixels; folder per class, zip or CSV)",
    )
    add("--labels", metavar="A,B,...", help="class names, for a bare .keras file")
    add("--json", type=Path, metavar="FILE", help="write the parity table as JSON")
    add("--force", action="store_true", help="replace files that differ")
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Returns the exit code: 0 done, 2 the user's error."""
    options = build_parser().parse_args(argv)
    return exit_code_of(lambda: _export(options))


def _export(options: argparse.Namespace) -> int:
    os.environ["KERAS_BACKEND"] = "tensorflow"  # the converters take no other
    start_keras()
    from export import exporter

    labels = options.labels.split(",") if options.labels else None
    done = exporter.export(
        options.model,
        int8=options.int8,
        labels=labels,
        calibration_data=options.calibration_data,
        say=lambda text: print(text, flush=True),
    )
    folder = options.out or ARTIFACTS / done.name
    paths = _write(done, folder, force=options.force)
    print(_table(done, paths))
    if options.json:
        write_text(options.json, json.dumps(_document(done, paths), indent=1) + "\n")
    _say_what_next(done, paths)
    return 0


def _write(done: Export, folder: Path, *, force: bool) -> list[Path]:
    """Writes all files, or none if one would replace a different one."""
    paths = [folder / f"{done.name}{item.draft.suffix}" for item in done.items]
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
    return paths


def _table(done: Export, paths: Sequence[Path]) -> str:
    width = max(len(path.name) for path in paths)
    rows = [f"{'file':<{width}}  {'MB':>5}  {'accuracy':>8}  {'agrees':>7}  input"]
    reference = done.reference
    if reference:
        rows.append(
            f"{'Keras model (float32)':<{width}}  {'':>5}"
            f"  {reference['accuracy']:>8.2%}"
        )
    for path, item in zip(paths, done.items, strict=True):
        figures = item.figures
        answers = (
            f"{figures['accuracy']:>8.2%}  {figures['agreement']:>7.2%}"
            if figures
            else f"{'?':>8}  {'?':>7}"
        )
        size = len(item.content) / 1e6
        rows.append(f"{path.name:<{width}}  {size:>5.2f}  {answers}  {item.input}")
    if reference:
        low, high = reference["accuracy_95"]
        rows.append(
            f"{done.images}: {reference['count']:,} images; 95 % interval of the Keras"
            f" model's accuracy {low:.2%} to {high:.2%}"
        )
    else:
        rows.append("accuracy: unknown, the validation images are not here")
    return "\n".join(rows)


def _document(done: Export, paths: Sequence[Path]) -> dict[str, Any]:
    return {
        "schema": SCHEMA,
        "run": done.name,
        "images": done.images,
        "keras": done.reference,
        "files": [
            {
                "file": path.name,
                "format": item.draft.format,
                "bytes": len(item.content),
                "model_sha256": item.draft.sha256,
                "figures": item.figures,
            }
            for path, item in zip(paths, done.items, strict=True)
        ],
    }


def _say_what_next(done: Export, paths: Sequence[Path]) -> None:
    print(f"wrote {len(paths)} files to {paths[0].parent}/")
    best = next((path for path in paths if ".int8.tflite" in path.name), paths[0])
    print(f"next:  python -m edge_runtime run {best} --source 0")
    if best is not paths[0]:
        print(
            f"       python -m benchmarks accuracy {paths[0]} {best} --data {done.data}"
        )
        print(f"       python -m benchmarks latency {paths[0]} {best}")


if __name__ == "__main__":
    sys.exit(main())
