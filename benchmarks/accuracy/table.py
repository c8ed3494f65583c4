"""An accuracy document as text."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from benchmarks.accuracy.gate import up_to
from benchmarks.accuracy.measure import DRAWN_NAME
from benchmarks.common.documents import (
    Document,
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
    """Returns the reservations about an accuracy document, one sentence each."""
    data = document["data"]
    sentences = []
    if data["name"] == DRAWN_NAME:
        sentences.append("These are drawn faces: they say nothing about real faces.")
    if data["whole_source"]:
        sentences.append(
            f"{data['name']} has no test or validation split: all its images were"
            " taken. Where the model was trained on them, its accuracy is too high:"
            " keep images of each class apart, in a folder test/ beside train/."
        )
    elif data["may_include_training_images"]:
        sentences.append("These are images of the training split.")
    if data["may_have_chosen_a_model"]:
        sentences.append(
            "The checkpoint and temperature of a model were chosen on these images: its"
            " figures are a little too good."
        )
    if data["count"] < FEW_IMAGES:
        sentences.append(f"Only {data['count']} images: the intervals are rough.")
    return sentences


def time_line(seconds: Document) -> str:
    """Returns the durations of inference and of the rest as one line."""
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
    chosen, caption = _chosen_classes(document)
    rows = []
    for index in chosen:
        label = document["labels"][index]
        recalls = [percent(model["recall"][label], 1) for model in models]
        changes = [_recall_change(comparison, label) for comparison in comparisons]
        name = clipped(label, LONGEST_LABEL + 10)
        rows.append([name, f"{totals[index]:,}", *recalls, *changes])
    return [*caption, *columns(headings, rows)]


def _recall_change(comparison: Document, label: str) -> str:
    change = comparison["recall_difference_points"][label]
    if change is None:
        return "-"
    low, high = comparison["recall_difference_points_95"][label]
    return f"{points(change)} ({low:+.1f} to {high:+.1f})"


def _chosen_classes(document: Document) -> tuple[list[int], list[str]]:
    """Returns the indices of the classes to show, and the caption that says which."""
    labels, comparisons = document["labels"], document["comparisons"]
    if len(labels) <= MOST_CLASSES:
        return list(range(len(labels))), []
    if comparisons:
        changes = [c["recall_difference_points"] for c in comparisons]
        values = [min(change[label] or 0.0 for change in changes) for label in labels]
        which = "that lost most recall"
    else:
        recall = document["models"][0]["recall"]
        values = [2.0 if recall[label] is None else recall[label] for label in labels]
        which = "with the lowest recall"
    order = sorted(range(len(labels)), key=values.__getitem__)[:SHOWN_CLASSES]
    caption = f"the {SHOWN_CLASSES} classes of {len(labels)} {which} (all: --json):"
    return order, [caption, ""]


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
        f"  same prediction       {percent(comparison['agreement'])}",
        f"  accuracy              {difference} points ({interval}, {chance})",
        f"  right -> wrong        {flips['right_to_wrong']:,}",
        f"  wrong -> right        {flips['wrong_to_right']:,}",
        f"  wrong -> other wrong  {flips['wrong_to_other_wrong']:,}",
    ]


def _flips(comparison: Document) -> list[str]:
    """Returns the worst flipped images, with both margins in points."""
    flipped = comparison["flipped_images"]
    if not flipped:
        return []
    shown = flipped[:SHOWN_FLIPS]
    rows = [
        [
            f"  {image['index']}",
            _tail(image["name"], LONGEST_NAME),
            clipped(image["label"], LONGEST_LABEL),
            f"{clipped(image['reference_answer'], LONGEST_LABEL)}"
            f" by {100 * image['reference_margin']:.0f}",
            f"{clipped(image['answer'], LONGEST_LABEL)} by {100 * image['margin']:.0f}",
        ]
        for image in shown
    ]
    where_all = "" if len(shown) == len(flipped) else ", all with --json"
    return [
        "",
        f"  flipped images, the worst first ({len(shown)} of {len(flipped):,}"
        f"{where_all}),",
        "  by: points of probability between the prediction and the next class",
        *columns(["  index", "image", "true class", "first", "then"], rows),
    ]


def _tail(text: str, width: int) -> str:
    """Returns the end of a long image name: names often begin alike."""
    return text if len(text) <= width else "…" + text[-(width - 1) :]


def _gate(gate: Document) -> list[str]:
    outcome = "passed" if gate["passed"] else "FAILED"
    allowed = gate["max_drop_points"]
    lines = [f"gate: at most {allowed:.2f} points lost, by the 95 % bound: {outcome}"]
    for model in gate["models"]:
        remark = "" if model["passed"] else ": too much"
        bound = up_to(model["drop_points_upper"])
        lines.append(f"  {model['model']} may have lost up to {bound} points{remark}")
    return lines
