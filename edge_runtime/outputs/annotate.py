"""Boxes, labels and bars drawn onto a frame, readable on any background."""

from __future__ import annotations

import heapq
import math
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from operator import itemgetter

import cv2
import numpy as np

from edge_runtime.preprocessing import Image
from edge_runtime.results import Box, FaceResult

Colour = tuple[int, int, int]

FONT = cv2.FONT_HERSHEY_SIMPLEX
WHITE: Colour = (255, 255, 255)
BLACK: Colour = (0, 0, 0)
# Okabe and Ito's colours, told apart by colour-blind people too; BGR, by label number.
PALETTE: tuple[Colour, ...] = (
    (0, 94, 213),
    (115, 158, 0),
    (167, 121, 204),
    (66, 228, 240),
    (233, 180, 86),
    (200, 130, 40),
    (0, 159, 230),
)
REFERENCE_PX = 480  # shorter side at which the sizes below hold
TEXT_SCALE = 0.55
MOST_BARS = 3
# On a picture whose shorter side is below the first nothing can be read: it is enlarged
# to the second or more, but the longer side not beyond the third.
SMALL_PX, LEAST_PX, LONGEST_PX = 100, 200, 1280
GREY: Colour = (160, 160, 160)  # of what is no class: uncertain


@dataclass(frozen=True)
class Row:
    """One line of a face's panel.

    Attributes:
        text: What it says.
        share: Probability, 0..1: length of its bar; None for no bar.
        colour: Of the bar, BGR.
    """

    text: str
    share: float | None
    colour: Colour

    @property
    def written(self) -> str:
        """The text as it is drawn."""
        percent = "" if self.share is None else f" {round(100 * self.share)} %"
        return _ascii(self.text) + percent


def enlarged(
    image: Image, results: Sequence[FaceResult]
) -> tuple[Image, list[FaceResult]]:
    """Returns a small picture so large that an answer can be read on it.

    Args:
        image: uint8 (H, W, 3) BGR or (H, W) grey.
        results: Faces in it; returned with their boxes in the larger one.
    """
    height, width = image.shape[:2]
    wanted = math.ceil(LEAST_PX / min(height, width))
    factor = min(wanted, LONGEST_PX // max(height, width))
    if min(height, width) >= SMALL_PX or factor <= 1:
        return image, list(results)
    size_wh = (factor * width, factor * height)
    larger = cv2.resize(image, size_wh, interpolation=cv2.INTER_CUBIC)
    moved = [one._replace(box_xywh=_times(one.box_xywh, factor)) for one in results]
    return np.asarray(larger, dtype=np.uint8), moved


def _times(box: Box, factor: int) -> Box:
    x, y, width, height = box
    return factor * x, factor * y, factor * width, factor * height


def draw(frame: Image, results: Sequence[FaceResult], *, text: str = "") -> Image:
    """Returns a new frame, uint8 (H, W, 3) BGR, with every face's answer on it.

    Args:
        frame: uint8 (H, W, 3) BGR or (H, W) grey, 0..255; not changed.
        results: Faces in this frame.
        text: One line for the upper left corner, such as the frame rate.
    """
    canvas = _as_bgr(frame)
    unit = max(0.5, min(canvas.shape[:2]) / REFERENCE_PX)
    for result in reversed(results):  # the largest face on top
        _draw_face(canvas, result, unit)
    if text:
        at = (round(10 * unit), round(24 * unit))
        _put_text(canvas, text, at, TEXT_SCALE * unit)
    return canvas


def _as_bgr(frame: Image) -> Image:
    if frame.ndim == 3:
        return frame.copy()
    return np.asarray(cv2.cvtColor(frame, cv2.COLOR_GRAY2BGR), dtype=np.uint8)


def _draw_face(canvas: Image, result: FaceResult, unit: float) -> None:
    # Small faces get the answer alone: bars would hide their neighbours.
    small = result.box_xywh[2] < 70 * unit
    rows = _rows(result, 1 if small else MOST_BARS)
    _draw_box(canvas, result.box_xywh, rows[0].colour, unit)
    _draw_panel(canvas, result.box_xywh, rows, unit)


def _rows(result: FaceResult, most: int) -> list[Row]:
    """Returns the answer and then the other labels, the most probable first."""
    said = result.decision
    label = said.label if said else result.label
    shown = said.probabilities if said else result.probabilities
    names = list(shown)
    number = "" if result.track_id is None else f"#{result.track_id} "
    rows = [Row(number + label, shown.get(label), _colour(names, label))]
    leading = heapq.nlargest(most, shown.items(), key=itemgetter(1))
    others = [(name, p) for name, p in leading if name != label]
    rows += [Row(name, p, _colour(names, name)) for name, p in others]
    return rows[:most]


def _colour(names: Sequence[str], label: str) -> Colour:
    return PALETTE[names.index(label) % len(PALETTE)] if label in names else GREY


def _draw_box(canvas: Image, box: Box, colour: Colour, unit: float) -> None:
    x, y, width, height = box
    ends = (x, y), (x + width - 1, y + height - 1)
    thick = max(1, round(2 * unit))
    cv2.rectangle(canvas, *ends, BLACK, thick + 2, cv2.LINE_AA)
    cv2.rectangle(canvas, *ends, colour, thick, cv2.LINE_AA)


def _draw_panel(canvas: Image, box: Box, rows: Sequence[Row], unit: float) -> None:
    """Draws one line a class on a darkened panel: a bar with its text on it."""
    line, pad = round(21 * unit), round(5 * unit)
    scale = 0.82 * TEXT_SCALE * unit
    texts = [row.written for row in rows]
    widest = max(cv2.getTextSize(text, FONT, scale, 1)[0][0] for text in texts)
    width = max(box[2], widest + 4 * pad)
    x, y = _panel_corner(canvas, box, (width, line * len(rows)))
    _darken(canvas, (x, y, width, line * len(rows)))
    for number, (text, row) in enumerate(zip(texts, rows, strict=True)):
        top = y + number * line
        end = (x + max(1, round((row.share or 0.0) * width)) - 1, top + line - 2)
        cv2.rectangle(canvas, (x, top + 1), end, row.colour, cv2.FILLED)
        _put_text(canvas, text, (x + pad, top + round(0.74 * line)), scale)


def _panel_corner(canvas: Image, box: Box, size_wh: tuple[int, int]) -> tuple[int, int]:
    """Returns where a panel goes: below the box, else above it, else inside."""
    x, y, _, height = box
    width, tall = size_wh
    canvas_height, canvas_width = canvas.shape[:2]
    if y + height + tall <= canvas_height:
        top = y + height
    elif y - tall >= 0:
        top = y - tall
    else:
        top = canvas_height - tall
    return max(0, min(x, canvas_width - width)), max(0, top)


def _darken(canvas: Image, box: Box) -> None:
    x, y, width, height = box
    part = canvas[y : y + height, x : x + width]
    part[:] = part // 3


def _put_text(canvas: Image, text: str, at: tuple[int, int], scale: float) -> None:
    thick = max(1, round(1.4 * scale))
    outline = thick + max(2, round(3 * scale))
    cv2.putText(canvas, _ascii(text), at, FONT, scale, BLACK, outline, cv2.LINE_AA)
    cv2.putText(canvas, _ascii(text), at, FONT, scale, WHITE, thick, cv2.LINE_AA)


def _ascii(text: str) -> str:
    """Returns text that OpenCV's font has: accents dropped, other letters as ``?``."""
    plain = unicodedata.normalize("NFKD", text)
    bare = "".join(one for one in plain if not unicodedata.combining(one))
    return bare.encode("ascii", "replace").decode("ascii")
