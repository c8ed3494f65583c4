"""An accuracy document as text for people."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from benchmarks.accuracy.gate import up_to
from benchmarks.common.documents import Document
from benchmarks.common.images import DRAWN_NAME
from benchmarks.common.text_table import (
    clipped,
    columns,
    letter,
    p_value,
    percent,
    points,
)

MOST_CLASSES = 14  # a wider matrix does not fit a terminal: see --picture
SHOWN_CLASSES = 10  # of more than that
LONGEST_LABEL = 14
LONGEST_NAME = 36
FEW_IMAGES = 200
SHOWN_FLIPS = 10


def accuracy_table(document: Document) -> str:
    """Returns an accuracy document as text."""
    parts = [
        _heading(document),
        *(f"note: {note}" for note in notes(document)),
        "",
        *_matrices(document),
        *_recalls(document),
        "",
        *_summary(document),
    ]
    for comparison in document["comparisons"]:
        parts += ["", *_comparison(comparison), *_flips(comparison)]
    if document["gate"] is not None:
        parts += ["", *_gate(document["gate"])]
    return "\n".join(parts)


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


def time_line(seconds: Document) -> str:
    """Returns where the time went, as one line of text."""
    inference, other = seconds["inference"], seconds["other"]
    return (
        f"time: {inference:.1f} s inference, {other:.1f} s for the rest"
        f" (+{other / inference:.0%}), {seconds['reading_images']:.1f} s reading images"
    )


def _heading(document: Document) -> str:
    data = document["data"]
    return f"{data['name']}, split {data['split']}: {data['count']:,} images"


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
    shown = [clipped(label, LONGEST_LABEL) for label in labels]
    width = max(map(len, shown))
    lines = [model["name"]]
    lines.append(" " * width + "".join(f"{label[:4]:>5}" for label in labels))
    for label, row in zip(shown, shares, strict=True):
        lines.append(f"{label:<{width}}" + "".join(f"{share:5.0f}" for share in row))
    return lines


def _recalls(document: Document) -> list[str]:
    models, comparisons = document["models"], document["comparisons"]
    letters = [letter(index) for index in range(len(models))]
    headings = ["class", "images", *(f"recall {letter}" for letter in letters)]
    headings += [f"{letter} - A (95 %)" for letter in letters[1:]]
    totals = np.array(models[0]["confusion_matrix"]).sum(axis=1)
    chosen, said = _chosen_classes(document)
    rows = []
    for index in chosen:
        label = document["labels"][index]
        recalls = [percent(model["recall"][label], 1) for model in models]
        changes = [_recall_change(comparison, label) for comparison in comparisons]
        name = clipped(label, LONGEST_LABEL + 10)
        rows.append([name, f"{totals[index]:,}", *recalls, *changes])
    return [*said, *columns(headings, rows)]


def _recall_change(comparison: Document, label: str) -> str:
    change = comparison["recall_difference_points"][label]
    if change is None:
        return "-"
    low, high = comparison["recall_difference_points_95"][label]
    return f"{points(change)} ({low:+.1f} to {high:+.1f})"


def _chosen_classes(document: Document) -> tuple[list[int], list[str]]:
    """Returns the classes to show, and the line that says which they are."""
    labels, comparisons = document["labels"], document["comparisons"]
    if len(labels) <= MOST_CLASSES:
        return list(range(len(labels))), []
    if comparisons:
        changes = [c["recall_difference_points"] for c in comparisons]
        values = [min(one[label] or 0.0 for one in changes) for label in labels]
        which = "that lost most recall"
    else:
        recall = document["models"][0]["recall"]
        values = [2.0 if recall[one] is None else recall[one] for one in labels]
        which = "with the lowest recall"
    order = sorted(range(len(labels)), key=values.__getitem__)[:SHOWN_CLASSES]
    said = f"the {SHOWN_CLASSES} classes of {len(labels)} {which} (all: --json):"
    return order, [said, ""]


def _summary(document: Document) -> list[str]:
    rows = []
    for index, model in enumerate(document["models"]):
        low, high = model["accuracy_95"]
        rows.append(
            [
                letter(index),
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


def _flips(comparison: Document) -> list[str]:
    """Returns the worst flipped images, with the lead of each answer in points."""
    flipped = comparison["flipped_images"]
    if not flipped:
        return []
    shown = flipped[:SHOWN_FLIPS]
    rows = [
        [
            f"  {one['index']}",
            _tail(one["name"], LONGEST_NAME),
            clipped(one["label"], LONGEST_LABEL),
            f"{clipped(one['reference_answer'], LONGEST_LABEL)}"
            f" by {100 * one['reference_margin']:.0f}",
            f"{clipped(one['answer'], LONGEST_LABEL)} by {100 * one['margin']:.0f}",
        ]
        for one in shown
    ]
    all_of_them = "" if len(shown) == len(flipped) else ", all with --json"
    return [
        "",
        f"  flipped images, the worst first ({len(shown)} of {len(flipped):,}"
        f"{all_of_them}),",
        "  by: how many points more probable the answer is than the next class",
        *columns(["  index", "image", "true class", "first", "then"], rows),
    ]


def _tail(text: str, width: int) -> str:
    """Returns the end of a long image name: its beginning is what all share."""
    return text if len(text) <= width else "…" + text[-(width - 1) :]


def _gate(gate: Document) -> list[str]:
    verdict = "passed" if gate["passed"] else "FAILED"
    allowed = gate["max_drop_points"]
    lines = [f"gate: at most {allowed:.2f} points lost, by the 95 % bound: {verdict}"]
    for model in gate["models"]:
        said = "" if model["passed"] else ": too much"
        bound = up_to(model["drop_points_upper"])
        lines.append(f"  {model['model']} may have lost up to {bound} points{said}")
    return lines
