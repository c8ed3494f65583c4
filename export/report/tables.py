"""What an export found, as tables for people and as a document for machines."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from export.analysis.debugger import EXACT_DB, IDEAL_ERROR_STEPS, LayerError
from export.analysis.studies import Int8Analysis, layer_records, step_records
from export.calibration.audit import describe
from export.convert.formats import DIAGNOSTIC
from export.exporter import Export, Item

SCHEMA = "fer-edge/export/2"
SHOWN_LAYERS = 12


def files_table(done: Export, paths: Sequence[Path]) -> str:
    """Returns the table of the files: one row each, and what the figures mean."""
    width = max(21, *(len(path.name) for path in paths))
    rows = [
        f"{'file':<{width}}  {'MB':>5}  {'accuracy':>8}  {'95 % interval':>15}"
        f"  {'agrees':>7}  {'logits':>7}  {'p50 ms':>7}  {'int8':>5}  input"
    ]
    reference = done.reference
    if reference:
        rows.append(
            f"{'Keras model (float32)':<{width}}  {'':>5}  {_accuracy(reference)}"
        )
    for path, item in zip(paths, done.items, strict=True):
        size = f"{len(item.content) / 1e6:>5.2f}"
        rows.append(f"{path.name:<{width}}  {size}  {_figures(item)}")
    if reference:
        rows.append(f"{done.images}: {reference['count']:,} images")
    else:
        rows.append("accuracy: unknown, the validation images are not here")
    rows.append(
        "agrees: same answer as the Keras model; logits: largest difference from it;"
        " p50: one image, one thread, here; int8: share of the MACs"
    )
    if any(item.draft.format == DIAGNOSTIC for item in done.items):
        rows.append("int16x8 is diagnostic: slow reference kernels, not for a device")
    return "\n".join(rows)


def audit_lines(done: Export) -> str:
    """Returns the calibration audit, and the spread over seeds if it was asked."""
    lines = describe(done.audit) if done.audit else []
    spread = done.studies.spread
    if spread:
        lines.append(
            f"int8 accuracy over {len(spread['seeds'])} calibration seeds: mean"
            f" {spread['mean']:.2%}, sd {100 * spread['sd']:.2f} points,"
            f" {spread['min']:.2%} to {spread['max']:.2%}"
        )
    return "\n".join(lines)


def layers_table(layers: Sequence[LayerError]) -> str:
    """Returns the layers, the one that harms the answers most first."""
    width = max(5, *(len(one.layer.label) for one in layers))
    rows = [
        f"{'layer':<{width}}  {'operator':<17}  {'answer dB':>9}  {'own dB':>7}"
        f"  {'error/step':>10}  {'whole dB':>8}  {'lost':>7}"
    ]
    for one in layers[:SHOWN_LAYERS]:
        lost = f"{one.lost_channels}/{one.channels}"
        rows.append(
            f"{one.layer.label:<{width}}  {one.layer.operator:<17}"
            f"  {_db(one.answer_snr_db):>9}  {_db(one.own_snr_db):>7}"
            f"  {one.error_steps:>10.3f}  {_db(one.whole_snr_db):>8}  {lost:>7}"
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


def steps_table(found: Int8Analysis) -> str:
    """Returns the attempts to hold the bound, and what each costs."""
    rows = [
        f"{'kept in float':<40}  {'MB':>5}  {'p50 ms':>7}  {'accuracy':>8}  {'drop':>6}"
    ]
    for one in step_records(found):
        names = ", ".join(one["float_layers"]) or "nothing (int8)"
        text = names if len(names) <= 40 else f"{names[:37]}..."
        rows.append(
            f"{text:<40}  {one['bytes'] / 1e6:>5.2f}  {one['latency_ms']:>7.3f}"
            f"  {one['accuracy']:>8.2%}  {one['drop_points']:>6.2f}"
            f"{'  holds' if one['holds'] else ''}"
        )
    rows.append(
        f"drop: points below the float32 file, at most {found.max_drop:g}; the float32"
        f" file takes {found.latencies_ms[0]:.3f} ms"
    )
    return "\n".join(rows)


def to_document(done: Export, paths: Sequence[Path]) -> dict[str, Any]:
    """Returns everything as a JSON-ready document, ``fer-edge/export/2``."""
    found = done.studies
    return {
        "schema": SCHEMA,
        "run": done.name,
        "images": done.images,
        "conditions": done.conditions,
        "keras": done.reference,
        "files": [
            {
                "file": path.name,
                "format": item.draft.format,
                "diagnostic": item.draft.format == DIAGNOSTIC,
                "bytes": len(item.content),
                "model_sha256": item.draft.sha256,
                "figures": item.figures,
                "latency_ms": item.latency_ms,
                "int8_share": item.int8_share,
                "input": item.input,
            }
            for path, item in zip(paths, done.items, strict=True)
        ],
        "audit": done.audit,
        "spread": found.spread,
        "layers": None if found.layers is None else layer_records(found.layers),
        "exceptions": None
        if found.steps is None
        else {
            "max_drop_points": found.max_drop,
            "passed": found.passed,
            "float32_latency_ms": found.latencies_ms[0],
            "steps": step_records(found),
        },
    }


def _accuracy(figures: dict[str, Any]) -> str:
    low, high = figures["accuracy_95"]
    interval = f"{100 * low:.2f} to {100 * high:.2f}"
    return f"{figures['accuracy']:>8.2%}  {interval:>15}"


def _figures(item: Item) -> str:
    figures = item.figures
    cells = f"{'?':>8}  {'?':>15}  {'?':>7}  {'?':>7}"
    if figures:
        difference = figures.get("largest_logit_difference")
        logits = "?" if difference is None else f"{difference:.3g}"
        cells = f"{_accuracy(figures)}  {figures['agreement']:>7.2%}  {logits:>7}"
    return f"{cells}  {item.latency_ms:>7.3f}  {item.int8_share:>5.0%}  {item.input}"


def _db(value: float) -> str:
    return "exact" if value >= EXACT_DB else f"{value:.1f}"
