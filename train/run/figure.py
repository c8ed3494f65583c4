"""Figures of matplotlib: made, and written as PNG or SVG."""

from __future__ import annotations

import contextlib
import io
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from edge_runtime.errors import missing_in_checkout
from edge_runtime.utils.files import replacing


def new_figure(size: tuple[float, float], rows: int = 1, columns: int = 1) -> Any:
    """Returns a matplotlib figure and its axes, an array (rows * columns,).

    Args:
        size: Width and height in inches.
        rows: Of axes.
        columns: Of axes.

    Raises:
        MissingDependencyError: matplotlib is not installed.
    """
    try:
        from matplotlib.figure import Figure  # not pyplot: no global state, no screen
    except ImportError as error:
        raise missing_in_checkout("matplotlib", "bench", error) from error
    figure = Figure(figsize=size, layout="constrained", dpi=120)
    return figure, figure.subplots(rows, columns, squeeze=False).ravel()


def save_png(figure: Any, path: Path) -> None:
    """Writes a figure as a PNG; the same figure gives the same bytes."""
    with replacing(path) as temporary, _any_script():
        # Tight, because square matrices with long names outgrow the layout.
        box = {"bbox_inches": "tight", "pad_inches": 0.1}
        figure.savefig(temporary, metadata={"Software": None}, **box)


def to_svg(figure: Any) -> str:
    """Returns a figure as SVG, cut to size; the same figure gives the same text.

    ``savefig`` would draw everything twice: this takes half the time.
    """
    import matplotlib
    from matplotlib.backends.backend_svg import FigureCanvasSVG

    style = {
        "svg.fonttype": "none",  # text stays text: small, sharp, in every script
        "svg.hashsalt": "fer-edge",
        "font.sans-serif": ["DejaVu Sans", "Arial"],
    }
    svg, nothing = io.StringIO(), dict.fromkeys(("Creator", "Date", "Format", "Type"))
    with matplotlib.rc_context(style), _any_script():
        figure.set_layout_engine("none")
        box, size = figure.get_tightbbox().padded(0.03), figure.get_size_inches()
        for axes in figure.axes:
            corners = (axes.get_position().get_points() * size - box.min) / box.size
            axes.set_position([*corners[0], *(corners[1] - corners[0])])
        figure.set_size_inches(box.size)
        FigureCanvasSVG(figure).print_svg(svg, metadata=nothing)
    return svg.getvalue()


def printable(text: str) -> str:
    """Returns text with a replacement character for what an SVG cannot contain."""
    return "".join(c if c.isprintable() else "\ufffd" for c in text)


@contextlib.contextmanager
def _any_script() -> Iterator[None]:
    """Draws names in any script: in an SVG the reader's fonts show them."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph .* missing from font")
        yield
