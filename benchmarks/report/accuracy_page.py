"""One HTML page from a measurement: nothing else is needed to read or keep it."""

from __future__ import annotations

from html import escape

import numpy as np
import numpy.typing as npt

from benchmarks.accuracy.gate import up_to
from benchmarks.accuracy.table import notes
from benchmarks.common.documents import Document
from benchmarks.common.images import DRAWN_NAME
from benchmarks.common.machine import describe
from benchmarks.common.text_table import letter, p_value, percent, points
from benchmarks.report.confusion_chart import (
    difference_svg,
    matrix_svg,
    reliability_svg,
)
from benchmarks.report.flip_gallery import flip_section, pictures_note
from benchmarks.report.html import figure, note, page, table
from edge_runtime.errors import FerEdgeError

MOST_IN_A_ROW = 14  # classes: wider matrices stand one below the other
DRAWN_WARNING = (
    "Drawn faces. Every image measured here was drawn by a program: the figures show"
    " that the software works and say nothing about real faces."
)
MATRICES = (
    "Rows are true classes, columns predicted ones, in percent of the row. A difference"
    " is in points of the row, from white to its own largest: purple where the answer"
    " became more frequent, orange where it became rarer."
)
CONFIDENCE = (
    "How often answers of each confidence are right, with 95 % intervals; larger dots"
    " are more images. On the dashed line confidence is honest, below it the model is"
    " too sure. The calibration error is the mean distance from the line over all"
    " images. Confidences are those a device shows: with the temperature in the file."
)
RECALL = (
    "The share of each class's images that each model recognizes, and its change in"
    " points with a 95 % interval of the paired difference."
)


def render(
    accuracy: Document,
    latency: Document | None = None,
    *,
    pixels: npt.NDArray[np.uint8] | None = None,
) -> str:
    """Returns a self-contained HTML page; all text from the documents is escaped.

    Args:
        accuracy: A document ``fer-edge/accuracy/1``.
        latency: A document ``fer-edge/latency/1``, or None.
        pixels: uint8 (N, S, S, C), the images measured, where the page shall show
            those that got another answer; they may be people's photographs.

    Raises:
        FerEdgeError: A document lacks a key of its schema.
    """
    try:
        parts = _parts(accuracy, latency, pixels)
    except KeyError as error:
        raise FerEdgeError(
            f"expected a complete result, got one without {error}: measure again with"
            " this version"
        ) from error
    return page(f"Accuracy on {accuracy['data']['name']}", parts)


def _parts(
    accuracy: Document, latency: Document | None, pixels: npt.NDArray[np.uint8] | None
) -> list[str]:
    data = accuracy["data"]
    drawn = data["name"] == DRAWN_NAME
    with_pictures = pixels is not None and any(
        one["flipped_images"] for one in accuracy["comparisons"]
    )
    return [
        note(DRAWN_WARNING, "warning") if drawn else "",
        pictures_note(accuracy, drawn=drawn) if with_pictures else "",
        *map(note, notes(accuracy)[int(drawn) :]),
        f"<p>{data['count']:,} images, split {escape(data['split'])}.</p>",
        _gate(accuracy["gate"]),
        _cards(accuracy),
        f"<h2>Confusion matrices</h2>\n<p>{MATRICES}</p>",
        matrices(accuracy),
        f"<h2>Confidence</h2>\n<p>{CONFIDENCE}</p>",
        _reliability(accuracy),
        f"<h2>Recall by class</h2>\n<p>{RECALL}</p>",
        _recall_table(accuracy),
        *(_comparison(one, pixels) for one in accuracy["comparisons"]),
        _latency(latency) if latency else "",
        _footer(accuracy),
    ]


def _cards(document: Document) -> str:
    cards = []
    for index, model in enumerate(document["models"]):
        low, high = model["accuracy_95"]
        backend = model["backend"]
        cards.append(
            f'<div class="card"><strong>{letter(index)}</strong>'
            f" {escape(model['name'])}"
            f"<b>{percent(model['accuracy'])}</b>"
            f"95 %: {low:.2%} to {high:.2%}<br>"
            f"macro-F1 {model['macro_f1']:.3f},"
            f" calibration error {model['expected_calibration_error']:.3f}<br>"
            f"{model['bytes'] / 1024:,.0f} KiB, {escape(model['format'])}<br>"
            f"{escape(backend['name'])} {escape(backend['version'])}</div>"
        )
    return '<div class="cards">' + "\n".join(cards) + "</div>"


def matrices(document: Document) -> str:
    """Returns an accuracy document's confusion matrices and what changed, HTML."""
    labels = document["labels"]
    kind = "wide" if len(labels) > MOST_IN_A_ROW else ""
    counts = {
        model["name"]: np.array(model["confusion_matrix"], np.int64)
        for model in document["models"]
    }
    figures = [
        figure(name, matrix_svg(matrix, labels, name), kind)
        for name, matrix in counts.items()
    ]
    for one in document["comparisons"]:
        name, reference = one["model"], one["reference"]
        drawing = difference_svg(counts[name], counts[reference], labels, name)
        figures.append(figure(f"{name} - {reference}", drawing, kind))
    return '<div class="panels">' + "\n".join(figures) + "</div>"


def _reliability(document: Document) -> str:
    figures = []
    for model in document["models"]:
        drawing = reliability_svg(model["reliability"], model["name"])
        caption = (
            f"{model['name']}: error {model['expected_calibration_error']:.3f},"
            f" temperature {model['temperature']:.2f}"
        )
        figures.append(figure(caption, drawing))
    return '<div class="panels">' + "\n".join(figures) + "</div>"


def _recall_table(document: Document) -> str:
    models, comparisons = document["models"], document["comparisons"]
    letters = [letter(index) for index in range(len(models))]
    headings = ["class", "images", *letters]
    for other in letters[1:]:
        headings += [f"{other} - A", "95 %"]
    totals = np.array(models[0]["confusion_matrix"]).sum(axis=1)
    rows = []
    for label, total in zip(document["labels"], totals, strict=True):
        row = [label, f"{total:,}"]
        row += [percent(model["recall"][label], 1) for model in models]
        for one in comparisons:
            bounds = one["recall_difference_points_95"][label]
            row += [points(one["recall_difference_points"][label]), _interval(bounds)]
        rows.append(row)
    return table(headings, rows)


def _interval(bounds: list[float] | None) -> str:
    return "-" if bounds is None else f"{points(bounds[0])} to {points(bounds[1])}"


def _comparison(one: Document, pixels: npt.NDArray[np.uint8] | None) -> str:
    difference = points(one["accuracy_difference_points"])
    flips = one["flips"]
    bootstrap = _interval(one["accuracy_difference_points_95_bootstrap"])
    score = _interval(one["accuracy_difference_points_95_score"])
    rows = [
        ["same answer", percent(one["agreement"])],
        ["accuracy", f"{difference} points"],
        ["95 %, the wider bounds", _interval(one["accuracy_difference_points_95"])],
        ["95 %, bootstrap", bootstrap],
        ["95 %, Tango's score interval", score],
        ["McNemar, exact", f"p = {p_value(one['mcnemar_p'])}"],
        ["right, then wrong", f"{flips['right_to_wrong']:,}"],
        ["wrong, then right", f"{flips['wrong_to_right']:,}"],
        ["wrong, then wrong otherwise", f"{flips['wrong_to_other_wrong']:,}"],
    ]
    title = f"{one['model']} against {one['reference']}"
    heads = ["", "result"]
    return (
        f"<h2>{escape(title)}</h2>\n{table(heads, rows)}\n{flip_section(one, pixels)}"
    )


def _gate(gate: Document | None) -> str:
    if gate is None:
        return ""
    found = "; ".join(
        f"{model['model']} may have lost up to"
        f" {up_to(model['drop_points_upper'])} points"
        for model in gate["models"]
    )
    verdict = "passed" if gate["passed"] else "failed"
    return note(
        f"Gate: at most {gate['max_drop_points']:.2f} points of accuracy lost, by the"
        f" 95 % bound: {verdict}. {found}.",
        "good" if gate["passed"] else "warning",
    )


def _latency(document: Document) -> str:
    rows = []
    for result in document["results"]:
        against = result["ratio_to_first"]
        ratio = f"{against['logits']['median']:.3f}" if against else "-"
        times = [f"{result['logits_ms'][key]:.3f}" for key in ("p50", "p90", "p99")]
        rows.append([result["model"], str(result["threads"]), *times, ratio])
    headings = ["model", "threads", "p50 ms", "p90 ms", "p99 ms", "time / first's"]
    fresh = [
        [one["model"], f"{one['peak_memory_mb']:.0f}", f"{one['answered_ms']:.0f}"]
        for one in document["fresh_process"]
    ]
    return (
        f"<h2>Latency</h2>\n<p>{escape(describe(document['machine']))}</p>\n"
        + table(headings, rows)
        + table(["model", "peak memory MiB", "start to first answer ms"], fresh)
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
