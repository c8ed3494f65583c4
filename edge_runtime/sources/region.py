"""The parts of a frame that are looked at (``--roi``)."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from typing import NamedTuple

from edge_runtime.errors import SourceError
from edge_runtime.results import Box

_EXPECTED = (
    "expected a region as X,Y,WIDTH,HEIGHT in pixels or percent, such as"
    " 10%,20%,50%,60% or door=0,0,320,480"
)
_FORM = re.compile(r"(?:([^=,]*)=)?([^=]*)")
_NUMBER = re.compile(r"([0-9]{1,5})|([0-9]{1,3}(?:\.[0-9]{1,4})?)\s*%")
_NAME = re.compile(r"\w(?:[\w -]{0,38}\w)?")


class Region(NamedTuple):
    """A rectangle in the frames of a source, turned and mirrored where asked for.

    Attributes:
        name: None for the only one.
        text: As it was written, without the name.
        values: Left, top, width, height; of each its number, and whether that is
            percent of the frame's width or height, else pixels.
    """

    name: str | None
    text: str
    values: tuple[tuple[float, bool], ...]

    @property
    def text_with_name(self) -> str:
        """As it was written."""
        return self.text if self.name is None else f"{self.name}={self.text}"

    def box(self, frame_wh: tuple[int, int]) -> Box | None:
        """Returns its part inside a frame as left, top, width, height in pixels.

        None where it lies outside.

        Args:
            frame_wh: Width and height of the frame in pixels.
        """
        left, top, right, bottom = self._corners(frame_wh)
        right, bottom = min(right, frame_wh[0]), min(bottom, frame_wh[1])
        if right <= left or bottom <= top:
            return None
        return left, top, right - left, bottom - top

    def fits(self, frame_wh: tuple[int, int]) -> bool:
        """Returns whether all of it lies inside a frame."""
        left, top, right, bottom = self._corners(frame_wh)
        inside = right <= frame_wh[0] and bottom <= frame_wh[1]
        return inside and left < right and top < bottom

    def _corners(self, frame_wh: tuple[int, int]) -> tuple[int, int, int, int]:
        # The far edge is rounded, not the size: neighbours have no gap between them.
        x, y, width, height = (
            value * side / 100 if percent else value
            for (value, percent), side in zip(self.values, 2 * frame_wh, strict=True)
        )
        return round(x), round(y), round(x + width), round(y + height)


def parse_region(text: str) -> Region:
    """Returns the region of a text such as ``door=10%,20%,50%,60%``.

    Raises:
        SourceError: It is not such a text, or the region is empty or too large.
    """
    match = _FORM.fullmatch(text.strip())
    name, numbers = (match[1], match[2]) if match else (None, "")
    parts = [_NUMBER.fullmatch(part.strip()) for part in numbers.split(",")]
    if len(parts) != 4 or None in parts:
        raise SourceError(f"{_EXPECTED}, got {text[:80]!r}")
    if name is not None and not _NAME.fullmatch(name.strip()):
        raise SourceError(
            "expected a name of a region of up to 40 letters, digits, spaces, - and _,"
            f" got {name[:80]!r}"
        )
    values = tuple(
        (float(part[1] or part[2]), part[1] is None) for part in parts if part
    )
    if not values[2][0] or not values[3][0]:
        raise SourceError(f"expected a region that is not empty, got {text[:80]!r}")
    for (start, of_start), (size, of_size), side in zip(
        values[:2], values[2:], ("width", "height"), strict=True
    ):
        end = (start if of_start else 0.0) + (size if of_size else 0.0)
        if end > 100 and not math.isclose(end, 100):
            raise SourceError(
                f"expected a region inside the frame, got {text[:80]!r}, which ends at"
                f" {end:g} % of its {side}"
            )
    return Region(name.strip() if name else None, numbers.strip(), values)


def parse_regions(texts: Sequence[str]) -> tuple[Region, ...]:
    """Returns the regions of all texts.

    Raises:
        SourceError: One is wrong, or several do not have names of their own.
    """
    regions = tuple(map(parse_region, texts))
    names = [region.name for region in regions]
    if len(regions) > 1 and (None in names or len(set(names)) < len(names)):
        at = next(n for n, name in enumerate(names) if not name or name in names[:n])
        raise SourceError(
            "expected a different name for each region, got"
            f" {texts[at]!r}: give  --roi NAME={regions[at].text}"
        )
    return regions
