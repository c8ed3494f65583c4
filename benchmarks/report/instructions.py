"""Instructions executed by one inference: their record, its table and its gate.

Counted under emulation (``tests/arm64``), so the same on every machine, to one in
100,000. It is **not a time**: caches, memory and how many instructions a core starts at
once are left out. It compares files and libraries on one core, and shows a change that
a noisy machine would hide.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.common.documents import Document, now
from edge_runtime.errors import GateError
from edge_runtime.inspection.analyzer import analyze, read_graph
from edge_runtime.model_file.container import read_model_file

SCHEMA = "fer-edge/instructions/1"
ALLOWED_RISE = 0.01
MEANING = (
    "instructions executed by one inference on one thread, counted under emulation:"
    " not a time"
)
CORES = ("cortex-a53", "cortex-a72", "cortex-a76")
HEADINGS = (
    *("model", "MMACs", "library"),
    "M instructions A53 / A72 / A76",
    "% multiplications A53 / A72 / A76",
    "% lanes used A53 / A72 / A76",
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
    said = file.document or {}
    return {
        "name": path.name,
        "sha256": hashlib.sha256(path.read_bytes()).hexdigest(),
        "bytes": file.size,
        "format": said.get("format", file.kind),
        "architecture": said.get("architecture", ""),
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
    faults = []
    for key, model, count in _rows(counted):
        if key not in known:
            faults.append(f"{_named(key)} is not on record")
            continue
        old_model, old = known[key]
        rise = count["instructions"] / old["instructions"] - 1
        if rise > allowed_rise:
            faults.append(
                f"{_named(key)}: {count['instructions']:,} instructions, on record"
                f" {old['instructions']:,} (+{100 * rise:.2f} %,"
                f" {_what_changed(old_model, old, model, count)})"
            )
    if faults:
        raise GateError(
            f"at most {100 * allowed_rise:g} % more instructions are allowed:"
            f" {'; '.join(faults)}. If it is meant to be so, record it again"
            " (docs/background/arm64.md)"
        )


def table_cells(document: Document) -> list[list[str]]:
    """Returns the cells of the table below ``HEADINGS``: a row a model and library."""
    rows: dict[tuple[str, ...], dict[str, Document]] = {}
    for _, model, count in _rows(document):
        library = f"{count['backend']['name']} {count['backend']['version']}"
        key = (model["name"], f"{model['macs'] / 1e6:.1f}", library)
        rows.setdefault(key, {})[count["core"]] = count
    return [
        [
            *key,
            _by_core(of_core, "instructions", "{:.1f}", 1e-6),
            _by_core(of_core, "multiply_share", "{:.0f}", 100),
            _by_core(of_core, "lanes_used", "{:.0f}", 100),
        ]
        for key, of_core in rows.items()
    ]


def markdown(document: Document) -> str:
    """Returns the record as a Markdown table."""
    sides = ["---", "--:", "---", *["--:"] * (len(HEADINGS) - 3)]
    lines = [HEADINGS, sides, *table_cells(document)]
    return "\n".join("| " + " | ".join(cells) + " |" for cells in lines)


def _by_core(
    of_core: Mapping[str, Document], key: str, form: str, factor: float
) -> str:
    """Returns a figure on each core, a dash where it was not counted."""
    counts = [of_core.get(core) for core in CORES]
    cells = ["-" if one is None else form.format(factor * one[key]) for one in counts]
    return " / ".join(cells)


_Key = tuple[str, str, str]


def _rows(document: Document) -> Iterator[tuple[_Key, Document, Document]]:
    for model in document["models"]:
        for count in model["counts"]:
            key = (model["name"], count["core"], count["backend"]["name"])
            yield key, model, count


def _named(key: _Key) -> str:
    name, core, backend = key
    return f"{name} on {core} with {backend}"


def _what_changed(
    old_model: Document, old: Document, model: Document, count: Document
) -> str:
    was, is_now = old["backend"]["version"], count["backend"]["version"]
    if was != is_now:
        return f"version {was} then, {is_now} now"
    same = old_model["sha256"] == model["sha256"]
    return "the same file and version" if same else "another file"
