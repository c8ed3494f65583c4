"""Accuracy against latency, latency distributions, share of the limit, as SVG."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

from benchmarks.common.documents import Document
from benchmarks.common.text_table import clipped
from benchmarks.report.chart import COLOURS, GREY, Axis, svg, text
from benchmarks.report.rows import Row

SCATTER = (560, 320)
LONGEST_NAME = 34
FULL = "#1b7837"
POOR = "#b3261e"


def scatter_svg(rows: Sequence[Row], threads: int = 1) -> str:
    """Returns accuracy with its interval over p50 in ms (logarithmic), one dot a model.

    Args:
        rows: Those with an accuracy and a latency on so many threads.
        threads: Which latency.
    """
    width, height = SCATTER
    times = [row.timed[threads]["logits_ms"]["p50"] for row in rows]
    bounds = [row.accuracy["accuracy_95"] for row in rows if row.accuracy]
    x_axis = Axis(min(times) / 1.6, max(times) * 1.6, width, logarithmic=True)
    low, high = min(b[0] for b in bounds), max(b[1] for b in bounds)
    room = max(0.01, 0.08 * (high - low))
    y_axis = Axis(100 * (low - room), 100 * (high + room), height)
    parts = [_scatter_frame(x_axis, y_axis)]
    labels = _apart([height - y_axis.at(100 * (b[0] + b[1]) / 2) for b in bounds])
    for index, (row, ms, bound) in enumerate(zip(rows, times, bounds, strict=True)):
        x = x_axis.at(ms)
        share = row.accuracy["accuracy"] if row.accuracy else 0.0
        ys = [height - y_axis.at(100 * one) for one in (bound[0], share, bound[1])]
        colour = COLOURS[index % len(COLOURS)]
        right = x > width * 0.55
        parts.append(
            f'<g stroke="{colour}"><title>{escape(row.label)}: {share:.2%},'
            f" {ms:.3f} ms</title>"
            f'<line x1="{x:.1f}" x2="{x:.1f}" y1="{ys[0]:.1f}" y2="{ys[2]:.1f}"/>'
            f'<circle cx="{x:.1f}" cy="{ys[1]:.1f}" r="6" fill="{colour}"/></g>'
        )
        parts.append(
            text(
                x - 11 if right else x + 11,
                labels[index] + 4,
                clipped(row.label, LONGEST_NAME),
                "end" if right else "start",
            )
        )
    view = (-58, -10, width + 78, height + 58)
    return svg("".join(parts), view=view, name="Accuracy against latency", least_px=480)


def histogram_svg(timed: Document, name: str) -> str:
    """Returns how often each latency occurred, with p50, p90 and p99 marked.

    Args:
        timed: A row of a latency document.
        name: What it is of.
    """
    shape, times = timed["histogram"], timed["logits_ms"]
    width, height = 420, 120
    end = max(shape["to_ms"], times["p99"])
    axis = Axis(shape["from_ms"], end * 1.0000001, width)
    most = max(shape["counts"])
    step = (shape["to_ms"] - shape["from_ms"]) / len(shape["counts"])
    parts = []
    for index, count in enumerate(shape["counts"]):
        x = axis.at(shape["from_ms"] + index * step)
        wide = axis.at(shape["from_ms"] + (index + 1) * step) - x
        tall = height * count / most
        parts.append(
            f'<rect x="{x:.1f}" y="{height - tall:.1f}" height="{tall:.1f}"'
            f' width="{max(0.5, wide - 0.5):.1f}" fill="#6a9fcf"/>'
        )
    for key, y in (("p50", 10), ("p90", 26), ("p99", 42)):
        x = axis.at(times[key])
        side = "end" if x > width * 0.7 else "start"
        parts.append(
            f'<line x1="{x:.1f}" x2="{x:.1f}" y1="0" y2="{height}" stroke="#b35806"/>'
            + text(
                x - 4 if side == "end" else x + 4,
                y,
                f"{key} {times[key]:.3f}",
                side,
                'fill="#7a3c00"',
            )
        )
    parts.append(
        f'<line x1="0" x2="{width}" y1="{height}" y2="{height}" stroke="{GREY}"/>'
    )
    for tick in axis.ticks():
        parts.append(text(axis.at(tick), height + 17, f"{tick:g}", "middle"))
    parts.append(text(width, height + 34, "ms", "end"))
    view = (-16, -6, width + 32, height + 46)
    return svg("".join(parts), view=view, name=f"Latency distribution of {name}")


def layers_svg(row: Document) -> str:
    """Returns a model's layers: width is time, height the share of the peak reached.

    What is filled is useful work, what is empty was waited for something else.

    Args:
        row: A row of a limit document.
    """
    width, height = 620, 150
    total = sum(layer["ms"] for layer in row["layers"]) or 1.0
    x_axis, parts, at = Axis(0, total, width), [], 0.0
    for layer in row["layers"]:
        left, right = x_axis.at(at), x_axis.at(at + layer["ms"])
        at += layer["ms"]
        share = min(1.0, layer["share"] or 0.0)
        said = (
            f"{layer['name']} ({layer['operator']}, {layer['dtype']}):"
            f" {layer['ms']:.4f} ms, {(layer['macs'] or 0) / 1e6:.2f} MMACs,"
            f" {share:.0%} of the peak"
        )
        parts.append(
            f"<g><title>{escape(said)}</title>"
            f'<rect x="{left:.1f}" y="0" width="{max(0.0, right - left):.1f}"'
            f' height="{height}" fill="#f3e3e1" stroke="#fff"/>'
            f'<rect x="{left:.1f}" y="{height * (1 - share):.1f}"'
            f' width="{max(0.0, right - left):.1f}" height="{height * share:.1f}"'
            f' fill="{FULL if share >= 0.5 else POOR}" fill-opacity="0.75"'
            ' stroke="#fff"/></g>'
        )
    y = height * (1 - min(1.0, row["share"]))
    parts.append(
        f'<line x1="0" x2="{width}" y1="{y:.1f}" y2="{y:.1f}" stroke="#1c2733"'
        ' stroke-dasharray="5 4"/>'
    )
    for percent in (0, 50, 100):
        at_y = height * (1 - percent / 100) + 5
        parts.append(text(-6, at_y, f"{percent} %", "end"))
    for tick in x_axis.ticks():
        parts.append(text(x_axis.at(tick), height + 17, f"{tick:g}", "middle"))
    parts.append(text(width / 2, height + 36, "ms, layer after layer", "middle"))
    view = (-50, -8, width + 70, height + 52)
    name = f"Share of the peak of {row['model']}, by layer"
    return svg("".join(parts), view=view, name=name, least_px=480)


def ranges_svg(projections: Sequence[Document], name: str) -> str:
    """Returns projected ranges as bars over a logarithmic axis in ms.

    Args:
        projections: As ``benchmarks.roofline.projection.project`` returns them.
        name: What they are of.
    """
    width, line = 400, 26
    low = min(one["floor_ms"] for one in projections) / 1.3
    high = max(one["ms"][1] for one in projections) * 1.3
    axis = Axis(low, high, width, logarithmic=True)
    parts = []
    for tick in axis.ticks():
        x = axis.at(tick)
        parts.append(
            f'<line x1="{x:.1f}" x2="{x:.1f}" y1="0"'
            f' y2="{line * len(projections)}" stroke="#dde3e8"/>'
            + text(x, line * len(projections) + 17, f"{tick:g}", "middle")
        )
    for index, one in enumerate(projections):
        y = line * index + 5
        left, right = (axis.at(value) for value in one["ms"])
        floor = axis.at(one["floor_ms"])
        said = f"{one['board'].removeprefix('Raspberry ')}, {one['threads']} thr."
        parts.append(
            text(-8, y + 13, said, "end")
            + f'<rect x="{left:.1f}" y="{y}" width="{right - left:.1f}" height="16"'
            f' fill="#084594" fill-opacity="{0.85 if one["threads"] == 1 else 0.45}">'
            f"<title>{one['ms'][0]:.2g} to {one['ms'][1]:.2g} ms, projected</title>"
            "</rect>"
            f'<line x1="{floor:.1f}" x2="{floor:.1f}" y1="{y}" y2="{y + 16}"'
            ' stroke="#b3261e" stroke-width="2"/>'
        )
    below = line * len(projections)
    parts.append(text(width / 2, below + 36, "ms, projected, not measured", "middle"))
    view = (-142, -6, width + 156, below + 50)
    return svg("".join(parts), view=view, name=f"Projected times of {name}")


def _scatter_frame(x_axis: Axis, y_axis: Axis) -> str:
    width, height = SCATTER
    parts = [f'<rect width="{width}" height="{height}" fill="none" stroke="{GREY}"/>']
    for tick in x_axis.ticks():
        parts.append(text(x_axis.at(tick), height + 18, f"{tick:g}", "middle"))
    for tick in y_axis.ticks():
        y = height - y_axis.at(tick)
        parts.append(
            f'<line x1="0" x2="{width}" y1="{y:.1f}" y2="{y:.1f}" stroke="#e7ebee"/>'
            + text(-6, y + 5, f"{tick:g}", "end")
        )
    parts.append(text(width / 2, height + 38, "p50 in ms, one thread", "middle"))
    turned = f'transform="rotate(-90 -42 {height / 2})"'
    parts.append(text(-42, height / 2, "accuracy, percent", "middle", turned))
    return "".join(parts)


def _apart(positions: Sequence[float], least: float = 16.0) -> list[float]:
    """Returns positions moved downwards until labels do not cover each other."""
    placed = list(positions)
    previous = float("-inf")
    for index in sorted(range(len(placed)), key=lambda i: placed[i]):
        placed[index] = max(placed[index], previous + least)
        previous = placed[index]
    return placed
