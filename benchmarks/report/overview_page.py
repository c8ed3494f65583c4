"""One page of everything that was measured: pictures first, then figures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

from benchmarks.accuracy import measure as accuracy
from benchmarks.common.documents import Document
from benchmarks.common.images import DRAWN_NAME
from benchmarks.latency import measure as latency
from benchmarks.pipeline import requirements as pipeline
from benchmarks.report import accuracy_page as report
from benchmarks.report import instructions
from benchmarks.report.charts import (
    histogram_svg,
    layers_svg,
    ranges_svg,
    scatter_svg,
)
from benchmarks.report.html import figure, note, page, table
from benchmarks.report.line_svg import sustained_svg
from benchmarks.report.rows import Result, Row, is_invalid, join, of_schema
from benchmarks.report.tables import HEADINGS, LEGEND, model_cells, shown_conditions
from benchmarks.roofline import measure as limit
from edge_runtime.errors import FerEdgeError

MOST_ROWS = 60
LONGEST_CELL = 60
PROJECTED = (
    "Projected from rates that others published for other networks, never measured"
    " here. A bar is a range; the red line is what the cores cannot go below."
)
LAYERS = (
    "Width is time, height the share of the measured peak: filled is useful work, the"
    " rest was waited for something else. The dashed line is the whole model. Point at"
    " a layer for its name."
)
INSTRUCTIONS = (
    "Millions executed by one inference on one thread, counted under emulation: not a"
    " time. Of these, vector multiplications; of the numbers those could multiply, the"
    " network's own. A53: Pi 3 and Zero 2 W, A72: Pi 4, A76: Pi 5."
)
DISTRIBUTIONS = "One image through the network; what is longer than p99 may be cut off."


def render_overview(results: Sequence[Result]) -> str:
    """Returns a self-contained HTML page; all text from documents is escaped.

    Args:
        results: As ``read_results`` returned them.

    Raises:
        FerEdgeError: A result lacks a key of its schema.
    """
    try:
        rows = join(results)
        parts = [
            *_summary(rows, results),
            *_scatter(rows),
            *_distributions(rows),
            *_limits(rows),
            *_sustained(results),
            *_projections(results),
            *_instructions(results),
            *_confusion(results),
            *_others(results),
            *_sources(results),
        ]
    except KeyError as error:
        raise FerEdgeError(
            f"expected complete results, got one without {error}: measure again with"
            " this version"
        ) from error
    return page("What was measured", parts)


def _summary(rows: Sequence[Row], results: Sequence[Result]) -> list[str]:
    if not rows:
        return []
    unsure = [one for one in results if is_invalid(one.document)]
    drawn = any(row.data and row.data["name"] == DRAWN_NAME for row in rows)
    return [
        note(report.DRAWN_WARNING, "warning") if drawn else "",
        *(
            note(f"{one.name}: {shown_conditions(one.document)}", "warning")
            for one in unsure
        ),
        f"<h2>All models</h2>\n<p>{LEGEND}</p>",
        table(HEADINGS, model_cells(rows)),
    ]


def _scatter(rows: Sequence[Row]) -> list[str]:
    shown = [row for row in rows if row.accuracy and 1 in row.timed]
    if len(shown) < 2:
        return []
    drawing = figure("up and to the left is better", scatter_svg(shown), "broad")
    heading = "<h2>Accuracy against latency</h2>"
    return [heading, f'<div class="panels">{drawing}</div>']


def _distributions(rows: Sequence[Row]) -> list[str]:
    figures = []
    for row in rows:
        for threads, timed in sorted(row.timed.items()):
            if "histogram" in timed:
                said = f"{row.label}, {_threads(threads)}"
                figures.append(figure(said, histogram_svg(timed, said)))
    if not figures:
        return []
    heading = f"<h2>Latency distributions</h2>\n<p>{DISTRIBUTIONS}</p>"
    return [heading, f'<div class="panels">{"".join(figures)}</div>']


def _limits(rows: Sequence[Row]) -> list[str]:
    figures = []
    for row in rows:
        for threads, one in sorted(row.limit.items()):
            said = (
                f"{row.label}, {_threads(threads)}: {one['invoke_ms']:.3f} ms,"
                f" {one['gmacs']:.0f} GMAC/s, {one['share']:.0%} of the peak"
            )
            figures.append(figure(said, layers_svg(one), "broad"))
    if not figures:
        return []
    heading = f"<h2>Share of the limit</h2>\n<p>{LAYERS}</p>"
    return [heading, f'<div class="panels">{"".join(figures)}</div>']


def _sustained(results: Sequence[Result]) -> list[str]:
    drawings = [
        figure(one.name, sustained_svg(one.document["sustained"]), "broad")
        for one in of_schema(results, latency.SCHEMA)
        if one.document.get("sustained")
    ]
    if not drawings:
        return []
    heading = "<h2>Without a pause</h2>"
    return [heading, f'<div class="panels">{"".join(drawings)}</div>']


def _projections(results: Sequence[Result]) -> list[str]:
    latest: dict[str, Document] = {}
    for one in of_schema(results, limit.SCHEMA):
        latest |= {
            m["sha256"]: m for m in one.document["models"] if m.get("projections")
        }
    if not latest:
        return []
    drawings = [
        figure(m["name"], ranges_svg(m["projections"], m["name"]))
        for m in latest.values()
    ]
    heading = f"<h2>On other boards, projected</h2>\n{note(PROJECTED)}"
    return [heading, f'<div class="panels">{"".join(drawings)}</div>']


def _instructions(results: Sequence[Result]) -> list[str]:
    cells = [
        row
        for one in of_schema(results, instructions.SCHEMA)
        for row in instructions.table_cells(one.document)
    ]
    if not cells:
        return []
    return [
        f"<h2>Instructions</h2>\n<p>{INSTRUCTIONS}</p>",
        table(instructions.HEADINGS, cells),
    ]


def _confusion(results: Sequence[Result]) -> list[str]:
    parts = []
    for one in of_schema(results, accuracy.SCHEMA):
        data = one.document["data"]
        title = f"Confusion matrices: {data['name']}, split {data['split']}"
        said = f"{data['count']:,} images. {report.MATRICES}"
        parts += [
            f"<h2>{escape(title)}</h2>\n<p>{said}</p>",
            report.matrices(one.document),
        ]
    return parts


def _others(results: Sequence[Result]) -> list[str]:
    own = (accuracy.SCHEMA, instructions.SCHEMA, latency.SCHEMA, limit.SCHEMA)
    parts = []
    for one in results:
        if one.schema not in own:
            parts.append(f"<h2>{escape(_title(one))}</h2>")
            parts += _tables_of(one.document)
    return parts


def _title(one: Result) -> str:
    kind = one.schema.removeprefix("fer-edge/").rpartition("/")[0].replace("-", " ")
    return f"{(kind or one.schema).capitalize()}: {one.name}"


def _tables_of(document: Document) -> list[str]:
    """Returns what a document of any other kind says: its facts, then its lists."""
    facts = [[k, _shown(v)] for k, v in document.items() if _is_plain(v)]
    parts = [table(["", ""], facts, "words")] if facts else []
    for key, value in document.items():
        if isinstance(value, list) and value and isinstance(value[0], dict):
            heads = list(dict.fromkeys(k for r in value for k in r if _is_plain(r[k])))
            cells = [[_shown(row.get(head)) for head in heads] for row in value]
            parts += [f"<h3>{escape(key)}</h3>", table(heads, cells[:MOST_ROWS])]
            if len(value) > MOST_ROWS:
                parts.append(f"<p>and {len(value) - MOST_ROWS:,} more</p>")
        elif isinstance(value, Mapping) and any(map(_is_plain, value.values())):
            inner = [[k, _shown(v)] for k, v in value.items() if _is_plain(v)]
            parts += [f"<h3>{escape(key)}</h3>", table(["", ""], inner, "words")]
    return parts


def _is_plain(value: Any) -> bool:
    return isinstance(value, str | int | float | bool)


def _shown(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return f"{value:,}"
    if isinstance(value, float):
        return f"{value:.4g}"
    shown = "-" if value is None else str(value)
    return shown if len(shown) <= LONGEST_CELL else shown[: LONGEST_CELL - 1] + "…"


def _sources(results: Sequence[Result]) -> list[str]:
    lines = []
    for one in results:
        created = one.document.get("created", "")
        said = f"{one.name}: {created}"
        if one.schema in (latency.SCHEMA, limit.SCHEMA, pipeline.SCHEMA):
            said += f", {shown_conditions(one.document)}"
        lines.append(escape(said))
    return ["<footer>" + "<br>\n".join(lines) + "</footer>"]


def _threads(count: int) -> str:
    return f"{count} thread" + ("s" if count > 1 else "")
