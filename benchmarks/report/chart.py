"""Axes, ticks and text of the pictures on the page of all results."""

from __future__ import annotations

import math
from dataclasses import dataclass
from html import escape

from benchmarks.report.line_svg import COLOURS, DARK, GREY

__all__ = ["COLOURS", "DARK", "GREY", "Axis", "nice_ticks", "svg", "text"]


@dataclass(frozen=True)
class Axis:
    """From a value to a position.

    Attributes:
        low: Value at the beginning.
        high: Value at the end.
        length: Pixels between them.
        logarithmic: Equal factors are equally far apart.
    """

    low: float
    high: float
    length: float
    logarithmic: bool = False

    def at(self, value: float) -> float:
        """Returns how many pixels from the beginning a value is, inside the axis."""
        inside = min(max(value, self.low), self.high)
        if self.logarithmic:
            span = math.log(self.high / self.low)
            return self.length * math.log(inside / self.low) / span
        return self.length * (inside - self.low) / (self.high - self.low)

    def ticks(self) -> list[float]:
        """Returns round values along the axis."""
        if not self.logarithmic:
            return nice_ticks(self.low, self.high)
        decades = range(
            math.floor(math.log10(self.low)), 1 + math.ceil(math.log10(self.high))
        )
        wide = self.high / self.low > 30
        steps = (1,) if wide else (1, 2, 5)
        all_ticks = [step * 10.0**decade for decade in decades for step in steps]
        return [
            one for one in all_ticks if self.low <= one * 1.0001 and one <= self.high
        ]


def nice_ticks(low: float, high: float, count: int = 5) -> list[float]:
    """Returns about so many round values between two."""
    rough = (high - low) / count
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(s * power for s in (1, 2, 2.5, 5, 10) if s * power >= rough * 0.999)
    first = math.ceil(low / step - 1e-9)
    return [n * step for n in range(first, math.floor(high / step + 1e-9) + 1)]


def svg(
    body: str,
    *,
    view: tuple[float, float, float, float],
    name: str,
    least_px: int = 320,
) -> str:
    """Returns an SVG that fills its column; narrower than ``least_px`` it scrolls.

    Args:
        body: SVG elements.
        view: Left, top, width and height of what is shown.
        name: What it is of, for those who do not see it.
        least_px: Smallest readable width.
    """
    box = " ".join(f"{value:g}" for value in view)
    return (
        f'<svg style="min-width:{least_px}px" viewBox="{box}" font-size="13"'
        f' fill="{DARK}" role="img" aria-label="{escape(name)}">{body}</svg>'
    )


def text(x: float, y: float, said: str, anchor: str = "start", more: str = "") -> str:
    """Returns a text element; the text is escaped.

    Args:
        x: Pixels.
        y: Pixels, of the line the text stands on.
        said: Plain text.
        anchor: ``start``, ``middle`` or ``end``.
        more: Further attributes.
    """
    place = f'x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}"'
    return f"<text {place} {more}>{escape(said)}</text>"
