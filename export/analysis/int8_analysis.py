"""Examines the int8 model: calibration seeds, layers, and layers kept in float."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from edge_runtime.errors import DatasetError
from export.analysis.debugger import LayerError, measure_layers
from export.analysis.latency import median_latency_ms
from export.analysis.mixed import Attempt, find_exceptions
from export.calibration.activations import tflite_reader
from export.calibration.calibrate import DEFAULT_COUNT, CalibrationInputs
from export.calibration.measure import measure_ranges
from export.calibration.record import CalibrationRecord
from export.calibration.representative import Representative, select_images
from export.convert.converted_model import ConvertedModel
from export.convert.formats import MIXED
from export.convert.quantize_tflite import quantize
from export.options import ExportOptions, Log
from train.data.splits import Split, in_batches

SEEDS = (1, 2, 3, 4, 5)
BATCH = 256  # images in memory


@dataclass(frozen=True)
class Int8Analysis:
    """The results of the analysis.

    Attributes:
        spread: Accuracy over calibration seeds, JSON-ready; None if not measured.
        layers: The layers, the worst first; None if not measured.
        attempts: Models with layers in float, until the accuracy is within
            ``max_drop``; None without such a limit.
        max_drop: Largest allowed drop of the accuracy, in points.
        latencies_ms: Median time of the float model and of each attempt.
    """

    spread: dict[str, Any] | None = None
    layers: list[LayerError] | None = None
    attempts: list[Attempt] | None = None
    max_drop: float = 0.0
    latencies_ms: list[float] = field(default_factory=list)

    @property
    def passed(self) -> bool:
        """False where there is a limit and no attempt is within it."""
        return self.attempts is None or self.attempts[-1].drop_points <= self.max_drop

    @property
    def mixed_models(self) -> list[ConvertedModel]:
        """The model with layers in float, if it is needed and within the limit."""
        if not self.attempts or not self.passed or not self.attempts[-1].layers:
            return []
        return [ConvertedModel(MIXED, self.attempts[-1].model)]


def analyze_int8(
    inputs: CalibrationInputs,
    model: bytes,
    record: CalibrationRecord,
    options: ExportOptions,
    log: Log,
) -> Int8Analysis:
    """Returns what the options ask for.

    Args:
        inputs: The trained model and the images.
        model: The float32 TFLite model.
        record: Its activation ranges.
        options: What to measure.
        log: Called with a line about each step.

    Raises:
        DatasetError: The images it needs are not here.
    """
    spread = _seed_spread(inputs, model, record, log) if options.audit else None
    max_drop = options.max_drop
    if not options.debug_layers and max_drop is None:
        return Int8Analysis(spread)
    images = _representative(inputs).images
    log("measuring the error of each layer")
    names = [layer.name for layer in inputs.trained.model.layers]
    int8 = quantize(model, record.tflite.clipped, means=record.tflite.means)
    layers = measure_layers(model, int8, images, names)
    if max_drop is None:
        return Int8Analysis(spread, layers)
    log(f"looking for exceptions until the drop is within {max_drop:g} points")
    split = _evaluation(inputs)
    attempts = find_exceptions(
        model,
        record.tflite,
        layers,
        images,
        measure_accuracy=lambda mixed: _accuracy(mixed, split),
        float_accuracy=_accuracy(model, split),
        max_drop=max_drop,
        most=options.float_layers,
    )
    models = [ConvertedModel("tflite-float32", model)]
    models += [ConvertedModel(MIXED, attempt.model) for attempt in attempts]
    latencies_ms = median_latency_ms(models, inputs.trained.spec.input_shape)
    shown = layers if options.debug_layers else None
    return Int8Analysis(spread, shown, attempts, max_drop, latencies_ms)


def _seed_spread(
    inputs: CalibrationInputs, model: bytes, record: CalibrationRecord, log: Log
) -> dict[str, Any]:
    """Returns the int8 accuracy over five calibration seeds, JSON-ready."""
    data = inputs.user_data or inputs.run_data
    if data is None:
        raise _missing_images("--audit")
    count = int(record.images.get("count", DEFAULT_COUNT))
    split, reader = _evaluation(inputs), tflite_reader(model)
    accuracies = []
    for seed in SEEDS:
        images = select_images(data, count, seed).images
        measured = measure_ranges(reader, images)
        int8 = quantize(model, measured.clipped, means=measured.means)
        accuracies.append(_accuracy(int8, split))
        log(f"audit: calibration seed {seed}, int8 accuracy {accuracies[-1]:.2%}")
    return {
        "seeds": list(SEEDS),
        "images": count,
        "accuracy": [round(accuracy, 5) for accuracy in accuracies],
        "mean": round(float(np.mean(accuracies)), 5),
        "sd": round(float(np.std(accuracies, ddof=1)), 5),
        "min": round(min(accuracies), 5),
        "max": round(max(accuracies), 5),
    }


def _accuracy(model: bytes, split: Split) -> float:
    """Returns a TFLite model's accuracy on labelled images, 0..1."""
    opened = ConvertedModel(MIXED, model).open()
    logits = np.concatenate([opened.logits(b) for b in in_batches(split.images, BATCH)])
    return float(np.mean(logits.argmax(axis=1) == split.labels))


def _representative(inputs: CalibrationInputs) -> Representative:
    if inputs.representative is None:
        raise _missing_images("the layer debugger")
    return inputs.representative


def _evaluation(inputs: CalibrationInputs) -> Split:
    if inputs.evaluation is None:
        raise _missing_images("the accuracy on validation images")
    return inputs.evaluation


def _missing_images(purpose: str) -> DatasetError:
    return DatasetError(
        f"{purpose} needs images, and those the model was trained on are not here: name"
        " a labelled image set with --calibration-data PATH"
    )
