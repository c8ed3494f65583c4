"""The document of an export as tables for a terminal."""

from __future__ import annotations

from collections.abc import Sequence

from edge_runtime.utils.text_table import align
from export.analysis.debugger import EXACT_DB, IDEAL_ERROR_STEPS
from export.calibration.audit import CENTRAL_SHARE
from export.report.document import Document

SHOWN_LAYERS = 12
FIGURE_HEADINGS = ("accuracy", "95 % interval", "agrees", "logits")
LAYER_HEADINGS = ("answer dB", "own dB", "error/step", "whole dB", "lost")


def files_table(document: Document) -> str:
    """Returns the table of the files: one row each, and what the figures mean."""
    files, reference = document["files"], document["keras"]
    cells = [["file", "MB", *FIGURE_HEADINGS, "p50 ms", "int8"]]
    if reference:
        cells.append(["Keras model (float32)", "", *_accuracy(reference), *[""] * 4])
    for file in files:
        cost = f"{file['latency_ms']:.3f}", f"{file['int8_share']:.0%}"
        size = f"{file['bytes'] / 1e6:.2f}"
        cells.append([file["file"], size, *_figures(file["figures"]), *cost])
    inputs = ["input", *[""] * bool(reference), *[file["input"] for file in files]]
    lines = align(cells, left=1).splitlines()
    rows = [
        f"{line}  {what}".rstrip() for line, what in zip(lines, inputs, strict=True)
    ]
    if reference:
        rows.append(f"{document['images']}: {reference['count']:,} images")
    else:
        rows.append("accuracy: unknown, the validation images are not here")
    rows.append(
        "agrees: same answer as the Keras model; logits: largest difference from it;"
        " p50: one image, one thread, here; int8: share of the MACs"
    )
    if any(file["diagnostic"] for file in files):
        rows.append("int16x8 is diagnostic: slow reference kernels, not for a device")
    return "\n".join(rows)


def audit_lines(document: Document) -> list[str]:
    """Returns the calibration audit and the spread over seeds, as far as measured."""
    lines = describe_audit(document["audit"]) if document["audit"] else []
    spread = document["spread"]
    if spread:
        lines.append(
            f"int8 accuracy over {len(spread['seeds'])} calibration seeds: mean"
            f" {spread['mean']:.2%}, sd {100 * spread['sd']:.2f} points,"
            f" {spread['min']:.2%} to {spread['max']:.2%}"
        )
    return lines


def describe_audit(audit: Document) -> list[str]:
    """Returns a calibration audit as lines of text."""
    images, tensors = audit["images"], audit["tensors"]
    if images is None:
        lines = ["calibration: ranges are as recorded, no image was read"]
    elif not images["class_counts"]:
        lines = [
            f"calibration: {images['count']} pictures of {images['source']} without"
            " class folders: for the ranges, not for the accuracy"
        ]
    else:
        counts = images["class_counts"].values()
        low, high = min(counts), max(counts)
        lines = [
            f"calibration: {images['count']} training images of {images['source']},"
            f" {low if low == high else f'{low} to {high}'} of each class; none of them"
            f" is among {images['compared_with']:,} evaluation images"
        ]
    if tensors is None:
        return [*lines, "saturation: not measured, no image was read (--audit)"]
    coarse = min(tensors, key=lambda tensor: float(tensor["used"]))
    return [
        *lines,
        f"saturation on {audit['validation_images']} validation images: at most"
        f" {100 * tensors[0]['saturated']:.3f} % of a tensor's values are outside its"
        f" range ({_tensor_name(tensors[0])})",
        f"range usage: at least {100 * coarse['used']:.0f} % of the 256 steps hold"
        f" {CENTRAL_SHARE:.1%} of a tensor's values ({_tensor_name(coarse)})",
    ]


def layers_table(layers: Sequence[Document]) -> str:
    """Returns the layers, the one that harms the answers most first."""
    cells = [["layer", "operator", *LAYER_HEADINGS]]
    for layer in layers[:SHOWN_LAYERS]:
        cells.append(
            [
                *(layer["layer"], layer["operator"]),
                *(_db(layer["answer_snr_db"]), _db(layer["own_snr_db"])),
                *(f"{layer['error_steps']:.3f}", _db(layer["whole_snr_db"])),
                f"{layer['lost_channels']}/{layer['channels']}",
            ]
        )
    rows = [align(cells, left=2)]
    if len(layers) > SHOWN_LAYERS:
        rows.append(f"... and {len(layers) - SHOWN_LAYERS} that harm less (--json)")
    rows.append(
        "answer: signal over noise of the logits with this layer alone in int8; own:"
        " the same at its output;"
    )
    rows.append(
        f"error/step: ideally {IDEAL_ERROR_STEPS:.3f}; whole: at its output, all layers"
        " in int8; lost: channels that vary by less than a step"
    )
    return "\n".join(rows)


def exceptions_table(exceptions: Document) -> str:
    """Returns the attempts to stay within the largest drop, and what each costs."""
    cells = [["kept in float", "MB", "p50 ms", "accuracy", "drop", ""]]
    for step in exceptions["steps"]:
        names = ", ".join(step["float_layers"]) or "nothing (int8)"
        cells.append(
            [
                names if len(names) <= 40 else f"{names[:37]}...",
                *(f"{step['bytes'] / 1e6:.2f}", f"{step['latency_ms']:.3f}"),
                *(f"{step['accuracy']:.2%}", f"{step['drop_points']:.2f}"),
                "holds" if step["holds"] else "",
            ]
        )
    rows = [align(cells, left=1)]
    rows.append(
        f"drop: points below the float32 file, at most"
        f" {exceptions['max_drop_points']:g}; the float32"
        f" file takes {exceptions['float32_latency_ms']:.3f} ms"
    )
    return "\n".join(rows)


def _accuracy(figures: Document) -> list[str]:
    low, high = figures["accuracy_95"]
    return [f"{figures['accuracy']:.2%}", f"{100 * low:.2f} to {100 * high:.2f}"]


def _figures(figures: Document | None) -> list[str]:
    if not figures:
        return ["?"] * len(FIGURE_HEADINGS)
    difference = figures.get("largest_logit_difference")
    logits = "?" if difference is None else f"{difference:.3g}"
    return [*_accuracy(figures), f"{figures['agreement']:.2%}", logits]


def _tensor_name(tensor: Document) -> str:
    """Returns the end of a tensor's name, enough to find it."""
    name = str(tensor["name"]).split(";")[-1]
    return name if len(name) <= 40 else ".." + name[-38:]


def _db(value: float) -> str:
    return "exact" if value >= EXACT_DB else f"{value:.1f}"
