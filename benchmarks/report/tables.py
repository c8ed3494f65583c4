"""The table of all models, and all tables as a Markdown page."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from benchmarks.accuracy import measure as accuracy
from benchmarks.common.documents import Document, describe, percent
from benchmarks.latency import measure as latency
from benchmarks.report import instructions
from benchmarks.report.results import (
    PREFERRED_LIBRARY,
    ModelResults,
    Result,
    collect_by_model,
    with_schema,
)
from benchmarks.roofline import measure as roofline

# The record of the project's own requirements: ``make bench`` writes it.
PIPELINE_SCHEMA = "fer-edge/pipeline/1"
UNITS = {"x": "{:.2f} x", "share": "{:.1%}", "MiB": "{:.0f} MiB"}
HEADINGS = (
    *("model", "accuracy (95 %)", "images"),
    *("1 thread p50 / p99 ms", "2 threads p50 / p99 ms"),
    *("of the peak", "file MB", "memory MiB", "M instructions A53 / A72 / A76"),
)
LEGEND = (
    "Accuracies on different images, or with labels of another file (after the +), do"
    " not compare. Times: one image through the network. Of the peak: the time that its"
    " multiply-accumulates would take at the rate of one large convolution in the same"
    " run, divided by the time they took, on one thread. Memory: the peak of the whole"
    f" process. Instructions: of one inference with {PREFERRED_LIBRARY}, counted under"
    " emulation; not a time. A dash: not measured. A question mark: the measurement"
    " found its own conditions unfit (INVALID)."
)


def model_cells(models: Sequence[ModelResults]) -> list[list[str]]:
    """Returns the cells of the table below ``HEADINGS``."""
    return [
        [
            _name(model),
            _accuracy(model),
            f"{model.data['count']:,} of {model.data['name']}" if model.data else "-",
            _times(model, 1),
            _times(model, 2),
            _peak_share(model),
            f"{model.record['bytes'] / 1e6:.2f}",
            _memory(model),
            _instructions(model),
        ]
        for model in models
    ]


def markdown_tables(results: Sequence[Result]) -> str:
    """Returns all tables as a Markdown page; names cannot break out of a cell."""
    models = collect_by_model(results)
    lines = ["# What was measured", "", *_table(HEADINGS, model_cells(models))]
    lines += ["", LEGEND, ""]
    for result in with_schema(results, PIPELINE_SCHEMA):
        requirements = result.document["requirements"]
        lines += [f"From camera to label (`{result.name}`):", ""]
        lines += _table(
            ("", "measured", "limit", ""), map(requirement_cells, requirements)
        )
        lines.append("")
    lines += [
        f"- `{result.name}`: {_cell(source)}"
        for result in results
        if (source := _source(result))
    ]
    return "\n".join(lines) + "\n"


def describe_conditions(document: Document) -> str:
    """Returns the machine of a measurement, and whether it is valid, in one line."""
    verdict = document.get("verdict")
    if verdict is None:
        validity = "no verdict (older version)"
    elif verdict["valid"]:
        validity = "VALID"
    else:
        validity = "INVALID: " + "; ".join(verdict["reasons"])
    return f"{describe(document['machine'])}. {validity}"


def _table(headings: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    lines = ["| " + " | ".join(headings) + " |", "|---" * len(headings) + "|"]
    return lines + ["| " + " | ".join(map(_cell, row)) + " |" for row in rows]


def _source(result: Result) -> str:
    """Returns what a result was measured on, in one line; empty for other schemas."""
    document = result.document
    if result.schema == PIPELINE_SCHEMA:
        return describe_conditions(document)
    if result.schema in (latency.SCHEMA, roofline.SCHEMA):
        backends = [model["backend"] for model in document["models"]]
        libraries = {f"{backend['name']} {backend['version']}" for backend in backends}
        return f"{', '.join(sorted(libraries))}; {describe_conditions(document)}"
    if result.schema == accuracy.SCHEMA:
        data = document["data"]
        return f"{data['name']}, split {data['split']}, {data['count']:,} images"
    if result.schema == instructions.SCHEMA:
        return ", ".join(str(document.get(key, "")) for key in ("emulator", "userland"))
    return ""


def _name(model: ModelResults) -> str:
    """Returns the file's name, with the network where that does not say it."""
    network = str(model.record.get("architecture", ""))
    return model.label if network in model.label else f"{model.label} ({network})"


def _accuracy(model: ModelResults) -> str:
    if model.accuracy is None:
        return "-"
    low, high = model.accuracy["accuracy_95"]
    return f"{model.accuracy['accuracy']:.2%} ({100 * low:.2f} to {100 * high:.2f})"


def _times(model: ModelResults, threads: int) -> str:
    if threads not in model.latency:
        return "-"
    times = model.latency[threads]["logits_ms"]
    return f"{times['p50']:.3f} / {times['p99']:.3f}{_mark(model, threads)}"


def _peak_share(model: ModelResults) -> str:
    if 1 not in model.roofline:
        return "-"
    return percent(model.roofline[1]["share"], 0) + _mark(model, "roofline")


def _memory(model: ModelResults) -> str:
    if model.memory is None:
        return "-"
    return f"{model.memory['peak_memory_mb']:.0f}{_mark(model, 'memory')}"


def _mark(model: ModelResults, part: int | str) -> str:
    return " ?" if part in model.invalid else ""


def _instructions(model: ModelResults) -> str:
    if not model.instructions:
        return "-"
    counts = [model.instructions.get(core) for core in instructions.CORES]
    return " / ".join("-" if n is None else f"{n / 1e6:.1f}" for n in counts)


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ").replace("<", "&lt;")


def requirement_cells(requirement: Document) -> list[str]:
    """Returns a requirement: name, figure, limit, whether it was met.

    The last two are empty where there is no limit.
    """
    value = UNITS[requirement["unit"]].format(requirement["value"])
    if requirement["limit"] is None:
        return [requirement["name"], value, "", ""]
    limit = UNITS[requirement["unit"]].format(requirement["limit"])
    sign = ">=" if requirement["at_least"] else "<="
    met = "met" if requirement["met"] else "MISSED"
    return [requirement["name"], value, f"{sign} {limit}", met]
