"""The frame of a result's HTML page: style, tables, and pictures inside the file."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from html import escape
from string import Template

import cv2
import numpy as np
import numpy.typing as npt

PAGE = Template("""\
<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>$title</title>
<style>
:root { color-scheme: light; }
body { font: 16px/1.5 system-ui, sans-serif; color: #1c2733; background: #fff;
  max-width: 76rem; margin: 0 auto; padding: 1rem; }
h1 { font-size: 1.6rem; line-height: 1.2; margin: .5rem 0; overflow-wrap: anywhere; }
h2 { font-size: 1.25rem; margin: 2.2rem 0 .5rem; overflow-wrap: anywhere; }
h3 { font-size: 1rem; margin: 1.4rem 0 .5rem; }
p { max-width: 50rem; margin: .5rem 0; }
.note { background: #fff4d6; border-left: 4px solid #c98a00; padding: .6rem .8rem;
  overflow-wrap: anywhere; }
.good { background: #e3f4e6; border-color: #2e7d32; }
.warning { background: #fde4e1; border-color: #b3261e; font-weight: 600; }
.cards, .panels, .gallery { display: flex; flex-wrap: wrap; gap: 1rem; }
.card { flex: 1 1 14rem; border: 1px solid #cfd8e0; border-radius: .5rem;
  padding: .8rem; overflow-wrap: anywhere; }
.card b { display: block; font-size: 1.9rem; line-height: 1.3; }
figure { margin: 0; }
figcaption { font-weight: 600; overflow-wrap: anywhere; }
.panels figure { flex: 1 1 20rem; max-width: 30rem; min-width: 0; }
.panels figure.wide { flex-basis: 100%; max-width: none; }
.panels figure.broad { flex: 1 1 34rem; max-width: 42rem; }
.panels svg { display: block; width: 100%; height: auto; font-family: inherit; }
.panels svg.reliability { max-width: 24rem; }
.gallery figure { flex: 0 0 10rem; min-width: 0; border: 1px solid #cfd8e0;
  border-radius: .5rem; padding: .5rem; }
.gallery img { display: block; width: 100%; image-rendering: pixelated; }
.gallery figcaption { font-weight: 400; font-size: .85rem; line-height: 1.4;
  margin-top: .3rem; }
.gallery small { display: block; color: #51606d; }
.scroll { overflow-x: auto; max-width: 100%; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; }
th, td { padding: .3rem .7rem; border-bottom: 1px solid #dde3e8; text-align: right;
  vertical-align: bottom; }
th:first-child, td:first-child { text-align: left; padding-left: 0; }
.words th, .words td { text-align: left; }
td { white-space: nowrap; }
td:first-child { white-space: normal; min-width: 9rem; }
details { margin: .5rem 0; }
summary { cursor: pointer; padding: .4rem 0; font-weight: 600; }
footer { margin-top: 2.5rem; color: #51606d; font-size: .85rem;
  overflow-wrap: anywhere; }
@media (max-width: 30rem) {
  .gallery figure { flex: 1 1 8rem; max-width: 12rem; }
  th, td { padding: .3rem .45rem; }
}
</style>
</head>
<body>
<h1>$title</h1>
$body
</body>
</html>
""")


def page(title: str, parts: Sequence[str]) -> str:
    """Returns a self-contained HTML page.

    Args:
        title: Plain text.
        parts: HTML, in order; empty ones are left out.
    """
    body = "\n".join(part for part in parts if part)
    return PAGE.substitute(title=escape(title), body=body)


def note(text: str, kind: str = "") -> str:
    """Returns plain text as a box; the kind is ``""``, ``good`` or ``warning``."""
    return f'<p class="{f"note {kind}".strip()}">{escape(text)}</p>'


def table(
    headings: Sequence[str], rows: Sequence[Sequence[str]], kind: str = "figures"
) -> str:
    """Returns a table that scrolls sideways on a narrow screen.

    Args:
        headings: Plain text.
        rows: Plain text.
        kind: ``figures`` (right-aligned after the first column) or ``words``.
    """
    head = "".join(f"<th>{escape(text)}</th>" for text in headings)
    body = "\n".join(
        "<tr>" + "".join(f"<td>{escape(text)}</td>" for text in row) + "</tr>"
        for row in rows
    )
    return (
        f'<div class="scroll"><table class="{kind}">\n'
        f"<thead><tr>{head}</tr></thead>\n<tbody>\n{body}\n</tbody></table></div>"
    )


def figure(caption: str, drawing: str, kind: str = "") -> str:
    """Returns a drawing (HTML) below its caption (plain text)."""
    return (
        f'<figure class="{kind}"><figcaption>{escape(caption)}</figcaption>'
        f'<div class="scroll">{drawing}</div></figure>'
    )


def png_address(image: npt.NDArray[np.uint8]) -> str:
    """Returns an image as a ``data:`` address, so that the page needs no other file.

    Args:
        image: uint8 (S, S, 1) grey or (S, S, 3) RGB, 0..255.
    """
    # cv2 writes BGR; reversing the one channel of a grey image changes nothing.
    done, encoded = cv2.imencode(".png", np.ascontiguousarray(image[..., ::-1]))
    if not done:
        raise ValueError(f"expected an image, got an array of shape {image.shape}")
    return "data:image/png;base64," + base64.b64encode(encoded.tobytes()).decode()
