"""The document of an export as tables for a terminal."""

from __future__ import annotations

from collections.abc import Sequence

from export.analysis.debugger import EXACT_DB, IDEAL_ERROR_STEPS
from export.calibration.audit import CENTRAL_SHARE
from export.report.document import Document

SHOWN_LAYERS = 12


def files_table(document: Document) -> str:
    """Returns the table of the files: one row each, and what the figures mean."""
    files, reference = document["files"], document["keras"]
    width = max(21, *(len(file["file"]) for file in files))
    rows = [
        f"{'file':<{width}}  {'MB':>5}  {'accuracy':>8}  {'95 % interval':>15}"
        f"  {'agrees':>7}  {'logits':>7}  {'p50 ms':>7}  {'int8':>5}  input"
    ]
    if reference:
        rows.append(
            f"{'Keras model (float32)':<{width}}  {'':>5}  {_accuracy(reference)}"
        )
    for file in files:
        size = f"{file['bytes'] / 1e6:>5.2f}"
        rows.append(f"{file['file']:<{width}}  {size}  {_figures(file)}")
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
    width = max(5, *(len(layer["layer"]) for layer in layers))
    rows = [
        f"{'layer':<{width}}  {'operator':<17}  {'answer dB':>9}  {'own dB':>7}"
        f"  {'error/step':>10}  {'whole dB':>8}  {'lost':>7}"
    ]
    for layer in layers[:SHOWN_LAYERS]:
        lost = f"{layer['lost_channels']}/{layer['channels']}"
        rows.append(
            f"{layer['layer']:<{width}}  {layer['operator']:<17}"
            f"  {_db(layer['answer_snr_db']):>9}  {_db(layer['own_snr_db']):>7}"
            f"  {layer['error_steps']:>10.3f}  {_db(layer['whole_snr_db']):>8}"
            f"  {lost:>7}"
        )
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
    rows = [
        f"{'kept in float':<40}  {'MB':>5}  {'p50 ms':>7}  {'accuracy':>8}  {'drop':>6}"
    ]
    for step in exceptions["steps"]:
        names = ", ".join(step["float_layers"]) or "nothing (int8)"
        text = names if len(names) <= 40 else f"{names[:37]}..."
        rows.append(
            f"{text:<40}  {step['bytes'] / 1e6:>5.2f}  {step['latency_ms']:>7.3f}"
            f"  {step['accuracy']:>8.2%}  {step['drop_points']:>6.2f}"
            f"{'  holds' if step['holds'] else ''}"
        )
    rows.append(
        f"drop: points below the float32 file, at most"
        f" {exceptions['max_drop_points']:g}; the float32"
        f" file takes {exceptions['float32_latency_ms']:.3f} ms"
    )
    return "\n".join(rows)


def _accuracy(figures: Document) -> str:
    low, high = figures["accuracy_95"]
    interval = f"{100 * low:.2f} to {100 * high:.2f}"
    return f"{figures['accuracy']:>8.2%}  {interval:>15}"


def _figures(file: Document) -> str:
    figures = file["figures"]
    cells = f"{'?':>8}  {'?':>15}  {'?':>7}  {'?':>7}"
    if figures:
        difference = figures.get("largest_logit_difference")
        logits = "?" if difference is None else f"{difference:.3g}"
        cells = f"{_accuracy(figures)}  {figures['agreement']:>7.2%}  {logits:>7}"
    return (
        f"{cells}  {file['latency_ms']:>7.3f}  {file['int8_share']:>5.0%}"
        f"  {file['input']}"
    )


def _tensor_name(tensor: Document) -> str:
    """Returns the end of a tensor's name, enough to find it."""
    name = str(tensor["name"]).split(";")[-1]
    return name if len(name) <= 40 else ".." + name[-38:]


def _db(value: float) -> str:
    return "exact" if value >= EXACT_DB else f"{value:.1f}"
