"""Times over time as SVG: the first minute against the steady state."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

from benchmarks.common.documents import Document

WIDTH, HEIGHT = 640, 300
COLOURS = ("#084594", "#b35806", "#542788", "#2e7d32", "#b3261e")
GREY = "#8a97a3"
DARK = "#1c2733"


def sustained_svg(rows: Sequence[Document]) -> str:
    """Returns the medians of every model over the time that it ran, as one picture.

    Each model is drawn relative to the median of its own beginning, so that a line
    above 1 is a model that has become slower; temperature, where known, in the legend.

    Args:
        rows: As ``measure_sustained`` returns them.
    """
    seconds = max(row["seconds"] for row in rows)
    relative = [
        [one["p50"] / row["first_p50_ms"] for one in row["windows"]] for row in rows
    ]
    low = min(0.9, *(min(line) for line in relative))
    high = max(1.2, *(max(line) for line in relative))
    parts = [_frame(seconds, low, high)]
    for index, (row, line) in enumerate(zip(rows, relative, strict=True)):
        points = " ".join(
            f"{_x(one['at_s'], seconds):.1f},{_y(value, low, high):.1f}"
            for one, value in zip(row["windows"], line, strict=True)
        )
        colour = COLOURS[index % len(COLOURS)]
        parts.append(
            f'<polyline points="{points}" fill="none" stroke="{colour}"'
            ' stroke-width="1.5"/>'
        )
        parts.append(_legend(row, index, colour))
    below = 60 + 20 * len(rows)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="-64 -12 {WIDTH + 84}'
        f' {HEIGHT + below}" font-family="system-ui, sans-serif" font-size="14"'
        f' fill="{DARK}" role="img" aria-label="Time of an inference while it runs'
        ' without a pause">' + "".join(parts) + "</svg>\n"
    )


def _frame(seconds: float, low: float, high: float) -> str:
    parts = [f'<rect width="{WIDTH}" height="{HEIGHT}" fill="none" stroke="{GREY}"/>']
    for value in (low, 1.0, high):
        y = _y(value, low, high)
        dashes = ' stroke-dasharray="5 5"' if value == 1 else ""
        parts.append(
            f'<line x1="0" x2="{WIDTH}" y1="{y:.1f}" y2="{y:.1f}"'
            f' stroke="{GREY}"{dashes}/>'
            f'<text x="-6" y="{y + 5:.1f}" text-anchor="end">{value:.2f}</text>'
        )
    unit, per_unit = ("minutes", 60.0) if seconds >= 120 else ("seconds", 1.0)
    for quarter in range(5):
        at = seconds * quarter / 4
        parts.append(
            f'<text x="{_x(at, seconds):.1f}" y="{HEIGHT + 18}"'
            f' text-anchor="middle">{at / per_unit:.3g}</text>'
        )
    parts.append(
        f'<text x="{WIDTH / 2}" y="{HEIGHT + 38}" text-anchor="middle">{unit} without'
        " a pause</text>"
        f'<text x="-48" y="{HEIGHT / 2}" text-anchor="middle"'
        f' transform="rotate(-90 -48 {HEIGHT / 2})">time, 1 = at first</text>'
    )
    return "".join(parts)


def _legend(row: Document, index: int, colour: str) -> str:
    y = HEIGHT + 62 + 20 * index
    hot = [one["temperature_c"] for one in row["windows"] if one["temperature_c"]]
    heat = f", up to {max(hot):.0f} degrees Celsius" if hot else ""
    said = (
        f"{row['model']}: {row['first_p50_ms']:.3f} ms at first,"
        f" {row['steady_p50_ms']:.3f} ms in the last third"
        f" (x {row['steady_to_first']:.2f}){heat}"
    )
    return (
        f'<rect x="0" y="{y - 10}" width="12" height="12" fill="{colour}"/>'
        f'<text x="20" y="{y}">{escape(said)}</text>'
    )


def _x(at_s: float, seconds: float) -> float:
    return WIDTH * min(1.0, at_s / seconds)


def _y(value: float, low: float, high: float) -> float:
    return HEIGHT * (high - value) / (high - low)
