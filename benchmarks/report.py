"""One HTML page from a measurement: nothing else is needed to read or keep it."""

from __future__ import annotations

import base64
import json
import tempfile
from collections.abc import Sequence
from html import escape
from pathlib import Path
from string import Template

import numpy as np

from benchmarks.images import DRAWN_NAME
from benchmarks.machine import describe
from benchmarks.models import Document
from benchmarks.tables import notes, p_value, percent, points
from edge_runtime.errors import FerEdgeError
from train.plots import plot_confusion_matrices

PAGE = Template("""\
<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>$title</title>
<style>
:root { color-scheme: light; }
body { font: 16px/1.5 system-ui, sans-serif; color: #1c2733; background: #fff;
  max-width: 64rem; margin: 0 auto; padding: 1rem; }
h1 { font-size: 1.6rem; line-height: 1.2; margin: .5rem 0; }
h2 { font-size: 1.2rem; margin: 2rem 0 .5rem; }
.note { background: #fff4d6; border-left: 4px solid #c98a00; padding: .6rem .8rem; }
.warning { background: #fde4e1; border-color: #b3261e; font-weight: 600; }
.cards { display: flex; flex-wrap: wrap; gap: .8rem; }
.card { flex: 1 1 14rem; border: 1px solid #cfd8e0; border-radius: .5rem;
  padding: .8rem; overflow-wrap: anywhere; }
.card b { display: block; font-size: 1.9rem; line-height: 1.3; }
.pictures { display: flex; flex-wrap: wrap; gap: .8rem; align-items: flex-start; }
.pictures img { flex: 1 1 20rem; min-width: 0; max-width: min(100%, 32rem);
  height: auto; }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; }
th, td { padding: .3rem .7rem; border-bottom: 1px solid #dde3e8; text-align: right; }
th:first-child, td:first-child { text-align: left; }
footer { margin-top: 2rem; color: #51606d; font-size: .85rem;
  overflow-wrap: anywhere; }
</style>
</head>
<body>
<h1>$title</h1>
$body
</body>
</html>
""")
DRAWN_WARNING = (
    "Drawn faces. Every image measured here was drawn by a program: the figures show"
    " that the software works and say nothing about real faces."
)


def render(accuracy: Document, latency: Document | None = None) -> str:
    """Returns a self-contained HTML page; all text from the documents is escaped.

    Args:
        accuracy: A document ``fer-edge/accuracy/1``.
        latency: A document ``fer-edge/latency/1``, or None.

    Raises:
        MissingDependencyError: matplotlib is not installed.
    """
    data = accuracy["data"]
    title = f"Accuracy on {data['name']}"
    parts = [
        _notes(accuracy),
        f"<p>{data['count']:,} images, split {escape(data['split'])}.</p>",
        _cards(accuracy),
        "<h2>Confusion matrices</h2>",
        "<p>Rows are true classes, columns predicted ones, as shares of the row.</p>",
        _pictures(accuracy),
        "<h2>Recall by class</h2>",
        _recall_table(accuracy),
        *map(_comparison, accuracy["comparisons"]),
        _gate(accuracy["gate"]),
        _latency(latency) if latency else "",
        _footer(accuracy),
    ]
    body = "\n".join(part for part in parts if part)
    return PAGE.substitute(title=escape(title), body=body)


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


def _notes(document: Document) -> str:
    drawn = document["data"]["name"] == DRAWN_NAME
    lines = [f'<p class="note warning">{escape(DRAWN_WARNING)}</p>'] if drawn else []
    for note in notes(document)[len(lines) :]:
        lines.append(f'<p class="note">{escape(note)}</p>')
    return "\n".join(lines)


def _cards(document: Document) -> str:
    cards = []
    for model in document["models"]:
        low, high = model["accuracy_95"]
        backend = model["backend"]
        cards.append(
            f'<div class="card">{escape(model["name"])}'
            f"<b>{percent(model['accuracy'])}</b>"
            f"95 %: {low:.2%} to {high:.2%}<br>"
            f"macro-F1 {model['macro_f1']:.3f},"
            f" calibration error {model['expected_calibration_error']:.3f}<br>"
            f"{model['bytes'] / 1024:,.0f} KiB, {escape(model['format'])}<br>"
            f"{escape(backend['name'])} {escape(backend['version'])}</div>"
        )
    return '<div class="cards">' + "\n".join(cards) + "</div>"


def _pictures(document: Document) -> str:
    images = []
    for model in document["models"]:
        data = base64.b64encode(_png(model, document["labels"])).decode("ascii")
        images.append(
            f'<img src="data:image/png;base64,{data}"'
            f' alt="Confusion matrix of {escape(model["name"])}">'
        )
    return '<div class="pictures">' + "\n".join(images) + "</div>"


def _png(model: Document, labels: Sequence[str]) -> bytes:
    matrix = np.array(model["confusion_matrix"], dtype=np.int64)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "matrix.png"
        plot_confusion_matrices({model["name"]: matrix}, labels, path)
        return path.read_bytes()


def _recall_table(document: Document) -> str:
    models, comparisons = document["models"], document["comparisons"]
    headings = ["class", "images", *(model["name"] for model in models)]
    headings += [f"{c['model']}, change in points" for c in comparisons]
    totals = np.array(models[0]["confusion_matrix"]).sum(axis=1)
    rows = []
    for label, total in zip(document["labels"], totals, strict=True):
        recalls = [percent(model["recall"][label], 1) for model in models]
        moved = [points(c["recall_difference_points"][label]) for c in comparisons]
        rows.append([label, f"{total:,}", *recalls, *moved])
    return _table(headings, rows)


def _comparison(comparison: Document) -> str:
    difference = points(comparison["accuracy_difference_points"])
    low, high = comparison["accuracy_difference_points_95"]
    flips = comparison["flips"]
    rows = [
        ["same answer", percent(comparison["agreement"])],
        [
            "accuracy",
            f"{difference} points (95 %: {points(low)} to {points(high)})",
        ],
        ["McNemar, exact", f"p = {p_value(comparison['mcnemar_p'])}"],
        ["right, then wrong", f"{flips['right_to_wrong']:,}"],
        ["wrong, then right", f"{flips['wrong_to_right']:,}"],
        ["wrong, then wrong otherwise", f"{flips['wrong_to_other_wrong']:,}"],
    ]
    title = f"{comparison['model']} against {comparison['reference']}"
    heads = ["second model against the first", "result"]
    return f"<h2>{escape(title)}</h2>\n" + _table(heads, rows)


def _gate(gate: Document | None) -> str:
    if gate is None:
        return ""
    verdict = "passed" if gate["passed"] else "failed"
    kind = "note" if gate["passed"] else "note warning"
    return (
        f'<p class="{kind}">Gate: at most {gate["max_drop_points"]:.2f} points of'
        f" accuracy lost, by the 95 % bound: {verdict}.</p>"
    )


def _latency(document: Document) -> str:
    rows = []
    for result in document["results"]:
        against = result["ratio_to_first"]
        ratio = f"{against['logits']['median']:.3f}" if against else "-"
        rows.append(
            [
                result["model"],
                str(result["threads"]),
                *(f"{result['logits_ms'][key]:.3f}" for key in ("p50", "p90", "p99")),
                ratio,
            ]
        )
    headings = ["model", "threads", "p50 ms", "p90 ms", "p99 ms", "time / first's"]
    fresh = [
        [one["model"], f"{one['peak_memory_mb']:.0f}", f"{one['answered_ms']:.0f}"]
        for one in document["fresh_process"]
    ]
    return (
        f"<h2>Latency</h2>\n<p>{escape(describe(document['machine']))}</p>\n"
        + _table(headings, rows)
        + _table(["model", "peak memory MiB", "start to first answer ms"], fresh)
    )


def _footer(document: Document) -> str:
    lines = [
        f"Measured {document['created']} on {describe(document['machine'])}.",
        f"Images: fingerprint {document['data']['fingerprint']}.",
    ]
    for model in document["models"]:
        revision = model["git_revision"] or "unknown"
        lines.append(
            f"{model['name']}: sha256 {model['sha256']}, exporter revision {revision}."
        )
    return "<footer>" + "<br>\n".join(map(escape, lines)) + "</footer>"


def _table(headings: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    head = "".join(f"<th>{escape(text)}</th>" for text in headings)
    body = "\n".join(
        "<tr>" + "".join(f"<td>{escape(text)}</td>" for text in row) + "</tr>"
        for row in rows
    )
    return (
        '<div class="scroll"><table>\n'
        f"<thead><tr>{head}</tr></thead>\n<tbody>\n{body}\n</tbody></table></div>"
    )
