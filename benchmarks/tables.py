"""The results as text for people."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from benchmarks.images import DRAWN_NAME
from benchmarks.machine import describe
from benchmarks.models import Document

MOST_CLASSES = 14  # a wider matrix does not fit a terminal: see --picture
LONGEST_LABEL = 14
FEW_IMAGES = 200
NOISY_SPREAD = 1.5
LATENCY_TIMES = ("p50", "p90", "p99")
LATENCY_HEADINGS = (
    *("model", "load", "first", *LATENCY_TIMES),
    *("face p50", "p90", "p99", "runs", "x first model"),
)
LATENCY_LEGEND = (
    "p50, p90, p99: one image through the network; face: a 96x96 colour crop to a",
    "prediction; x first model: its p50 over that of the first (5 % to 95 % of turns)",
)


def accuracy_table(document: Document) -> str:
    """Returns an accuracy document as text."""
    parts = [
        _heading(document),
        *_notes(document),
        "",
        *_matrices(document),
        *_recalls(document),
        "",
        *_summary(document),
    ]
    for comparison in document["comparisons"]:
        parts += ["", *_comparison(comparison)]
    if document["gate"] is not None:
        parts += ["", _gate_line(document["gate"])]
    return "\n".join(parts)


def latency_table(document: Document) -> str:
    """Returns a latency document as text."""
    parts = [describe(document["machine"])]
    for threads in dict.fromkeys(one["threads"] for one in document["results"]):
        rows = [one for one in document["results"] if one["threads"] == threads]
        parts += ["", f"{threads} thread{'s' if threads > 1 else ''}, milliseconds:"]
        parts += columns(LATENCY_HEADINGS, [_latency_row(row) for row in rows])
    parts += ["", *LATENCY_LEGEND, "", "in a process of its own:", *_fresh(document)]
    noisiest = max(result["spread"] for result in document["results"])
    if noisiest > NOISY_SPREAD:
        parts += [
            "",
            f"note: a noisy machine, slow turns took {noisiest:.1f} times as long as"
            " fast ones:\ntrust the ratios, not the milliseconds",
        ]
    return "\n".join(parts)


def columns(headings: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    """Returns lines with the cells below each other, text left and figures right."""
    table = [list(headings), *map(list, rows)]
    widths = [max(map(len, column)) for column in zip(*table, strict=True)]
    lines = []
    for row in table:
        cells = [
            cell.ljust(width)
            if heading in ("model", "class", "")
            else cell.rjust(width)
            for cell, width, heading in zip(row, widths, headings, strict=True)
        ]
        lines.append("  ".join(cells).rstrip())
    return lines


def percent(value: float | None, digits: int = 2) -> str:
    """Returns a share as text in percent, a dash where there is none."""
    return "-" if value is None else f"{value:.{digits}%}"


def points(value: float | None) -> str:
    """Returns a difference in points with its sign, a dash where there is none."""
    # Rounded first: a tiny loss is no "-0.00".
    return "-" if value is None else f"{round(value, 2) + 0.0:+.2f}"


def p_value(value: float) -> str:
    """Returns a p-value as text."""
    return f"{value:.3f}" if value >= 0.001 else f"{value:.1e}"


def notes(document: Document) -> list[str]:
    """Returns what a reader of an accuracy document must know, a sentence each."""
    data = document["data"]
    found = []
    if data["name"] == DRAWN_NAME:
        found.append("These are drawn faces: they say nothing about real faces.")
    if data["whole_source"]:
        found.append(
            f"{data['name']} has no test or validation split: all its images were"
            " taken, also those the model may have learned from."
        )
    elif data["may_include_training_images"]:
        found.append("These are images of the kind the model learned from.")
    if data["may_have_chosen_a_model"]:
        found.append(
            "These images chose the checkpoint and temperature of a model measured"
            " here: its figures flatter it a little."
        )
    if data["count"] < FEW_IMAGES:
        found.append(f"Only {data['count']} images: the intervals are rough.")
    return found


def _heading(document: Document) -> str:
    data = document["data"]
    return f"{data['name']}, split {data['split']}: {data['count']:,} images"


def _notes(document: Document) -> list[str]:
    return [f"note: {note}" for note in notes(document)]


def _matrices(document: Document) -> list[str]:
    """Returns the confusion matrices, two side by side."""
    labels, models = document["labels"], document["models"]
    if len(labels) > MOST_CLASSES:
        return [f"({len(labels)} classes: see the matrices with --picture)", ""]
    lines = ["rows true, columns predicted, percent of the row", ""]
    for start in range(0, len(models), 2):
        blocks = [_matrix(model, labels) for model in models[start : start + 2]]
        width = max(map(len, blocks[0]))
        for row in zip(*blocks, strict=True):
            lines.append("    ".join(cell.ljust(width) for cell in row).rstrip())
        lines.append("")
    return lines


def _matrix(model: Document, labels: Sequence[str]) -> list[str]:
    counts = np.array(model["confusion_matrix"])
    shares = 100 * counts / np.maximum(1, counts.sum(axis=1, keepdims=True))
    width = max(len(label[:LONGEST_LABEL]) for label in labels)
    lines = [model["name"]]
    lines.append(" " * width + "".join(f"{label[:4]:>5}" for label in labels))
    for label, row in zip(labels, shares, strict=True):
        cells = "".join(f"{share:5.0f}" for share in row)
        lines.append(f"{label[:LONGEST_LABEL]:<{width}}{cells}")
    return lines


def _recalls(document: Document) -> list[str]:
    models, comparisons = document["models"], document["comparisons"]
    short = [f"recall {chr(ord('A') + i)}" for i in range(len(models))]
    changes = [f"{name[-1]} - A" for name in short[1:]]
    totals = np.array(models[0]["confusion_matrix"]).sum(axis=1)
    rows = []
    for label, total in zip(document["labels"], totals, strict=True):
        recalls = [percent(model["recall"][label], 1) for model in models]
        moved = [points(c["recall_difference_points"][label]) for c in comparisons]
        rows.append([label, f"{total:,}", *recalls, *moved])
    return columns(["class", "images", *short, *changes], rows)


def _summary(document: Document) -> list[str]:
    rows = []
    for index, model in enumerate(document["models"]):
        low, high = model["accuracy_95"]
        rows.append(
            [
                chr(ord("A") + index),
                model["name"],
                percent(model["accuracy"]),
                f"{low:.2%} to {high:.2%}",
                f"{model['macro_f1']:.4f}",
                f"{model['expected_calibration_error']:.4f}",
                f"{model['bytes'] / 1024:,.0f}",
            ]
        )
    headings = ["", "model", "accuracy", "95 %", "macro-F1", "calibration error", "KiB"]
    return columns(headings, rows)


def _comparison(comparison: Document) -> list[str]:
    difference = points(comparison["accuracy_difference_points"])
    low, high = comparison["accuracy_difference_points_95"]
    flips = comparison["flips"]
    interval = f"95 %: {points(low)} to {points(high)}"
    chance = f"McNemar p = {p_value(comparison['mcnemar_p'])}"
    return [
        f"{comparison['model']} against {comparison['reference']}:",
        f"  same answer           {percent(comparison['agreement'])}",
        f"  accuracy              {difference} points ({interval}, {chance})",
        f"  right -> wrong        {flips['right_to_wrong']:,}",
        f"  wrong -> right        {flips['wrong_to_right']:,}",
        f"  wrong -> other wrong  {flips['wrong_to_other_wrong']:,}",
    ]


def _gate_line(gate: Document) -> str:
    verdict = "passed" if gate["passed"] else "FAILED"
    return f"gate: at most {gate['max_drop_points']:.2f} points lost (95 %): {verdict}"


def _latency_row(result: Document) -> list[str]:
    logits, predict = result["logits_ms"], result["predict_ms"]
    against = result["ratio_to_first"]
    shown = "1"
    if against is not None:
        middle, low, high = (against["logits"][key] for key in ("median", "p5", "p95"))
        shown = f"{middle:.3f} ({low:.3f} to {high:.3f})"
    return [
        result["model"],
        f"{result['load_ms']:.1f}",
        f"{result['first_ms']:.2f}",
        *(f"{logits[key]:.3f}" for key in LATENCY_TIMES),
        *(f"{predict[key]:.3f}" for key in LATENCY_TIMES),
        f"{logits['runs']:,}",
        shown,
    ]


def _fresh(document: Document) -> list[str]:
    sizes = {model["name"]: model["bytes"] for model in document["models"]}
    rows = [
        [
            fresh["model"],
            f"{sizes[fresh['model']] / 1024:,.0f}",
            f"{fresh['peak_memory_mb']:.0f}",
            f"{fresh['loaded_ms']:.0f}",
            f"{fresh['answered_ms']:.0f}",
        ]
        for fresh in document["fresh_process"]
    ]
    headings = ["model", "file KiB", "peak memory MiB", "ms to loaded", "to answer"]
    return columns(headings, rows)
