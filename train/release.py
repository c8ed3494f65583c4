"""``python -m train.release``: makes a finished run the released model.

train/released/                 what ``python -m export`` rebuilds the int8 file from
    model.keras, metrics.json, history.csv, config.json,
    calibration.json, calibration_ranges.json
edge_runtime/models/<name>.int8.tflite      the file in the wheel

No image and no path is among them: where the run had paths, names stay.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from edge_runtime.errors import ModelError, OutputError, RunError
from edge_runtime.model_file.container import ModelFile, read_model_file
from edge_runtime.model_file.metadata import ModelSpec
from edge_runtime.utils.argparser import CommandLine, exit_code_of
from edge_runtime.utils.files import write_bytes
from train.run.folder import RunFolder, find_run

ROOT = Path(__file__).parent.parent
EXAMPLES = """\
examples:
  python -m train.release my-run
  python -m train.release my-run --file artifacts/my-run/my-run.int8.tflite --force
  python -m train.release my-run --name digits           beside the released one
"""
DEFAULT_NAME = "fer"
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
        description="Makes a finished and exported run the released model.",
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
        "--name",
        default=DEFAULT_NAME,
        help=f"what the file is called ({DEFAULT_NAME}); any other name is released"
        " beside it, in train/released/<name>/",
    )
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
    require_exported_from(run, read_model_file(model))
    folder = released_folder(options.root, options.name)
    target = options.root / "edge_runtime" / "models" / f"{options.name}.int8.tflite"
    contents = {folder / name: (run.path / name).read_bytes() for name in COPIED}
    contents[folder / "config.json"] = config_without_paths(run)
    contents[target] = model.read_bytes()
    _write(contents, force=options.force)
    print(f"released {run.path}: {folder}/ and {target}")
    print(f"next:  python -m export {folder} --int8    makes the same file again")
    return 0


def released_folder(root: Path, name: str) -> Path:
    """Returns where a release's run folder lies in a checkout."""
    folder = root / "train" / "released"
    return folder if name == DEFAULT_NAME else folder / name


def require_finished(run: RunFolder) -> None:
    """Raises RunError unless a run has had all its epochs and was exported."""
    planned = run.read_json(run.config)["config"]["epochs"]
    if not run.metrics.exists() or run.read_json(run.metrics)["epochs"] < planned:
        raise RunError(
            f"{run.path} has not had its {planned} epochs: finish it with"
            f"  python -m train --resume {run.path}"
        )
    missing = [name for name in COPIED if not (run.path / name).is_file()]
    if missing:
        raise RunError(
            f"{run.path} has no {missing[0]}: make it with"
            f"  python -m export {run.path} --int8"
        )


def require_exported_from(run: RunFolder, file: ModelFile) -> None:
    """Raises ModelError unless a file is the full int8 export of this very run."""
    spec = ModelSpec.from_document(file.document or {})
    ranges, metrics = run.read_json(run.ranges), run.read_json(run.metrics)
    if spec.format != "tflite-int8":
        raise ModelError(f"{file.name}: expected a tflite-int8 file, got {spec.format}")
    measured = ranges["accuracy"].get(hashlib.sha256(file.model).hexdigest())
    same_model = ranges["model_sha256"] == _sha256(run.model)
    same_run = (
        spec.origin.get("run") == metrics["run"]
        and spec.origin.get("data") == metrics["data"]
        and spec.temperature == metrics["temperature"]
    )
    if not (same_model and same_run and measured and spec.accuracy):
        raise ModelError(
            f"{file.name} is not what {run.path} gives now, measured on its images:"
            f" make it again with  python -m export {run.path} --int8 --force"
        )


def config_without_paths(run: RunFolder) -> bytes:
    """Returns the run's ``config.json`` with names in the place of paths."""
    document = run.read_json(run.config)
    config = document["config"]
    for key in ("data", "start_from", "soft_labels"):
        config[key] = _bare(config.get(key, ""))
    config["teachers"] = [_bare(teacher) for teacher in config.get("teachers", [])]
    return (json.dumps(document, indent=1) + "\n").encode()


def _bare(source: str) -> str:
    """Returns the last part of a path; that of the run for a run's model."""
    path = Path(source)
    return path.parent.name if path.name == "model.keras" else path.name


def _sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _write(contents: dict[Path, bytes], *, force: bool) -> None:
    """Writes all files, or none if one would replace a different one."""
    differing = [
        str(path)
        for path, content in contents.items()
        if path.exists() and path.read_bytes() != content
    ]
    if differing and not force:
        raise OutputError(
            f"another release is here already ({differing[0]}): replace it with --force"
        )
    for path, content in contents.items():
        write_bytes(path, content)


if __name__ == "__main__":
    sys.exit(main())
