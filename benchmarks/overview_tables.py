"""The one table of all models, for a page and for a README."""

from __future__ import annotations

from collections.abc import Sequence

from benchmarks import accuracy, latency, limit
from benchmarks.machine import describe
from benchmarks.models import Document
from benchmarks.overview_rows import Result, Row, join
from benchmarks.tables import percent

HEADINGS = (
    *("model", "accuracy (95 %)", "1 thread p50 / p99 ms", "2 threads p50 / p99 ms"),
    *("of the peak", "file MB", "memory MiB", "M instructions A53 / A72 / A76"),
)
CORES = ("cortex-a53", "cortex-a72", "cortex-a76")
LEGEND = (
    "Times: one image through the network. Of the peak: the time its"
    " multiply-accumulates would take at the rate of one large convolution in the same"
    " run, of the time they took, one thread. Memory: the whole process at its highest."
    " Instructions are no time. A dash: not measured."
)


def model_cells(rows: Sequence[Row]) -> list[list[str]]:
    """Returns the cells of the table below ``HEADINGS``."""
    return [
        [
            row.label,
            _accuracy(row),
            _times(row, 1),
            _times(row, 2),
            percent(row.limit[1]["share"], 0) if 1 in row.limit else "-",
            f"{row.record['bytes'] / 1e6:.2f}",
            f"{row.fresh['peak_memory_mb']:.0f}" if row.fresh else "-",
            _instructions(row),
        ]
        for row in rows
    ]


def markdown_tables(results: Sequence[Result]) -> str:
    """Returns tables for a README, Markdown; names cannot break out of a cell."""
    parts = ["| " + " | ".join(HEADINGS) + " |", "|---" * len(HEADINGS) + "|"]
    parts += [
        "| " + " | ".join(map(_cell, cells)) + " |"
        for cells in model_cells(join(results))
    ]
    return "\n".join([*parts, "", LEGEND, "", *_sources(results)]) + "\n"


def shown_conditions(document: Document) -> str:
    """Returns on what a document was measured, and whether it is valid, one line."""
    judged = document.get("verdict")
    said = "no verdict (older version)"
    if judged is not None:
        said = (
            "VALID" if judged["valid"] else "INVALID: " + "; ".join(judged["reasons"])
        )
    return f"{describe(document['machine'])}. {said}"


def _sources(results: Sequence[Result]) -> list[str]:
    lines = []
    for one in results:
        if one.schema in (latency.SCHEMA, limit.SCHEMA):
            lines.append(f"- `{one.name}`: {_cell(shown_conditions(one.document))}")
        elif one.schema == accuracy.SCHEMA:
            data = one.document["data"]
            name = f"{_cell(data['name'])}, split {data['split']}"
            lines.append(f"- `{one.name}`: {name}, {data['count']:,} images")
    return lines


def _accuracy(row: Row) -> str:
    if row.accuracy is None:
        return "-"
    low, high = row.accuracy["accuracy_95"]
    return f"{row.accuracy['accuracy']:.2%} ({100 * low:.2f} to {100 * high:.2f})"


def _times(row: Row, threads: int) -> str:
    if threads not in row.timed:
        return "-"
    times = row.timed[threads]["logits_ms"]
    return f"{times['p50']:.3f} / {times['p99']:.3f}"


def _instructions(row: Row) -> str:
    if not row.instructions:
        return "-"
    counts = [row.instructions.get(core) for core in CORES]
    return " / ".join("-" if n is None else f"{n / 1e6:.1f}" for n in counts)


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ").replace("<", "&lt;")
