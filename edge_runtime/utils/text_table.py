"""Tables of aligned text."""

from __future__ import annotations

from collections.abc import Sequence

from edge_runtime.untrusted import one_line


def align(rows: Sequence[Sequence[str]], *, left: int) -> str:
    """Returns rows as aligned lines, the first ``left`` columns to the left.

    A cell stays one: control characters in it are escaped.
    """
    rows = [[one_line(cell) for cell in row] for row in rows]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return "\n".join(
        "  ".join(
            cell.ljust(width) if column < left else cell.rjust(width)
            for column, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    )
