"""``python -m train.release``: releases the model of a finished run.

train/released/<name>/                      input of ``python -m export <name>``
    model.keras, metrics.json, history.csv, config.json,
    calibration.json, calibration_ranges.json
edge_runtime/models/<name>.int8.tflite      the file in the wheel
edge_runtime/models/released.json           the list of released models

They contain no image and no path: paths are replaced by their last part.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import re
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from edge_runtime.errors import ModelError, OutputError, RunError
from edge_runtime.model_file.container import ModelFile, read_model_file
from edge_runtime.model_file.metadata import ModelSpec
from edge_runtime.model_file.released import LIST, SCHEMA
from edge_runtime.utils.argparser import CommandLine, exit_code_of
from edge_runtime.utils.files import write_bytes, write_text
from train.options.config import arch_name
from train.run.folder import RunFolder, find_run

ROOT = Path(__file__).parents[2]
EXAMPLES = """\
examples:
  python -m train.release my-run --as ferplus --force
  python -m train.release my-run --as digits --default \\
      --labels-of "the digit that was written"
"""
LICENCE = "Apache-2.0 (code and weights)"
COPIED = (
    "model.keras",
    "metrics.json",
    "history.csv",
    "calibration.json",
    "calibration_ranges.json",
)
Document = dict[str, Any]


def build_parser() -> argparse.ArgumentParser:
    """Returns the command line."""
    parser = CommandLine(
        prog="python -m train.release",
        description="Releases the model of a finished and exported run.",
        epilog=EXAMPLES,
    )
    add = parser.add_argument
    add("run", metavar="RUN", help="name or path of the run")
    add(
        "--file",
        type=Path,
        metavar="FILE",
        help="its int8 file (default: artifacts/<run>/<run>.int8.tflite)",
    )
    add(
        "--as",
        dest="name",
        required=True,
        type=model_name,
        metavar="NAME",
        help="name of the released model, as in  edge-runtime run NAME",
    )
    add(
        "--labels-of",
        metavar="TEXT",
        help="where its labels come from, one sentence (as released before)",
    )
    add(
        "--licence",
        metavar="TEXT",
        help=f"(as released before, else {LICENCE})",
    )
    add("--default", action="store_true", help="used where no model is named")
    add("--root", type=Path, default=ROOT, metavar="DIR", help="checkout (this one)")
    add("--force", action="store_true", help="replace an earlier release")
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Returns the exit code: 0 done, 2 the user's error."""
    options = build_parser().parse_args(argv)
    return exit_code_of(lambda: _release(options))


def _release(options: argparse.Namespace) -> int:
    run = find_run(options.run)
    model = options.file or Path("artifacts", run.name, f"{run.name}.int8.tflite")
    require_finished(run)
    labels = require_exported_from(run, read_model_file(model))
    folder = options.root / "train" / "released" / options.name
    models = options.root / "edge_runtime" / "models"
    target = models / f"{options.name}.int8.tflite"
    contents = {folder / name: (run.path / name).read_bytes() for name in COPIED}
    contents[folder / "config.json"] = config_without_paths(run)
    contents[target] = model.read_bytes()
    listed = updated_list(models / LIST, options, model.read_bytes(), labels)
    _write(contents, force=options.force)
    write_text(models / LIST, json.dumps(listed, indent=1) + "\n")
    print(f"released {run.path} as {options.name}: {folder}/ and {target}")
    name = options.name
    print(f"next:  python -m export {name} --formats int8    makes the same file again")
    print(f"       python -m benchmarks accuracy {name} --data PATH")
    print(f"       python -m train.release.model_card {name}")
    return 0


def model_name(text: str) -> str:
    """Returns the name of a released model, for argparse: no path, no suffix."""
    if not re.fullmatch(r"[a-z0-9][a-z0-9_-]*", text):
        raise argparse.ArgumentTypeError(
            f"expected a name of small letters, digits, _ and -, got {text!r}"
        )
    return text


def updated_list(
    path: Path, options: argparse.Namespace, content: bytes, labels: Sequence[str]
) -> Document:
    """Returns the list of released models with this one in it, JSON-ready.

    Args:
        path: The list as it is; need not exist.
        options: Name and texts; texts that were not given are kept.
        content: The model file.
        labels: Its class names in order.

    Raises:
        RunError: It is a new model, and nothing says where its labels come from.
    """
    document: Document = {"schema": SCHEMA, "default": options.name, "models": {}}
    if path.exists():
        document = json.loads(path.read_text(encoding="utf-8"))
    before = document["models"].get(options.name, {})
    labels_of = options.labels_of or before.get("labels_of")
    if not labels_of:
        raise RunError(
            f"{options.name} is new: say where its labels come from, as in"
            ' --labels-of "the majority of ten raters"'
        )
    document["models"][options.name] = {
        "file": f"{options.name}.int8.tflite",
        "sha256": hashlib.sha256(content).hexdigest(),
        "labels": list(labels),
        "labels_of": labels_of,
        "licence": options.licence or before.get("licence", LICENCE),
    }
    if options.default:
        document["default"] = options.name
    return document


def require_finished(run: RunFolder) -> None:
    """Raises RunError unless a run has all its epochs and was exported."""
    planned = run.read_json(run.config)["config"]["epochs"]
    metrics = run.read_json(run.metrics) if run.metrics.exists() else {"epochs": 0}
    if metrics["epochs"] < planned and not metrics.get("ended_early"):
        raise RunError(
            f"{run.path} has fewer than its {planned} epochs: finish it with"
            f"  python -m train --resume {run.path}"
        )
    missing = [name for name in COPIED if not (run.path / name).is_file()]
    if missing:
        raise RunError(
            f"{run.path} has no {missing[0]}: make it with"
            f"  python -m export {run.path} --int8"
        )


def require_exported_from(run: RunFolder, file: ModelFile) -> tuple[str, ...]:
    """Returns a file's labels.

    Raises:
        ModelError: It is not the int8 export of this run.
    """
    spec = ModelSpec.from_document(file.document or {})
    ranges, metrics = run.read_json(run.ranges), run.read_json(run.metrics)
    if spec.format != "tflite-int8":
        raise ModelError(f"{file.name}: expected a tflite-int8 file, got {spec.format}")
    measured = ranges["accuracy"].get(hashlib.sha256(file.model).hexdigest())
    trained_sha256 = hashlib.sha256(run.model.read_bytes()).hexdigest()
    same_model = ranges["model_sha256"] == trained_sha256
    same_run = (
        spec.origin.get("run") == metrics["run"]
        and spec.origin.get("data") == metrics["data"]
        and spec.temperature == metrics["temperature"]
    )
    if not (same_model and same_run and measured and spec.accuracy):
        raise ModelError(
            f"{file.name} is not the export of {run.path} as it is now, measured on its"
            f" images: export it again with  python -m export {run.path} --int8 --force"
        )
    return spec.labels


def config_without_paths(run: RunFolder) -> bytes:
    """Returns the run's ``config.json`` with names instead of paths."""
    document = run.read_json(run.config)
    config = document["config"]
    for key in ("data", "start_from", "soft_labels", "labels_from", "leave_out"):
        config[key] = _bare_name(config.get(key, ""))
    config["more_data"] = [_bare_name(path) for path in config.get("more_data", [])]
    config["arch"] = arch_name(config["arch"])
    document.pop("left_out", None)  # names of files
    config["teachers"] = [_bare_name(teacher) for teacher in config.get("teachers", [])]
    return (json.dumps(document, indent=1) + "\n").encode()


def _bare_name(source: str) -> str:
    """Returns the last part of a path; for a run's model the name of the run."""
    path = Path(source)
    return path.parent.name if path.name == "model.keras" else path.name


def _write(contents: dict[Path, bytes], *, force: bool) -> None:
    """Writes all files; without `force` none if one would change."""
    differing = [
        str(path)
        for path, content in contents.items()
        if path.exists() and path.read_bytes() != content
    ]
    if differing and not force:
        raise OutputError(
            f"{differing[0]} is of another release: replace it with --force"
        )
    for path, content in contents.items():
        write_bytes(path, content)


if __name__ == "__main__":
    sys.exit(main())
