"""Cells and columns of the text tables."""

from __future__ import annotations

from collections.abc import Sequence

LEFT = frozenset(
    {"", "model", "class", "image", "true class", "first", "then", "operator", "core"}
)


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
