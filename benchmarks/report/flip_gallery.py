"""The images whose answer changed, as a part of a page: a list, and pictures of them.

The pictures may be people's photographs. They are only in a page whose writer asked
for them, and the page says so.
"""

from __future__ import annotations

from html import escape

import numpy as np
import numpy.typing as npt

from benchmarks.common.documents import Document
from benchmarks.report.html import note, png_address, table

MOST_LISTED = 100
MOST_PICTURES = 48
KIND_NAMES = {
    "right_to_wrong": "right, then wrong",
    "wrong_to_right": "wrong, then right",
    "wrong_to_other_wrong": "wrong both times",
}
ORDER = (
    "The worst first: what was right and is wrong, and among these where the answer"
    " moved furthest. The lead of an answer is the difference of its probability and"
    " the next one's, in points: with two small leads, rounding decided a tie."
)


def pictures_note(document: Document, *, drawn: bool) -> str:
    """Returns the box that says which pictures are in the page."""
    count = sum(
        min(MOST_PICTURES, len(one["flipped_images"]))
        for one in document["comparisons"]
    )
    name = document["data"]["name"]
    if drawn:
        return note(f"This page contains {count} pictures of the data: drawn faces.")
    return note(
        f"This page contains {count} pictures of the data ({name}). They may be"
        " photographs of people: give the page to nobody who may not see them.",
        "warning",
    )


def flip_section(comparison: Document, pixels: npt.NDArray[np.uint8] | None) -> str:
    """Returns the flipped images of one comparison as HTML.

    Args:
        comparison: One of an accuracy document's comparisons.
        pixels: uint8 (N, S, S, C), the images that were measured, or None for a page
            without pictures.
    """
    flipped = comparison["flipped_images"]
    if not flipped:
        return "<p>No image got another answer.</p>"
    parts = [f"<h3>Flipped images</h3>\n<p>{escape(ORDER)}</p>"]
    if pixels is None:
        parts.append(
            "<p>Their pictures are left out; --with-pictures puts them here.</p>"
        )
    else:
        parts.append(_gallery(comparison, pixels))
    return "\n".join([*parts, _list(comparison)])


def _gallery(comparison: Document, pixels: npt.NDArray[np.uint8]) -> str:
    shown = comparison["flipped_images"][:MOST_PICTURES]
    figures = "\n".join(_picture(one, pixels[one["index"]]) for one in shown)
    return f'<div class="gallery">\n{figures}\n</div>'


def _picture(one: Document, image: npt.NDArray[np.uint8]) -> str:
    label = escape(one["label"])
    return (
        f'<figure><img src="{png_address(image)}" alt="Image {one["index"]}, {label}">'
        f"<figcaption>true: <b>{label}</b><br>"
        f"first: {_answer(one['reference_answer'], one['reference_margin'])}<br>"
        f"then: {_answer(one['answer'], one['margin'])}"
        f"<small>{KIND_NAMES[one['kind']]}; image {one['index']}</small>"
        "</figcaption></figure>"
    )


def _answer(label: str, margin: float) -> str:
    return f"{escape(label)}, lead {100 * margin:.0f}"


def _list(comparison: Document) -> str:
    flipped = comparison["flipped_images"]
    rows = [
        [
            str(one["index"]),
            KIND_NAMES[one["kind"]],
            one["label"],
            f"{one['reference_answer']}, lead {100 * one['reference_margin']:.0f}",
            f"{one['answer']}, lead {100 * one['margin']:.0f}",
            one["name"],
        ]
        for one in flipped[:MOST_LISTED]
    ]
    shown = "all" if len(rows) == len(flipped) else f"{len(rows)} of"
    headings = ["index", "change", "true class", "first", "then", "image"]
    return (
        f"<details><summary>List: {shown} {len(flipped):,} flipped images</summary>\n"
        + table(headings, rows, "words")
        + "\n</details>"
    )
