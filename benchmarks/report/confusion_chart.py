"""Confusion matrices and reliability diagrams as SVG, to stand inside a page.

Drawn here and not by a plotting library: sharp at every size, readable text, a few
kilobytes, in a millisecond, and the board needs nothing installed for it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from html import escape

import numpy as np
import numpy.typing as npt

from benchmarks.common.documents import Document
from benchmarks.common.text_table import clipped
from train.metrics import wilson_interval
from train.run.plots import MOST_NUMBERED, row_shares

Matrix = npt.NDArray[np.int64]
Rgb = tuple[int, int, int]

LONGEST_LABEL = 18
SMALLEST_SHOWN = 0.005  # of a row, where cells carry no figure
WHITE: Rgb = (255, 255, 255)
BLUE: Rgb = (8, 69, 148)
PURPLE: Rgb = (84, 39, 136)
ORANGE: Rgb = (179, 88, 6)
SIDE = 300  # of a reliability diagram's square


def matrix_svg(matrix: Matrix, labels: Sequence[str], name: str) -> str:
    """Returns a confusion matrix, coloured by the share of its row in percent.

    Args:
        matrix: int64 (classes, classes) counts; rows true, columns predicted.
        labels: Class names in order.
        name: What it is of, for those who do not see it.
    """
    shares = row_shares(matrix)
    return _grid(
        shares,
        [_mix(BLUE, share) for share in shares.ravel()],
        [f"{100 * share:.0f}" if share else "" for share in shares.ravel()],
        labels,
        f"Confusion matrix of {name}",
    )


def difference_svg(
    matrix: Matrix, reference: Matrix, labels: Sequence[str], name: str
) -> str:
    """Returns what changed between two confusion matrices, in points of the row.

    Args:
        matrix: int64 (classes, classes) counts of the other model.
        reference: The same of the reference, on the same images.
        labels: Class names in order.
        name: What it is of, for those who do not see it.
    """
    shares = row_shares(matrix) - row_shares(reference)
    limit = max(0.01, float(np.abs(shares).max()))
    colours = [
        _mix(PURPLE if share > 0 else ORANGE, abs(share) / limit)
        for share in shares.ravel()
    ]
    # Rounded first: a tiny loss is no "-0.0".
    texts = [
        f"{round(100 * share, 1) + 0.0:+.1f}" if abs(share) >= 0.0005 else ""
        for share in shares.ravel()
    ]
    return _grid(shares, colours, texts, labels, f"Difference of {name}")


def reliability_svg(bins: Sequence[Document], name: str) -> str:
    """Returns a reliability diagram: accuracy over confidence, with 95 % intervals.

    Guo et al., "On calibration of modern neural networks" (2017); the intervals are
    Wilson's. The area of a dot grows with its number of images.

    Args:
        bins: As ``benchmarks.accuracy.statistics.reliability`` returns them.
        name: What it is of, for those who do not see it.
    """
    most = max(one["count"] for one in bins)
    parts = [_axes(), *(_dot(one, most) for one in bins if one["count"])]
    return (
        f'<svg class="reliability" viewBox="-52 -12 {SIDE + 68} {SIDE + 60}"'
        f' role="img" aria-label="{escape(f"Reliability diagram of {name}")}">'
        + "".join(parts)
        + "</svg>"
    )


def _grid(
    values: npt.NDArray[np.float64],
    colours: Sequence[str],
    texts: Sequence[str],
    labels: Sequence[str],
    name: str,
) -> str:
    count = len(labels)
    numbered = count <= MOST_NUMBERED
    cell, font = (44, 14) if numbered else (10, 9)
    shown = [clipped(label, LONGEST_LABEL) for label in labels]
    left = 10 + math.ceil(0.62 * font * max(map(len, shown)))
    below = 10 + math.ceil(0.75 * left)
    parts = []
    for index, (value, colour, text) in enumerate(
        zip(values.ravel(), colours, texts, strict=True)
    ):
        if abs(value) > (0 if numbered else SMALLEST_SHOWN):
            x, y = left + index % count * cell, index // count * cell
            parts.append(_cell(x, y, cell, colour, text if numbered else ""))
    parts += _labels(shown, left, cell, font)
    side = count * cell
    least = min(640, round(0.6 * (left + side)))  # smaller, it scrolls
    return (
        f'<svg style="min-width:{least}px"'
        f' viewBox="0 -1 {left + side + 2} {side + below + 2}" font-size="{font}"'
        f' role="img" aria-label="{escape(name)}">'
        + "".join(parts)
        + f'<rect x="{left}" y="0" width="{side}" height="{side}" fill="none"'
        ' stroke="#8a97a3"/></svg>'
    )


def _cell(x: int, y: int, side: int, colour: str, text: str) -> str:
    drawn = f'<rect x="{x}" y="{y}" width="{side}" height="{side}" fill="{colour}"/>'
    if text:
        dark = sum(int(colour[i : i + 2], 16) for i in (1, 3, 5)) < 3 * 140
        shade = "#fff" if dark else "#1c2733"
        drawn += (
            f'<text x="{x + side / 2:g}" y="{y + side / 2 + 5:g}" fill="{shade}"'
            f' text-anchor="middle">{text}</text>'
        )
    return drawn


def _labels(shown: Sequence[str], left: int, cell: int, font: int) -> list[str]:
    parts, bottom = [], len(shown) * cell
    for index, label in enumerate(shown):
        middle = index * cell + cell / 2
        text = escape(label)
        parts.append(
            f'<text x="{left - 5}" y="{middle + font / 3:g}"'
            f' text-anchor="end">{text}</text>'
        )
        x, y = left + middle + font / 3, bottom + font
        parts.append(
            f'<text x="{x:g}" y="{y}" text-anchor="end"'
            f' transform="rotate(-45 {x:g} {y})">{text}</text>'
        )
    return parts


def _axes() -> str:
    lines = [
        f'<rect x="0" y="0" width="{SIDE}" height="{SIDE}" fill="none"'
        ' stroke="#8a97a3"/>'
        f'<line x1="0" y1="{SIDE}" x2="{SIDE}" y2="0" stroke="#8a97a3"'
        ' stroke-dasharray="5 5"/>'
    ]
    for percent in (0, 25, 50, 75, 100):
        at = SIDE * percent / 100
        lines.append(
            f'<text x="{at:g}" y="{SIDE + 18}" text-anchor="middle">{percent}</text>'
            f'<text x="-6" y="{SIDE - at + 5:g}" text-anchor="end">{percent}</text>'
        )
    middle = SIDE / 2
    lines.append(
        f'<text x="{middle:g}" y="{SIDE + 40}" text-anchor="middle">'
        "confidence, percent</text>"
        f'<text x="-36" y="{middle:g}" text-anchor="middle"'
        f' transform="rotate(-90 -36 {middle:g})">right, percent</text>'
    )
    return "".join(lines)


def _dot(one: Document, most: int) -> str:
    count, right = one["count"], one["right"]
    low, high = wilson_interval(right, count)
    x, y = SIDE * one["confidence"], SIDE * (1 - right / count)
    radius = 2.5 + 7 * math.sqrt(count / most)
    said = f"{count:,} images: confidence {one['confidence']:.1%}, right {right:,}"
    return (
        f'<g stroke="#084594"><title>{said}</title>'
        f'<line x1="{x:.1f}" y1="{SIDE * (1 - low):.1f}" x2="{x:.1f}"'
        f' y2="{SIDE * (1 - high):.1f}"/>'
        f'<circle cx="{x:.1f}" cy="{y:.1f}" r="{radius:.1f}" fill="#084594"'
        ' fill-opacity="0.7"/></g>'
    )


def _mix(colour: Rgb, amount: float) -> str:
    """Returns a colour between white (0) and this one (1), as #rrggbb."""
    mixed = [
        round(w + (c - w) * min(1.0, amount))
        for w, c in zip(WHITE, colour, strict=True)
    ]
    return "#" + "".join(f"{channel:02x}" for channel in mixed)
