"""The one table of all models, as HTML and as Markdown."""

from __future__ import annotations

from collections.abc import Sequence

from benchmarks.accuracy import measure as accuracy
from benchmarks.common.documents import Document
from benchmarks.common.machine import describe
from benchmarks.common.text_table import percent
from benchmarks.latency import measure as latency
from benchmarks.pipeline import requirements as pipeline
from benchmarks.pipeline.requirements import requirement_cells
from benchmarks.report import instructions
from benchmarks.report.instructions import CORES
from benchmarks.report.rows import PREFERRED_LIBRARY, Result, Row, join, of_schema
from benchmarks.roofline import measure as limit

HEADINGS = (
    *("model", "accuracy (95 %)", "1 thread p50 / p99 ms", "2 threads p50 / p99 ms"),
    *("of the peak", "file MB", "memory MiB", "M instructions A53 / A72 / A76"),
)
LEGEND = (
    "Times: one image through the network. Of the peak: the time its"
    " multiply-accumulates would take at the rate of one large convolution in the same"
    " run, of the time they took, one thread. Memory: the whole process at its highest."
    f" Instructions: of one inference with {PREFERRED_LIBRARY}, counted under"
    " emulation, no time. A dash: not measured. A question mark: of a run whose own"
    " conditions speak against it, named below."
)


def model_cells(rows: Sequence[Row]) -> list[list[str]]:
    """Returns the cells of the table below ``HEADINGS``."""
    return [
        [
            _name(row),
            _accuracy(row),
            _times(row, 1),
            _times(row, 2),
            percent(row.limit[1]["share"], 0) + _mark(row, "limit")
            if 1 in row.limit
            else "-",
            f"{row.record['bytes'] / 1e6:.2f}",
            f"{row.fresh['peak_memory_mb']:.0f}{_mark(row, 'fresh')}"
            if row.fresh
            else "-",
            _instructions(row),
        ]
        for row in rows
    ]


def markdown_tables(results: Sequence[Result]) -> str:
    """Returns all tables as a Markdown page; names cannot break out of a cell."""
    parts = ["# What was measured", ""]
    parts += ["| " + " | ".join(HEADINGS) + " |", "|---" * len(HEADINGS) + "|"]
    parts += [
        "| " + " | ".join(map(_cell, cells)) + " |"
        for cells in model_cells(join(results))
    ]
    parts += ["", LEGEND, "", *_pipelines(results), *_sources(results)]
    return "\n".join(parts) + "\n"


def shown_conditions(document: Document) -> str:
    """Returns on what a document was measured, and whether it is valid, one line."""
    judged = document.get("verdict")
    said = "no verdict (older version)"
    if judged is not None:
        said = (
            "VALID" if judged["valid"] else "INVALID: " + "; ".join(judged["reasons"])
        )
    return f"{describe(document['machine'])}. {said}"


def _pipelines(results: Sequence[Result]) -> list[str]:
    """Returns the requirements of each pipeline measurement as a table."""
    lines = []
    for one in of_schema(results, pipeline.SCHEMA):
        lines += [f"From camera to label (`{one.name}`):", ""]
        lines += ["| | measured | limit | |", "|---|---|---|---|"]
        lines += [
            "| " + " | ".join(map(_cell, requirement_cells(each))) + " |"
            for each in one.document["requirements"]
        ]
        lines.append("")
    return lines


def _sources(results: Sequence[Result]) -> list[str]:
    lines = []
    for one in results:
        said = _source(one)
        if said:
            lines.append(f"- `{one.name}`: {_cell(said)}")
    return lines


def _source(one: Result) -> str:
    """Returns on what a result was measured, one line; empty for other schemas."""
    document = one.document
    if one.schema == pipeline.SCHEMA:
        return shown_conditions(document)
    if one.schema in (latency.SCHEMA, limit.SCHEMA):
        used = {f"{m['backend']['name']} {m['backend']['version']}" for m in _of(one)}
        return f"{', '.join(sorted(used))}; {shown_conditions(document)}"
    if one.schema == accuracy.SCHEMA:
        data = document["data"]
        return f"{data['name']}, split {data['split']}, {data['count']:,} images"
    if one.schema == instructions.SCHEMA:
        return ", ".join(str(document.get(key, "")) for key in ("emulator", "userland"))
    return ""


def _of(one: Result) -> list[Document]:
    return list(one.document["models"])


def _name(row: Row) -> str:
    """Returns the file's name, with the network where that does not say it."""
    network = str(row.record.get("architecture", ""))
    return row.label if network in row.label else f"{row.label} ({network})"


def _accuracy(row: Row) -> str:
    if row.accuracy is None:
        return "-"
    low, high = row.accuracy["accuracy_95"]
    return f"{row.accuracy['accuracy']:.2%} ({100 * low:.2f} to {100 * high:.2f})"


def _times(row: Row, threads: int) -> str:
    if threads not in row.timed:
        return "-"
    times = row.timed[threads]["logits_ms"]
    return f"{times['p50']:.3f} / {times['p99']:.3f}{_mark(row, threads)}"


def _mark(row: Row, part: int | str) -> str:
    return " ?" if part in row.unsure else ""


def _instructions(row: Row) -> str:
    if not row.instructions:
        return "-"
    counts = [row.instructions.get(core) for core in CORES]
    return " / ".join("-" if n is None else f"{n / 1e6:.1f}" for n in counts)


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ").replace("<", "&lt;")
