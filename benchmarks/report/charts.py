"""The charts of the pages, drawn by matplotlib as SVG."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from benchmarks.common.documents import Document, clipped
from benchmarks.report.html import Picture, svg_address
from train.metrics import wilson_interval
from train.run.figure import new_figure, printable, to_svg
from train.run.plots import Matrix, draw_confusion_matrix, panel_inches

LONGEST_NAME = 34
MARKERS = "osD^vP"
BLUE, ORANGE, GREY = "#084594", "#b35806", "#8a97a3"
USEFUL, WASTED, IDLE = "#1b7837", "#b3261e", "#f4e3e1"


def confusion_chart(
    name: str,
    matrix: Matrix,
    labels: Sequence[str],
    *,
    reference: tuple[str, Matrix] | None = None,
) -> Picture:
    """Returns a confusion matrix, or what changed against a reference.

    Args:
        name: Of the model.
        matrix: int64 (classes, classes) counts; rows true, columns predicted.
        labels: Class names in order.
        reference: Name and matrix of another model, measured on the same images.
    """
    figure, (axes,) = new_figure(panel_inches(labels))
    draw_confusion_matrix(axes, matrix, labels, reference[1] if reference else None)
    right = np.trace(matrix) / max(1, matrix.sum())
    caption, alt = name, f"Confusion matrix of {name}: {right:.1%} on the diagonal"
    if reference:
        caption = f"{name} - {reference[0]}"
        alt = f"Confusion matrix of {name} minus that of {reference[0]}"
    classes = len(labels)
    kind = "chart" if classes <= 10 else "broad" if classes <= 20 else "full"
    return Picture(caption, alt, svg_address(to_svg(figure)), kind)


def reliability_chart(model: Document) -> Picture:
    """Returns a reliability diagram: accuracy over confidence, with 95 % intervals.

    Guo et al., "On calibration of modern neural networks" (2017); the intervals are
    Wilson's. The area of a dot grows with its number of images.

    Args:
        model: One of an accuracy document's models.
    """
    bins = [each for each in model["reliability"] if each["count"]]
    counts = np.array([each["count"] for each in bins])
    right = np.array([each["right"] for each in bins])
    x = [100 * each["confidence"] for each in bins]
    bounds = [wilson_interval(each["right"], each["count"]) for each in bins]
    figure, (axes,) = new_figure((3.6, 3.6))
    axes.plot([0, 100], [0, 100], "--", color=GREY)
    axes.vlines(x, *(100 * np.transpose(bounds)), color=BLUE, linewidth=1)
    areas = (5 + 13 * np.sqrt(counts / counts.max())) ** 2
    axes.scatter(x, 100 * right / counts, areas, color=BLUE, alpha=0.7)
    axes.set(xlim=(-3, 104), ylim=(-3, 104), aspect="equal")
    axes.set(xlabel="confidence, percent", ylabel="accuracy, percent")
    error = model["expected_calibration_error"]
    name, temperature = model["name"], model["temperature"]
    return Picture(
        f"{name}: error {error:.3f}, temperature {temperature:.2f}",
        f"Reliability diagram of {name}: expected calibration error {error:.3f}",
        svg_address(to_svg(figure)),
    )


def scatter_chart(points: Sequence[tuple[str, float, Document]]) -> Picture:
    """Returns accuracy over time (logarithmic), one dot a model, with 95 % intervals.

    Args:
        points: Name, median latency in ms and part of an accuracy document of each
            model.
    """
    figure, (axes,) = new_figure((6.4, max(3.8, 0.23 * len(points))))
    from matplotlib.ticker import LogLocator, NullLocator  # new_figure found it there

    axes.set(xscale="log", xlabel="p50 in ms, one thread", ylabel="accuracy, percent")
    ordered = sorted(points, key=lambda point: -point[2]["accuracy"])
    for index, (name, ms, model) in enumerate(ordered):
        low, high = model["accuracy_95"]
        style = {"color": f"C{index % 10}", "marker": MARKERS[index % len(MARKERS)]}
        axes.plot([ms, ms], [100 * low, 100 * high], color=style["color"])
        label = clipped(printable(name), LONGEST_NAME)
        axes.plot(ms, 100 * model["accuracy"], **style, linestyle="", label=label)
    axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_formatter("{x:g}")  # 0.5, no power of ten
    axes.grid(alpha=0.3)
    _add_legend(axes, loc="center left", bbox_to_anchor=(1, 0.5))
    alt = f"Accuracy against latency of {len(points)} models; the table has the figures"
    return Picture(
        "up and to the left is better", alt, svg_address(to_svg(figure)), "full"
    )


def latency_chart(name: str, timing: Document) -> Picture:
    """Returns how often each latency occurred, with p50, p90 and p99 marked.

    Args:
        name: What was measured.
        timing: A row of a latency document.
    """
    histogram, times = timing["histogram"], timing["logits_ms"]
    counts = histogram["counts"]
    figure, (axes,) = new_figure((4.2, 1.6))
    edges = np.linspace(histogram["from_ms"], histogram["to_ms"], len(counts) + 1)
    axes.stairs(counts, edges, fill=True, color="#6a9fcf")
    for key, style in (("p50", "-"), ("p90", "--"), ("p99", ":")):
        label = f"{key} {times[key]:.3f} ms"
        axes.axvline(times[key], color=ORANGE, linestyle=style, label=label)
    axes.set(yticks=[], xlabel="ms")
    axes.spines[["left", "top", "right"]].set_visible(False)
    axes.legend(loc="upper right", fontsize="small")
    shown = ", ".join(f"{key} {times[key]:.3f} ms" for key in ("p50", "p90", "p99"))
    return Picture(
        name, f"Latency distribution of {name}: {shown}", svg_address(to_svg(figure))
    )


def roofline_chart(name: str, timing: Document) -> Picture:
    """Returns a model's layers: width is time, height the share of the peak reached.

    Args:
        name: What was measured.
        timing: A row of a roofline document.
    """
    layers = timing["layers"]
    ms = np.array([layer["ms"] for layer in layers])
    shares = np.array([min(1.0, layer["share"] or 0.0) for layer in layers])
    starts = np.cumsum(ms) - ms
    figure, (axes,) = new_figure((6.2, 1.9))
    axes.bar(starts, 100, ms, align="edge", color=IDLE, edgecolor="white")
    colours = [USEFUL if share >= 0.5 else WASTED for share in shares]
    axes.bar(starts, 100 * shares, ms, align="edge", color=colours, edgecolor="white")
    axes.axhline(100 * min(1.0, timing["share"]), color="black", linestyle="--")
    axes.set(xlim=(0, max(ms.sum(), 1e-9)), ylim=(0, 100))
    axes.set(xlabel="ms, layer after layer", ylabel="% of the peak")
    caption = (
        f"{name}: {timing['invoke_ms']:.3f} ms, {timing['gmacs']:.0f} GMAC/s,"
        f" {timing['share']:.0%} of the peak"
    )
    alt = f"Share of the peak by layer, {caption}"
    return Picture(caption, alt, svg_address(to_svg(figure)), "broad")


def sustained_chart(name: str, rows: Sequence[Document]) -> Picture:
    """Returns ``sustained_svg`` with a caption."""
    alt = f"Time of an inference while it runs without a pause: {name}"
    return Picture(name, alt, svg_address(sustained_svg(rows)), "broad")


def sustained_svg(rows: Sequence[Document]) -> str:
    """Returns the median time of every model over the time that it ran, as SVG.

    Each model is drawn relative to the median of its own beginning: a line above 1 is
    a model that has become slower. The legend has the temperature where it is known.

    Args:
        rows: As ``benchmarks.latency.sustained.measure_sustained`` returns them.
    """
    seconds = max(row["seconds"] for row in rows)
    unit, per_unit = ("minutes", 60.0) if seconds >= 120 else ("seconds", 1.0)
    figure, (axes,) = new_figure((6.4, 3.2))
    axes.axhline(1, color=GREY, linestyle="--")
    for row in rows:
        times = [window["at_s"] / per_unit for window in row["windows"]]
        relative = [window["p50"] / row["first_p50_ms"] for window in row["windows"]]
        axes.plot(times, relative, label=_sustained_label(row))
    low, high = axes.get_ylim()
    axes.set(xlim=(0, seconds / per_unit), ylim=(min(0.9, low), max(1.2, high)))
    axes.set(xlabel=f"{unit} without a pause", ylabel="time, 1 = at the start")
    _add_legend(axes, loc="upper left", bbox_to_anchor=(0, -0.2))
    return to_svg(figure)


def _add_legend(axes: Any, **place: object) -> None:
    for text in axes.legend(frameon=False, **place).get_texts():
        text.set_parse_math(False)  # a dollar sign in a file name is not a formula


def _sustained_label(row: Document) -> str:
    temperatures = [w["temperature_c"] for w in row["windows"] if w["temperature_c"]]
    heat = f", up to {max(temperatures):.0f} °C" if temperatures else ""
    return (
        f"{printable(row['model'])}: {row['first_p50_ms']:.3f} ms at the start,"
        f" {row['steady_p50_ms']:.3f} ms in the last third"
        f" (x {row['steady_to_first']:.2f}){heat}"
    )
