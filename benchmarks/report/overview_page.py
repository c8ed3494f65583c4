"""The page of all results: one table of all models, charts, and every other result."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from benchmarks.accuracy import measure as accuracy
from benchmarks.accuracy.measure import DRAWN_NAME
from benchmarks.common.documents import Document
from benchmarks.latency import measure as latency
from benchmarks.report import instructions
from benchmarks.report.accuracy_page import confusion_charts
from benchmarks.report.charts import (
    latency_chart,
    roofline_chart,
    scatter_chart,
    sustained_chart,
)
from benchmarks.report.html import Picture, render_page
from benchmarks.report.results import (
    ModelResults,
    Result,
    collect_by_model,
    complete_documents,
    is_invalid,
    with_schema,
)
from benchmarks.report.tables import (
    HEADINGS,
    LEGEND,
    PIPELINE_SCHEMA,
    describe_conditions,
    model_cells,
)
from benchmarks.roofline import measure as roofline

MAX_ROWS = 60
MAX_CELL_LENGTH = 60

Table = tuple[str, Sequence[str], Sequence[Sequence[str]]]  # title, headings, rows


def render_overview(results: Sequence[Result]) -> str:
    """Returns a self-contained HTML page; all text from documents is escaped.

    Args:
        results: As ``read_results`` returned them.

    Raises:
        FerEdgeError: A result lacks a key of its schema.
        MissingDependencyError: jinja2 or matplotlib is not installed.
    """
    with complete_documents():
        models = collect_by_model(results)
        rooflines = [
            (_name(model, threads), row)
            for model in models
            for threads, row in sorted(model.roofline.items())
        ]
        return render_page(
            "overview.html",
            title="What was measured",
            drawn=any(m.data and m.data["name"] == DRAWN_NAME for m in models),
            warnings=[
                f"{result.name}: {describe_conditions(result.document)}"
                for result in results
                if models and is_invalid(result.document)
            ],
            legend=LEGEND,
            model_headings=HEADINGS,
            model_rows=model_cells(models),
            scatter_charts=_scatter_charts(models),
            latency_charts=[
                latency_chart(_name(model, threads), row)
                for model in models
                for threads, row in sorted(model.latency.items())
                if "histogram" in row
            ],
            rooflines=rooflines,
            roofline_charts=[roofline_chart(name, row) for name, row in rooflines],
            sustained_charts=[
                sustained_chart(result.name, result.document["sustained"])
                for result in with_schema(results, latency.SCHEMA)
                if result.document.get("sustained")
            ],
            instruction_headings=instructions.HEADINGS,
            instruction_rows=[
                row
                for result in with_schema(results, instructions.SCHEMA)
                for row in instructions.table_cells(result.document)
            ],
            confusions=[
                (result.document["data"], confusion_charts(result.document))
                for result in with_schema(results, accuracy.SCHEMA)
            ],
            others=_others(results),
            sources=[_source(result) for result in results],
        )


def _name(model: ModelResults, threads: int) -> str:
    return f"{model.label}, {threads} thread" + ("s" if threads > 1 else "")


def _scatter_charts(models: Sequence[ModelResults]) -> list[Picture]:
    points = [
        (model.label, model.latency[1]["logits_ms"]["p50"], model.accuracy)
        for model in models
        if model.accuracy and 1 in model.latency
    ]
    return [scatter_chart(points)] if len(points) > 1 else []


def _others(results: Sequence[Result]) -> list[tuple[str, list[Table]]]:
    """Returns title and tables of the results that no other part of the page shows."""
    shown = (accuracy.SCHEMA, instructions.SCHEMA, latency.SCHEMA, roofline.SCHEMA)
    others = []
    for result in results:
        if result.schema not in shown:
            kind = result.schema.removeprefix("fer-edge/").rpartition("/")[0]
            title = (kind.replace("-", " ") or result.schema).capitalize()
            others.append((f"{title}: {result.name}", _tables(result.document)))
    return others


def _tables(document: Document) -> list[Table]:
    """Returns the plain values, lists and objects of a document of any schema."""
    tables = [_facts_table("", document)]
    for key, value in document.items():
        if isinstance(value, Mapping):
            tables.append(_facts_table(key, value))
        elif isinstance(value, list) and value and isinstance(value[0], dict):
            names = [name for row in value for name in row if _is_plain(row[name])]
            headings = list(dict.fromkeys(names))
            rows = [[_cell(row.get(name)) for name in headings] for row in value]
            hidden = len(rows) - MAX_ROWS
            title = key if hidden <= 0 else f"{key} (and {hidden:,} more)"
            tables.append((title, headings, rows[:MAX_ROWS]))
    return [table for table in tables if table[2]]


def _facts_table(title: str, values: Mapping[str, Any]) -> Table:
    rows = [[key, _cell(value)] for key, value in values.items() if _is_plain(value)]
    return title, (), rows


def _is_plain(value: Any) -> bool:
    return isinstance(value, str | int | float | bool)


def _cell(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return f"{value:,}"
    if isinstance(value, float):
        return f"{value:.4g}"
    text = "-" if value is None else str(value)
    return text if len(text) <= MAX_CELL_LENGTH else text[: MAX_CELL_LENGTH - 1] + "…"


def _source(result: Result) -> str:
    text = f"{result.name}: {result.document.get('created', '')}"
    if result.schema in (latency.SCHEMA, roofline.SCHEMA, PIPELINE_SCHEMA):
        text += f", {describe_conditions(result.document)}"
    return text
