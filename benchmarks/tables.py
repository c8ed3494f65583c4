"""Cells and columns of the text tables, and the table of latencies."""

from __future__ import annotations

from collections.abc import Sequence

from benchmarks.machine import describe
from benchmarks.models import Document

NOISY_SPREAD = 1.5
LEFT = ("", "model", "class", "image", "true class", "first", "then")
LATENCY_TIMES = ("p50", "p90", "p99")
LATENCY_HEADINGS = (
    *("model", "load", "first", *LATENCY_TIMES),
    *("face p50", "p90", "p99", "runs", "x first model"),
)
LATENCY_LEGEND = (
    "p50, p90, p99: one image through the network; face: a 96x96 colour crop to a",
    "prediction; x first model: its p50 over that of the first (5 % to 95 % of turns)",
)


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
            cell.ljust(width) if heading in LEFT else cell.rjust(width)
            for cell, width, heading in zip(row, widths, headings, strict=True)
        ]
        lines.append("  ".join(cells).rstrip())
    return lines


def clipped(text: str, width: int) -> str:
    """Returns text of at most so many characters, an ellipsis for its middle.

    Names that are alike often differ at the end.
    """
    if len(text) <= width:
        return text
    tail = (width - 1) // 3
    return text[: width - 1 - tail] + "…" + text[len(text) - tail :]


def letter(index: int) -> str:
    """Returns what the tables call a model: A for the first, B for the next."""
    return chr(ord("A") + index) if index < 26 else f"#{index + 1}"


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
