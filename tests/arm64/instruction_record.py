"""The record of the instructions executed by one inference, and its gate.

Counted under emulation, so the same on every machine, to one in 100,000. It is **not a
time**: caches, memory and how many instructions a core starts at once are left out. It
compares files and libraries on one core, and shows a change that a noisy machine would
hide.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.common.documents import Document, now
from benchmarks.report.instructions import HEADINGS, SCHEMA, table_cells
from edge_runtime.errors import GateError
from edge_runtime.inspection.analyzer import analyze, read_graph
from edge_runtime.model_file.container import read_model_file

ALLOWED_RISE = 0.01
MEANING = (
    "instructions executed by one inference on one thread, counted under emulation:"
    " not a time"
)
KINDS = ("dot_product", "int_multiply", "float_multiply", "half_multiply")


@dataclass(frozen=True)
class Count:
    """What one inference executes, on one core with one library.

    Attributes:
        core: As ``"cortex-a72"``.
        backend: The library's distribution name.
        version: Its version.
        counters: Instructions of each kind, as the plugin names them, and under
            ``*_macs`` the multiply-accumulates that those could do.
    """

    core: str
    backend: str
    version: str
    counters: Mapping[str, int]

    @property
    def multiplies(self) -> int:
        """Vector multiplications."""
        return sum(self.counters[kind] for kind in KINDS)

    @property
    def capacity(self) -> int:
        """Multiply-accumulates those could do: SDOT 16, FMLA 4, SMLAL 4 or 8."""
        return sum(self.counters[f"{kind}_macs"] for kind in KINDS)


def model_entry(path: Path, counts: Sequence[Count]) -> Document:
    """Returns a model's part of the record, JSON-ready.

    Args:
        path: The model file.
        counts: One for each core and library.
    """
    file = read_model_file(path)
    macs = analyze(read_graph(file)).macs
    metadata = file.document or {}
    return {
        "name": path.name,
        "sha256": hashlib.sha256(path.read_bytes()).hexdigest(),
        "bytes": file.size,
        "format": metadata.get("format", file.kind),
        "architecture": metadata.get("architecture", ""),
        "macs": macs,
        "counts": [_count_entry(count, macs) for count in counts],
    }


def _count_entry(count: Count, macs: int) -> Document:
    total = count.counters["instructions"]
    return {
        "core": count.core,
        "backend": {"name": count.backend, "version": count.version},
        "instructions": total,
        "instructions_per_mac": round(total / max(1, macs), 4),
        "multiply_share": round(count.multiplies / total, 4),
        "lanes_used": round(macs / max(1, count.capacity), 4),
        "counters": dict(count.counters),
    }


def make_document(entries: Sequence[Document], conditions: Document) -> Document:
    """Returns the record of some models.

    Args:
        entries: One for each model, see ``model_entry``.
        conditions: Emulator, userland and boards, JSON-ready.
    """
    return {
        "schema": SCHEMA,
        "created": now(),
        "meaning": MEANING,
        **conditions,
        "models": list(entries),
    }


def check_counts(
    recorded: Document, counted: Document, *, allowed_rise: float = ALLOWED_RISE
) -> None:
    """Refuses a model that executes more instructions than is on record.

    Models are matched by file name, so that a file that is exported again is compared
    with the one before it, and a new version of a library with the old one.

    Args:
        recorded: The document on record.
        counted: One made now.
        allowed_rise: As a fraction of the recorded figure.

    Raises:
        GateError: One rose by more, or is not on record.
    """
    known = {key: (model, count) for key, model, count in _rows(recorded)}
    problems = []
    for key, model, count in _rows(counted):
        if key not in known:
            problems.append(f"{_describe(key)} is not on record")
            continue
        old_model, old = known[key]
        rise = count["instructions"] / old["instructions"] - 1
        if rise > allowed_rise:
            problems.append(
                f"{_describe(key)}: {count['instructions']:,} instructions, on record"
                f" {old['instructions']:,} (+{100 * rise:.2f} %,"
                f" {_what_changed(old_model, old, model, count)})"
            )
    if problems:
        raise GateError(
            f"at most {100 * allowed_rise:g} % more instructions are allowed:"
            f" {'; '.join(problems)}. If the rise is intended, record it again"
            " (docs/background/arm64.md)"
        )


def markdown(document: Document) -> str:
    """Returns the record as a Markdown table."""
    sides = ["---", "--:", "---", *["--:"] * (len(HEADINGS) - 3)]
    lines = [HEADINGS, sides, *table_cells(document)]
    return "\n".join("| " + " | ".join(cells) + " |" for cells in lines)


_Key = tuple[str, str, str]


def _rows(document: Document) -> Iterator[tuple[_Key, Document, Document]]:
    for model in document["models"]:
        for count in model["counts"]:
            key = (model["name"], count["core"], count["backend"]["name"])
            yield key, model, count


def _describe(key: _Key) -> str:
    name, core, backend = key
    return f"{name} on {core} with {backend}"


def _what_changed(
    old_model: Document, old: Document, model: Document, count: Document
) -> str:
    before, after = old["backend"]["version"], count["backend"]["version"]
    if before != after:
        return f"version {before} then, {after} now"
    same = old_model["sha256"] == model["sha256"]
    return "the same file and version" if same else "another file"
