"""The page of one accuracy measurement, with its comparisons and latency."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from benchmarks.accuracy.measure import DRAWN_NAME
from benchmarks.accuracy.table import notes
from benchmarks.common.documents import Document
from benchmarks.report.charts import confusion_chart, reliability_chart
from benchmarks.report.html import Picture, png_address, render_page
from benchmarks.report.results import complete_documents
from benchmarks.report.tables import describe_conditions
from train.data.stored_images import Pixels

MAX_LISTED = 100
MAX_PHOTOS = 48
FLIP_KINDS = {
    "right_to_wrong": "right, then wrong",
    "wrong_to_right": "wrong, then right",
    "wrong_to_other_wrong": "wrong both times",
}


def render_accuracy(
    accuracy: Document, latency: Document | None = None, *, pixels: Pixels | None = None
) -> str:
    """Returns a self-contained HTML page; all text from the documents is escaped.

    Args:
        accuracy: A document ``fer-edge/accuracy/1``.
        latency: A document ``fer-edge/latency/1``, or None.
        pixels: uint8 (N, S, S, C), the images measured, for a page that shows those
            whose answer changed; they may be people's photographs.

    Raises:
        FerEdgeError: A document lacks a key of its schema.
        MissingDependencyError: jinja2 or matplotlib is not installed.
    """
    with complete_documents():
        drawn = accuracy["data"]["name"] == DRAWN_NAME
        flipped = [one["flipped_images"] for one in accuracy["comparisons"]]
        photos = [] if pixels is None else [_photos(each, pixels) for each in flipped]
        return render_page(
            "accuracy.html",
            **accuracy,
            title=f"Accuracy on {accuracy['data']['name']}",
            drawn=drawn,
            notes=notes(accuracy)[int(drawn) :],  # the first of them says it again
            confusion_charts=confusion_charts(accuracy),
            reliability_charts=[reliability_chart(one) for one in accuracy["models"]],
            photos=photos,
            photo_count=sum(map(len, photos)),
            flip_rows=[_flip_rows(each) for each in flipped],
            max_listed=MAX_LISTED,
            latency=latency,
            latency_conditions=describe_conditions(latency) if latency else "",
            latency_valid=not latency or latency.get("verdict", {}).get("valid", True),
        )


def confusion_charts(document: Document) -> list[Picture]:
    """Returns an accuracy document's confusion matrices and what changed."""
    labels = document["labels"]
    matrices = {
        model["name"]: np.array(model["confusion_matrix"], np.int64)
        for model in document["models"]
    }
    charts = [confusion_chart(*item, labels) for item in matrices.items()]
    for comparison in document["comparisons"]:
        name, reference = comparison["model"], comparison["reference"]
        pair = (reference, matrices[reference])
        charts.append(confusion_chart(name, matrices[name], labels, reference=pair))
    return charts


def _photos(flipped: Sequence[Document], pixels: Pixels) -> list[Picture]:
    return [
        Picture(
            f"true: {image['label']}\nfirst: {first}\nthen: {then}\n"
            f"{kind}; image {index}",
            f"Image {index}, {image['label']}",
            png_address(pixels[image["index"]]),
            "photo",
        )
        for image in flipped[:MAX_PHOTOS]
        for index, kind, _, first, then, _ in _flip_rows([image])
    ]


def _flip_rows(flipped: Sequence[Document]) -> list[tuple[str, ...]]:
    return [
        (
            str(image["index"]),
            FLIP_KINDS[image["kind"]],
            image["label"],
            _answer(image["reference_answer"], image["reference_margin"]),
            _answer(image["answer"], image["margin"]),
            image["name"],
        )
        for image in flipped[:MAX_LISTED]
    ]


def _answer(label: str, margin: float) -> str:
    return f"{label}, margin {100 * margin:.0f}"
