"""Result documents: what they say of models and machine, as files and as text.

They are JSON-ready. The machine is described without saying whose it is: no host name,
user name or path.
"""

from __future__ import annotations

import json
import os
import platform
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from edge_runtime import Classifier
from edge_runtime.errors import FerEdgeError, OutputError
from edge_runtime.hardware.board import (
    board_name,
    os_name,
    read_cpu,
    read_frequency,
    read_memory,
)
from edge_runtime.inference.backends import installed_version
from edge_runtime.untrusted import read_json
from edge_runtime.utils.files import write_text

Document = dict[str, Any]

MAX_RESULT_BYTES = 64 * 2**20  # confusion matrices of a thousand classes
WHEELS = (
    "numpy",
    "opencv-python",
    "opencv-python-headless",
    "ai-edge-litert",
    "tflite-runtime",
    "onnxruntime",
)
LEFT_ALIGNED = frozenset(
    {"", "model", "class", "image", "true class", "first", "then", "operator", "core"}
)


def unique_names(paths: Sequence[Path]) -> list[str]:
    """Returns the file names without folders, numbered where two are the same."""
    names: list[str] = []
    for index, path in enumerate(paths):
        same = sum(earlier.name == path.name for earlier in paths[:index])
        names.append(f"{path.name} #{same + 1}" if same else path.name)
    return names


def model_record(name: str, classifier: Classifier, threads: int) -> Document:
    """Returns the record of a model file.

    Args:
        name: Its name in the document.
        classifier: The opened file.
        threads: CPU threads it was opened with.
    """
    spec, backend = classifier.spec, classifier.backend
    return {
        "name": name,
        "sha256": classifier.file.sha256,
        "bytes": classifier.file.size,
        "format": spec.format or classifier.file.kind,
        "architecture": spec.architecture,
        "input": {"size_px": spec.size_px, "colour": spec.colour, "fit": spec.fit},
        "temperature": spec.temperature,
        "backend": {"name": backend.name, "version": backend.version},
        "threads": threads,
        "run": str(spec.origin.get("run", "")),
        "git_revision": str(spec.origin.get("git_revision", "")),
    }


def machine_card(root: Path = Path("/")) -> Document:
    """Returns the record of this machine.

    Args:
        root: Where ``proc``, ``sys`` and ``etc`` are found.

    Returns:
        model, cpu, cpu_part, architecture, cores, governor, frequency_mhz (now),
        max_frequency_mhz, memory_mb, os, python, load_average (1, 5 and 15 minutes)
        and versions of the wheels that can change a figure; empty or None where
        unknown.
    """
    cpu, frequency, memory = read_cpu(root), read_frequency(root), read_memory(root)
    return {
        "model": board_name(root),
        "cpu": cpu.name,
        "architecture": platform.machine(),
        "cores": os.cpu_count(),
        "cpu_part": cpu.part,
        "governor": frequency.governor,
        "frequency_mhz": frequency.now_mhz,
        "max_frequency_mhz": frequency.max_mhz,
        "memory_mb": memory and memory.total // 2**20,
        "os": os_name(root),
        "python": platform.python_version(),
        "load_average": load_average(),
        "versions": library_versions(),
    }


def library_versions() -> dict[str, str]:
    """Returns the versions of the installed ``WHEELS``."""
    versions = {name: installed_version(name) for name in WHEELS}
    return {name: version for name, version in versions.items() if version}


def load_average() -> list[float] | None:
    """Returns the mean of runnable processes over 1, 5 and 15 minutes, or None."""
    try:
        return [round(value, 2) for value in os.getloadavg()]
    except (OSError, AttributeError):
        return None


def describe(card: Document) -> str:
    """Returns the record of a machine as one line."""
    memory = f"{card['memory_mb'] / 1024:.1f} GiB" if card["memory_mb"] else ""
    cores = f"{card['cores']} cores" if card["cores"] else ""
    parts = [card["model"], card["architecture"], cores, memory, card["os"]]
    if card["governor"]:
        parts.append(f"governor {card['governor']}")
    return ", ".join(part for part in parts if part)


def check_writable(paths: Sequence[Path | None], *, force: bool) -> None:
    """Refuses to replace files without ``force``, before anything is measured.

    Raises:
        OutputError: One of the files exists.
    """
    for path in paths:
        if path is not None and path.exists() and not force:
            raise OutputError(
                f"expected a new file, got {str(path)!r} which exists: name another"
                " or add --force"
            )


def write_json(path: Path, document: Document) -> None:
    """Writes a document as indented JSON; NaN is refused."""
    write_text(path, json.dumps(document, indent=1, allow_nan=False) + "\n")


def save_result(document: Document, path: Path | None, *others: Path | None) -> None:
    """Writes a document as JSON if a path is given, and prints all written paths.

    Args:
        document: The result.
        path: The JSON file; None writes nothing.
        others: Files that were written before; None for one not requested.
    """
    if path is not None:
        write_json(path, document)
    say_written([path, *others])


def read_document(path: Path, schema: str) -> Document:
    """Returns the document in a JSON file.

    Raises:
        FerEdgeError: It cannot be read or has another schema.
    """
    try:
        document = read_json(path, MAX_RESULT_BYTES)
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
    """Prints the paths that were written; None stands for a file not requested."""
    written = [str(path) for path in paths if path is not None]
    if written:
        print("\nwritten: " + ", ".join(written))


def now() -> str:
    """Returns the current time in UTC to the second, ISO 8601."""
    return datetime.now(UTC).isoformat(timespec="seconds")


def columns(headings: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    """Returns the lines of a table, text aligned left and figures right."""
    table = [list(headings), *map(list, rows)]
    widths = [max(map(len, column)) for column in zip(*table, strict=True)]
    lines = []
    for row in table:
        cells = [
            cell.ljust(width) if heading in LEFT_ALIGNED else cell.rjust(width)
            for cell, width, heading in zip(row, widths, headings, strict=True)
        ]
        lines.append("  ".join(cells).rstrip())
    return lines


def clipped(text: str, width: int) -> str:
    """Returns text of at most ``width`` characters, an ellipsis for its middle.

    Similar names often differ at the end.
    """
    if len(text) <= width:
        return text
    tail = (width - 1) // 3
    return text[: width - 1 - tail] + "…" + text[len(text) - tail :]


def letter(index: int) -> str:
    """Returns the name of a model in tables: A for the first, B for the next."""
    return chr(ord("A") + index) if index < 26 else f"#{index + 1}"


def percent(value: float | None, digits: int = 2) -> str:
    """Returns a share as text in percent; a dash for None."""
    return "-" if value is None else f"{value:.{digits}%}"


def points(value: float | None) -> str:
    """Returns a difference in points with its sign; a dash for None."""
    # Rounded first: a tiny loss is not "-0.00".
    return "-" if value is None else f"{round(value, 2) + 0.0:+.2f}"


def p_value(value: float) -> str:
    """Returns a p-value as text."""
    return f"{value:.3f}" if value >= 0.001 else f"{value:.1e}"
