"""The tuning file beside a model: threads, library and detector width for one board.

``python -m benchmarks tune`` measures and writes it, ``run`` reads it. It counts only
where model, processor and library versions are those that were measured; otherwise it
is ignored, and that is said. What somebody typed always goes before it.
"""

from __future__ import annotations

import hashlib
import json
import os
import platform
from pathlib import Path
from typing import Any, NamedTuple

import cv2

from edge_runtime.detection.base import DETECT_WIDTH_PX
from edge_runtime.errors import ModelError
from edge_runtime.hardware.cpu import read_cpu
from edge_runtime.inference.backends import BACKENDS
from edge_runtime.utils.argparser import MOST_THREADS

SCHEMA = "fer-edge/tuning/1"

SUFFIX = ".tuning.json"

LARGEST_BYTES = 64 * 1024

WIDEST_PX = 10_000

Document = dict[str, Any]


class TuningResult(NamedTuple):
    """What is set.

    Attributes:
        threads: CPU threads of the network.
        backend: Inference library.
        detect_width: Pixels that frames are shrunk to for the detector; None where it
            was not measured.
    """

    threads: int
    backend: str
    detect_width: int | None = None


DEFAULTS = TuningResult(threads=1, backend="auto", detect_width=DETECT_WIDTH_PX)


def tuning_path(model: Path) -> Path:
    """Returns where the tuning file of a model file stands: beside it."""
    return model.with_name(model.name + SUFFIX)


def board_key(root: Path = Path("/")) -> Document:
    """Returns what a choice depends on beside the model, JSON-ready.

    Args:
        root: Where ``proc`` is found.
    """
    return {
        "cpu": read_cpu(root).name,
        "cores": os.cpu_count(),
        "python": platform.python_version(),
        "versions": {"opencv": cv2.__version__}
        | {name: found for name in BACKENDS if (found := _version(name))},
    }


def tuning_document(model: Path, choice: TuningResult, measured: Document) -> Document:
    """Returns the content of a tuning file.

    Args:
        model: The model file that was measured.
        choice: What to set.
        measured: What it is based on, for people.
    """
    return {
        "schema": SCHEMA,
        "model_sha256": _sha256(model),
        **board_key(),
        "choice": {
            "threads": choice.threads,
            "backend": choice.backend,
            "detect_width": choice.detect_width,
        },
        "measured": measured,
    }


def read_choice(model: Path) -> tuple[TuningResult | None, str]:
    """Returns what is tuned for a model on this board, and a line that says so.

    None and an empty line where there is no tuning file; None and the reason where
    there is one that does not count.

    Args:
        model: The model file.

    Raises:
        ModelError: The tuning file is damaged.
    """
    path = tuning_path(model)
    if not path.is_file():
        return None, ""
    document = _read(path)
    for key, here in {"model_sha256": _sha256(model), **board_key()}.items():
        if document.get(key) != here:
            named = key.removesuffix("_sha256").replace("versions", "library versions")
            return None, (
                f"{path.name} ignored: it is of another {named}; measure again with"
                f"  python -m benchmarks tune {model}"
            )
    return _choice(document, path), f"tuned for this board: {path.name}"


def _read(path: Path) -> Document:
    try:
        if path.stat().st_size > LARGEST_BYTES:
            raise ValueError(f"more than {LARGEST_BYTES} bytes")
        document = json.loads(path.read_text(encoding="utf-8"))
        if not isinstance(document, dict) or document.get("schema") != SCHEMA:
            raise ValueError("another schema")
    except (OSError, ValueError) as error:
        raise _damaged(path, str(error)) from error
    return document


def _choice(document: Document, path: Path) -> TuningResult:
    found = document.get("choice")
    if not isinstance(found, dict):
        raise _damaged(path, "no choice in it")
    threads, backend = found.get("threads"), found.get("backend")
    width = found.get("detect_width")
    if not isinstance(threads, int) or not _whole(threads, MOST_THREADS):
        raise _damaged(path, f"threads {threads!r}")
    if backend not in BACKENDS:
        raise _damaged(path, f"backend {backend!r}")
    if width is not None and not _whole(width, WIDEST_PX):
        raise _damaged(path, f"detect_width {width!r}")
    return TuningResult(threads, backend, width)


def _whole(value: object, most: int) -> bool:
    return type(value) is int and 1 <= value <= most  # True is an int, too


def _damaged(path: Path, why: str) -> ModelError:
    return ModelError(
        f"expected a tuning file ({SCHEMA}), cannot use {str(path)!r}: {why}; delete it"
        " or measure again with  python -m benchmarks tune"
    )


def _sha256(path: Path) -> str:
    try:
        return hashlib.sha256(path.read_bytes()).hexdigest()
    except OSError as error:
        raise ModelError(
            f"cannot read the model {str(path)!r}: {error.strerror or error}"
        ) from error


def _version(name: str) -> str:
    # Here, not at the top: it takes as long as the rest of the imports of a run.
    import importlib.metadata

    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return ""
