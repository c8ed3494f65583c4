"""Draws boxes, labels and bars onto a frame, readable on any background."""

from __future__ import annotations

import heapq
import math
import unicodedata
from collections.abc import Sequence
from operator import itemgetter
from typing import NamedTuple

import cv2
import numpy as np

from edge_runtime.preprocessing import Image
from edge_runtime.results import Box, FaceResult

Colour = tuple[int, int, int]

FONT = cv2.FONT_HERSHEY_SIMPLEX
WHITE: Colour = (255, 255, 255)
BLACK: Colour = (0, 0, 0)
# Okabe and Ito's palette, also for colour-blind people, and a violet; BGR, by label
# number.
PALETTE: tuple[Colour, ...] = (
    (0, 94, 213),
    (115, 158, 0),
    (167, 121, 204),
    (66, 228, 240),
    (233, 180, 86),
    (200, 130, 40),
    (0, 159, 230),
    (189, 103, 148),
)
REFERENCE_PX = 480  # shorter side at which the sizes below hold
TEXT_SCALE = 0.55
MAX_BARS = 3
# Text is unreadable on an image whose shorter side is below the first. It is enlarged
# to at least the second, as far as the longer side stays below the third.
SMALL_PX, MIN_PX, MAX_PX = 100, 200, 1280
GREY: Colour = (160, 160, 160)  # of "uncertain", which is not a class


class _Bar(NamedTuple):
    """One line of a face's panel: its text, and the length and colour of its bar."""

    text: str
    probability: float | None  # 0..1; None for no bar
    colour: Colour


def enlarge(
    image: Image, faces: Sequence[FaceResult]
) -> tuple[Image, Sequence[FaceResult]]:
    """Returns a small image enlarged so that labels can be read on it.

    Args:
        image: uint8 (H, W, 3) BGR or (H, W) grey.
        faces: Faces in it; returned with their boxes in the larger image.
    """
    height, width = image.shape[:2]
    factor = min(math.ceil(MIN_PX / min(height, width)), MAX_PX // max(height, width))
    if min(height, width) >= SMALL_PX or factor <= 1:
        return image, faces
    size_wh = (factor * width, factor * height)
    larger = cv2.resize(image, size_wh, interpolation=cv2.INTER_CUBIC)
    scaled = []
    for face in faces:
        x, y, w, h = face.box_xywh
        box = factor * x, factor * y, factor * w, factor * h
        scaled.append(face._replace(box_xywh=box))
    return np.asarray(larger, dtype=np.uint8), scaled


def draw_regions(image: Image, regions: Sequence[tuple[str | None, Box]]) -> Image:
    """Returns a new image, uint8 (H, W, 3) BGR, with the regions that are looked at.

    What is outside of them is darker.

    Args:
        image: uint8 (H, W, 3) BGR or (H, W) grey, 0..255; not changed.
        regions: Their names and boxes in the image.
    """
    unit = max(0.5, min(image.shape[:2]) / REFERENCE_PX)
    bright = _to_bgr(image)
    canvas = bright // 2
    for _, (x, y, width, height) in regions:
        inside = slice(y, y + height), slice(x, x + width)
        canvas[inside] = bright[inside]
    for name, box in regions:
        _draw_box(canvas, box, WHITE, unit / 2)
        if name:
            line = 46 if box[1] < 34 * unit else 22  # below the frame rate
            at = box[0] + round(8 * unit), box[1] + round(line * unit)
            _put_text(canvas, _to_ascii(name), at, TEXT_SCALE * unit)
    return canvas


def draw(frame: Image, faces: Sequence[FaceResult], *, text: str = "") -> Image:
    """Returns a new image, uint8 (H, W, 3) BGR, with the faces' boxes and labels.

    Args:
        frame: uint8 (H, W, 3) BGR or (H, W) grey, 0..255; not changed.
        faces: Faces in this frame, the largest first.
        text: One line for an upper corner, such as the frame rate.
    """
    canvas = _to_bgr(frame)
    unit = max(0.5, min(canvas.shape[:2]) / REFERENCE_PX)
    panels = [
        _draw_face(canvas, face, unit) for face in reversed(faces)
    ]  # largest last
    if text:
        text, scale, x = _to_ascii(text), TEXT_SCALE * unit, round(10 * unit)
        end = x + cv2.getTextSize(text, FONT, scale, 1)[0][0]
        if any(left < end and top < 34 * unit for left, top in panels):
            x = max(x, canvas.shape[1] - end)  # the other corner is readable
        _put_text(canvas, text, (x, round(24 * unit)), scale)
    return canvas


def _to_bgr(frame: Image) -> Image:
    if frame.ndim == 3:
        return frame.copy()
    return np.asarray(cv2.cvtColor(frame, cv2.COLOR_GRAY2BGR), dtype=np.uint8)


def _draw_face(canvas: Image, face: FaceResult, unit: float) -> tuple[int, int]:
    """Draws a face's box and panel; returns the panel's upper left corner."""
    # Small faces get one bar: more would hide their neighbours.
    small = face.box_xywh[2] < 70 * unit
    bars = _bars(face, 1 if small else MAX_BARS)
    _draw_box(canvas, face.box_xywh, bars[0].colour, unit)
    return _draw_panel(canvas, face.box_xywh, bars, unit)


def _bars(face: FaceResult, count: int) -> list[_Bar]:
    """Returns the face's label and then other labels, the most probable first."""
    shown = face.decision or face
    names, label = list(shown.probabilities), shown.label
    number = "" if face.track_id is None else f"#{face.track_id} "
    bars = [_bar(names, label, shown.probabilities.get(label), number)]
    leading = heapq.nlargest(count, shown.probabilities.items(), key=itemgetter(1))
    bars += [_bar(names, name, p) for name, p in leading if name != label]
    return bars[:count]


def _bar(
    names: Sequence[str], label: str, probability: float | None, number: str = ""
) -> _Bar:
    percent = "" if probability is None else f" {round(100 * probability)} %"
    text = _to_ascii(number + label) + percent
    return _Bar(text, probability, _colour(names, label))


def _colour(names: Sequence[str], label: str) -> Colour:
    return PALETTE[names.index(label) % len(PALETTE)] if label in names else GREY


def _draw_box(canvas: Image, box: Box, colour: Colour, unit: float) -> None:
    x, y, width, height = box
    corners = (x, y), (x + width - 1, y + height - 1)
    thickness = max(1, round(2 * unit))
    cv2.rectangle(canvas, *corners, BLACK, thickness + 2, cv2.LINE_AA)
    cv2.rectangle(canvas, *corners, colour, thickness, cv2.LINE_AA)


def _draw_panel(
    canvas: Image, box: Box, bars: Sequence[_Bar], unit: float
) -> tuple[int, int]:
    """Draws one line a label on a darkened panel: a bar with its text on it."""
    line, pad = round(21 * unit), round(5 * unit)
    scale = 0.82 * TEXT_SCALE * unit
    widest = max(cv2.getTextSize(bar.text, FONT, scale, 1)[0][0] for bar in bars)
    width = max(box[2], widest + 4 * pad)
    x, y = _panel_corner(canvas, box, (width, line * len(bars)))
    panel = canvas[y : y + line * len(bars), x : x + width]
    panel[:] = panel // 3  # darker
    for number, bar in enumerate(bars):
        top = y + number * line
        length = max(1, round((bar.probability or 0.0) * width))
        end = (x + length - 1, top + line - 2)
        cv2.rectangle(canvas, (x, top + 1), end, bar.colour, cv2.FILLED)
        _put_text(canvas, bar.text, (x + pad, top + round(0.74 * line)), scale)
    return x, y


def _panel_corner(canvas: Image, box: Box, size_wh: tuple[int, int]) -> tuple[int, int]:
    """Returns where a panel goes: below the box, else above it, else inside."""
    x, y, _, box_height = box
    width, height = size_wh
    canvas_height, canvas_width = canvas.shape[:2]
    if y + box_height + height <= canvas_height:
        top = y + box_height
    elif y - height >= 0:
        top = y - height
    else:
        top = canvas_height - height
    return max(0, min(x, canvas_width - width)), max(0, top)


def _put_text(canvas: Image, text: str, at: tuple[int, int], scale: float) -> None:
    thickness, outline = max(1, round(1.4 * scale)), max(1, round(1.5 * scale))
    # Not one thicker text for the outline: OpenCV 5 makes its letters wider, too.
    steps = (-outline, 0, outline)
    for dx, dy in ((x, y) for x in steps for y in steps if x or y):
        place = (at[0] + dx, at[1] + dy)
        cv2.putText(canvas, text, place, FONT, scale, BLACK, thickness, cv2.LINE_AA)
    cv2.putText(canvas, text, at, FONT, scale, WHITE, thickness, cv2.LINE_AA)


def _to_ascii(text: str) -> str:
    """Returns text in OpenCV's font: without accents, other letters as ``?``."""
    letters = unicodedata.normalize("NFKD", text)
    plain = "".join(char for char in letters if not unicodedata.combining(char))
    return plain.encode("ascii", "replace").decode("ascii")
