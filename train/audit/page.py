"""One self-contained page with pictures of what an audit found."""

from __future__ import annotations

import base64
import shlex
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import cv2

from edge_runtime.untrusted import one_line
from edge_runtime.utils.stderr import progress_bar
from train.audit.audit import Audit
from train.audit.findings import KINDS, ImageFault
from train.audit.labels import TOLD_APART
from train.audit.reading import decode_small
from train.audit.results import COLUMNS, by_image, csv_rows
from train.data.left_out import KEEP, LEAVE_OUT
from train.data.listing.entries import Entry

TEMPLATES = Path(__file__).parent / "templates"
THUMBNAIL_PX = 176  # longer side
JPEG_QUALITY = 80
SHOWN = {"label": 96, "copy": 48, "unreadable": 200}  # the worst of each kind
SHOWN_OTHERS = 24
SHOWN_PAIRS = 6  # of classes
EXPLANATIONS = {
    "unreadable": "Training skips them.",
    "label": "A layer that has learnt the other images gives their label little"
    " probability. Some are only hard: look at them. Where hardly anything speaks for"
    " the label, the image is left out unless you keep it.",
    "copy": "One picture again: resized, compressed, brighter, cropped or mirrored."
    " A copy in two splits makes the accuracy too good. The first of two is left out"
    " unless you keep it, the second stays.",
    "flat": "There is hardly any difference between their brightest and darkest parts.",
    "dark": "Even their brightest parts are dark.",
    "blurred": "There is little detail in them, which may be the object's nature.",
    "size": "Enlarged to the size of the others they have no detail.",
    "aspect": "Cropped to a square, most of them is lost.",
    "damaged": "JPEGs with damage: a part of the picture may be grey.",
}


@dataclass(frozen=True)
class Section:
    """The findings of one kind.

    Attributes:
        kind: One of ``KINDS``.
        title: For people.
        explanation: What it means.
        count: Number of all findings.
        shown: The worst of them.
    """

    kind: str
    title: str
    explanation: str
    count: int
    shown: list[ImageFault]


def render_page(audit: Audit, data: str) -> str:
    """Returns the page as HTML; thumbnails are read again from the open listing.

    Args:
        audit: The result.
        data: The path that the images came from, as it was given.
    """
    import jinja2

    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["one_line"] = one_line
    sections = [_section(audit, kind) for kind, count in audit.counts.items() if count]
    images = by_image(audit.findings)
    return environment.get_template("audit.html").render(
        audit=audit,
        command=f"python -m train --data {shlex.quote(data)} --leave-out audit.csv",
        sections=sections,
        pictures=_thumbnails(each for section in sections for each in section.shown),
        columns=COLUMNS,
        rows=csv_rows(audit),
        row_of={found[0].entry.name: row for row, found in enumerate(images)},
        pairs=audit.report.pairs[:SHOWN_PAIRS] if audit.report else [],
        told_apart=TOLD_APART,
        leave_out=LEAVE_OUT,
        keep=KEEP,
    )


def _section(audit: Audit, kind: str) -> Section:
    found = [each for each in audit.findings if each.kind == kind]
    most = SHOWN.get(kind, SHOWN_OTHERS)
    return Section(kind, KINDS[kind], EXPLANATIONS[kind], len(found), found[:most])


def _thumbnails(findings: Iterable[ImageFault]) -> dict[str, str]:
    """Returns ``data:`` addresses of thumbnails by the names of the images."""
    entries = dict[str, Entry]()
    for each in findings:
        if each.kind != "unreadable":
            entries[each.entry.name] = each.entry
        if each.copy_of:
            entries[each.copy_of.name] = each.copy_of
    return {
        name: thumbnail(entry)
        for name, entry in progress_bar(
            entries.items(), "reading pictures", unit="image"
        )
    }


def thumbnail(entry: Entry) -> str:
    """Returns an image as the ``data:`` address of a small JPEG."""
    try:
        pixels, _ = decode_small(entry)
    except ValueError:  # it was readable before
        return ""
    scale = THUMBNAIL_PX / max(pixels.shape[:2])
    if scale < 1:
        height, width = (max(1, round(side * scale)) for side in pixels.shape[:2])
        small = cv2.resize(pixels, (width, height), interpolation=cv2.INTER_AREA)
    else:
        small = pixels
    _, encoded = cv2.imencode(".jpg", small, [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY])
    return "data:image/jpeg;base64," + base64.b64encode(encoded.tobytes()).decode()
