"""The model files of a measurement: opened through edge_runtime, and on record."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from edge_runtime import Classifier
from edge_runtime.errors import FerEdgeError, OutputError
from edge_runtime.utils.files import write_text

Document = dict[str, Any]


def open_models(
    paths: Sequence[Path],
    *,
    threads: int = 1,
    backend: str = "auto",
    labels: Sequence[str] | None = None,
) -> list[Classifier]:
    """Returns the classifiers of model files, each checked as a device would.

    Args:
        paths: ``.tflite`` or ``.onnx`` files.
        threads: CPU threads of each.
        backend: Inference library, or ``"auto"``.
        labels: Class names in order, for files without metadata.

    Raises:
        ModelError: A file is missing, damaged, altered or no such classifier.
    """
    return [
        Classifier.load(path, num_threads=threads, backend=backend, labels=labels)
        for path in paths
    ]


def unique_names(paths: Sequence[Path]) -> list[str]:
    """Returns the file names, numbered where two are the same; never a folder."""
    names: list[str] = []
    for path in paths:
        before = sum(earlier.name == path.name for earlier in paths[: len(names)])
        names.append(f"{path.name} #{before + 1}" if before else path.name)
    return names


def model_record(
    path: Path, name: str, classifier: Classifier, threads: int
) -> Document:
    """Returns what a figure must say about the file it was measured on, JSON-ready.

    Args:
        path: The file.
        name: What the document calls it.
        classifier: The file, opened.
        threads: CPU threads it was opened with.
    """
    spec, backend = classifier.spec, classifier.backend
    return {
        "name": name,
        "sha256": hashlib.sha256(path.read_bytes()).hexdigest(),
        "bytes": classifier.file.size,
        "format": spec.format or classifier.file.kind,
        "architecture": spec.architecture,
        "input": {"size_px": spec.size_px, "colour": spec.colour},
        "temperature": spec.temperature,
        "backend": {"name": backend.name, "version": backend.version},
        "threads": threads,
        "run": str(spec.origin.get("run", "")),
        "git_revision": str(spec.origin.get("git_revision", "")),
    }


def check_writable(paths: Sequence[Path | None], *, force: bool) -> None:
    """Refuses results that would replace older ones, before anything is measured.

    Raises:
        OutputError: One of the files is there and ``force`` was not given.
    """
    for path in paths:
        if path is not None and path.exists() and not force:
            raise OutputError(
                f"expected a new file, got {str(path)!r} which exists: name another"
                " or add --force"
            )


def write_json(path: Path, document: Document) -> None:
    """Writes a document as JSON for people and programs; NaN is refused."""
    write_text(path, json.dumps(document, indent=1, allow_nan=False) + "\n")


def read_document(path: Path, schema: str) -> Document:
    """Returns a result that was written as JSON.

    Raises:
        FerEdgeError: It cannot be read or is of another schema.
    """
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise FerEdgeError(
            f"expected a result of the schema {schema}, cannot read {str(path)!r}:"
            f" {error}"
        ) from error
    found = document.get("schema") if isinstance(document, dict) else None
    if found != schema:
        raise FerEdgeError(f"{path.name}: expected the schema {schema}, got {found!r}")
    checked: Document = document
    return checked


def say_written(paths: Sequence[Path | None]) -> None:
    """Prints which of the files that could be asked for were written."""
    written = [str(path) for path in paths if path is not None]
    if written:
        print("\nwritten: " + ", ".join(written))


def now() -> str:
    """Returns the time in UTC to the second, ISO 8601."""
    return datetime.now(UTC).isoformat(timespec="seconds")
