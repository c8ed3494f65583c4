"""The calibration audit: do the recorded ranges fit the values on other images?"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from export.calibration.activations import tflite_reader
from export.calibration.calibrate import CalibrationInputs
from export.calibration.representative import collect_warnings
from train.quantization.ranges import Ranges

AUDITED_IMAGES = 200
CENTRAL_SHARE = 0.999
STEPS = 256


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


def audit(model: bytes, ranges: Ranges, inputs: CalibrationInputs) -> dict[str, Any]:
    """Returns the calibration audit, JSON-ready.

    Args:
        model: The float32 TFLite model.
        ranges: The recorded activation ranges.
        inputs: The images, as far as they are here.
    """
    document: dict[str, Any] = {"images": None, "tensors": None}
    representative, evaluation = inputs.representative, inputs.evaluation
    if representative is not None:
        document["images"] = {
            "source": representative.record["source"],
            "count": len(representative.images),
            "class_counts": representative.class_counts,
            "compared_with": inputs.compared,
            "overlap": 0,  # any other number is an error before
            "warnings": list(collect_warnings(representative)),
        }
    if evaluation is not None and len(evaluation.images):
        images = evaluation.images
        indices = np.linspace(0, len(images) - 1, min(AUDITED_IMAGES, len(images)))
        images = images[np.unique(indices.round().astype(np.int64))]
        uses = measure_use(model, ranges, images)
        document["validation_images"] = len(images)
        document["tensors"] = [asdict(use) for use in uses]
    return document


def measure_use(
    model: bytes, ranges: Ranges, images: npt.NDArray[np.uint8]
) -> list[TensorUse]:
    """Returns how the ranges fit the activations on some images, most cut off first.

    Args:
        model: The float32 TFLite model.
        ranges: Ranges by tensor name.
        images: uint8 (N, S, S, C), raw pixels.
    """
    reader = tflite_reader(model)
    counts: dict[str, npt.NDArray[np.int64]] = {}
    for image in images:
        for name, values in reader.read(image).items():
            if name != reader.input and name in ranges:
                histogram = _histogram(values, *_with_zero(*ranges[name]))
                counts[name] = counts.get(name, 0) + histogram
    uses = [
        TensorUse(name, *_with_zero(*ranges[name]), *_shares(histogram))
        for name, histogram in counts.items()
    ]
    return sorted(uses, key=lambda use: -use.saturated)


def _with_zero(low: float, high: float) -> tuple[float, float]:
    # As the quantizer does: 0.0 must be one of the steps.
    return min(0.0, low), max(0.0, high)


def _histogram(
    values: npt.NDArray[np.float32], low: float, high: float
) -> npt.NDArray[np.int64]:
    """Returns counts by step; the first and the last are of values outside."""
    step = (high - low) / (STEPS - 1) or 1.0
    # Half a step outside is still rounded to the last one.
    places = np.floor((values.ravel() - low) / step + 0.5) + 1
    inside = np.clip(places, 0, STEPS + 1).astype(np.int64)
    return np.bincount(inside, minlength=STEPS + 2)


def _shares(counts: npt.NDArray[np.int64]) -> tuple[float, float]:
    """Returns the shares of values outside the range and of steps in use."""
    total = max(1, int(counts.sum()))
    saturated = float(counts[0] + counts[-1]) / total
    below = np.cumsum(counts) / total
    tail = (1 - CENTRAL_SHARE) / 2
    first = max(1, int(np.searchsorted(below, tail, side="right")))
    last = min(STEPS, int(np.searchsorted(below, 1 - tail)))
    return round(saturated, 7), round(max(0, last - first + 1) / STEPS, 4)
