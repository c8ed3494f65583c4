"""The calibration audit: do the recorded ranges fit what the model will see?"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from edge_runtime.graph.tflite import read_tflite
from export.analysis.activations import Probe
from export.analysis.graph_edit import Flatbuffer
from export.calibration.ranges import Ranges
from export.calibration.record import Representative, warnings_about

AUDITED_IMAGES = 200
CENTRAL_SHARE = 0.999
CODES = 256


@dataclass(frozen=True)
class TensorUse:
    """How a tensor's recorded range fits its values on other images.

    Attributes:
        name: The tensor.
        low: Start of the recorded range.
        high: End of it.
        saturated: Share of the values outside it, which int8 cuts off, 0..1.
        used: Share of the 256 steps between the 0.05th and 99.95th percentile of the
            values, 0..1: a small one means that a few outliers make the steps coarse.
    """

    name: str
    low: float
    high: float
    saturated: float
    used: float


def audit(
    model: bytes,
    ranges: Ranges,
    representative: Representative | None,
    compared: int,
    images: npt.NDArray[np.uint8] | None,
) -> dict[str, Any]:
    """Returns the calibration audit, JSON-ready.

    Args:
        model: The float32 TFLite model.
        ranges: The recorded activation ranges.
        representative: The images they come from; None where they are not here.
        compared: With how many evaluation images those were compared.
        images: uint8 (N, S, S, C), validation images; None where they are not here.
    """
    document: dict[str, Any] = {"images": None, "tensors": None}
    if representative is not None:
        document["images"] = {
            "source": representative.record["source"],
            "count": len(representative.images),
            "class_counts": representative.class_counts,
            "compared_with": compared,
            "overlap": 0,  # or the export had ended
            "warnings": list(warnings_about(representative)),
        }
    if images is not None and len(images):
        picks = np.linspace(0, len(images) - 1, min(AUDITED_IMAGES, len(images)))
        chosen = images[np.unique(picks.round().astype(np.int64))]
        uses = tensor_uses(model, ranges, chosen)
        document["validation_images"] = len(chosen)
        document["tensors"] = [asdict(use) for use in uses]
    return document


def tensor_uses(
    model: bytes, ranges: Ranges, images: npt.NDArray[np.uint8]
) -> list[TensorUse]:
    """Returns how the ranges fit the activations on some images, most cut off first.

    Args:
        model: The float32 TFLite model.
        ranges: Ranges by tensor name.
        images: uint8 (N, S, S, C), raw pixels.
    """
    graph, names = read_tflite(model), Flatbuffer(model).names()
    made = [one.outputs[0] for one in graph.operators]
    tensors = [index for index in made if names[index] in ranges]
    limits = [_with_zero(*ranges[names[index]]) for index in tensors]
    counts = np.zeros((len(tensors), CODES + 2), dtype=np.int64)
    probe = Probe(model, tensors)
    for image in images:
        for row, values, ends in zip(counts, probe.read(image), limits, strict=True):
            row += _histogram(values, *ends)
    uses = [
        TensorUse(names[index], *ends, *_shares(row))
        for index, ends, row in zip(tensors, limits, counts, strict=True)
    ]
    return sorted(uses, key=lambda use: -use.saturated)


def describe(document: dict[str, Any]) -> list[str]:
    """Returns the audit in lines for people."""
    images, tensors = document["images"], document["tensors"]
    if images is None:
        lines = ["calibration: ranges are as recorded, no image was read"]
    else:
        counts = images["class_counts"].values()
        lines = [
            f"calibration: {images['count']} training images of {images['source']},"
            f" {_spread(counts)} of each class; none of them is among"
            f" {images['compared_with']:,} evaluation images"
        ]
    if tensors is None:
        return [*lines, "saturation: not measured, no image was read (--audit)"]
    cut = f"{100 * tensors[0]['saturated']:.3f} %"
    coarse = min(tensors, key=lambda one: float(one["used"]))
    return [
        *lines,
        f"saturation on {document['validation_images']} validation images: at most"
        f" {cut} of a tensor's values are outside its range ({short(tensors[0])})",
        f"range usage: at least {100 * coarse['used']:.0f} % of the 256 steps hold"
        f" {CENTRAL_SHARE:.1%} of a tensor's values ({short(coarse)})",
    ]


def short(tensor: dict[str, Any]) -> str:
    """Returns the end of a tensor's name, enough to find it."""
    name = str(tensor["name"]).split(";")[-1]
    return name if len(name) <= 40 else ".." + name[-38:]


def _with_zero(low: float, high: float) -> tuple[float, float]:
    # As the quantizer does: 0.0 must be one of the steps.
    return min(0.0, low), max(0.0, high)


def _histogram(
    values: npt.NDArray[np.float32], low: float, high: float
) -> npt.NDArray[np.int64]:
    """Returns counts by step, the first and last being what lies outside."""
    step = (high - low) / (CODES - 1) or 1.0
    # Half a step outside is still rounded to the last one.
    places = np.floor((values.ravel() - low) / step + 0.5) + 1
    inside = np.clip(places, 0, CODES + 1).astype(np.int64)
    return np.bincount(inside, minlength=CODES + 2)


def _shares(counts: npt.NDArray[np.int64]) -> tuple[float, float]:
    total = max(1, int(counts.sum()))
    saturated = float(counts[0] + counts[-1]) / total
    below = np.cumsum(counts) / total
    tail = (1 - CENTRAL_SHARE) / 2
    first = max(1, int(np.searchsorted(below, tail, side="right")))
    last = min(CODES, int(np.searchsorted(below, 1 - tail)))
    return round(saturated, 7), round(max(0, last - first + 1) / CODES, 4)


def _spread(counts: Collection[int]) -> str:
    low, high = min(counts), max(counts)
    return str(low) if low == high else f"{low} to {high}"
