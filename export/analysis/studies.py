"""What can be asked about the int8 model: seed spread, layers, and exceptions."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from edge_runtime.errors import DatasetError
from export.analysis.debugger import LayerError, measure_layers
from export.analysis.mixed import Step, find_exceptions
from export.calibration.calibrate import DEFAULT_COUNT, CalibrationInputs
from export.calibration.ranges import Calibration
from export.calibration.record import Representative
from export.calibration.spread import seed_spread
from export.convert.recipes import quantize
from export.options import ExportOptions
from export.package import ConvertedModel, model_logits
from export.report.latency import median_ms
from train.data.splits import Split

Say = Callable[[str], None]
MIXED = "tflite-mixed"


@dataclass(frozen=True)
class Int8Analysis:
    """The answers.

    Attributes:
        spread: Accuracy over calibration seeds, JSON-ready; None if not asked.
        layers: The layers, the worst first; None if not asked.
        steps: Attempts to hold the bound; None if not asked.
        max_drop: The bound, in points.
        latencies_ms: Median time of the float model and of each step.
    """

    spread: dict[str, Any] | None = None
    layers: list[LayerError] | None = None
    steps: list[Step] | None = None
    max_drop: float = 0.0
    latencies_ms: list[float] = field(default_factory=list)

    @property
    def passed(self) -> bool:
        """False where a bound was asked for and no step holds it."""
        return self.steps is None or self.steps[-1].drop_points <= self.max_drop

    @property
    def drafts(self) -> list[ConvertedModel]:
        """The model with exceptions, if it takes any and holds the bound."""
        if not self.steps or not self.passed or not self.steps[-1].layers:
            return []
        return [ConvertedModel(MIXED, self.steps[-1].model)]


def study(
    material: CalibrationInputs,
    model: bytes,
    record: Calibration,
    asked: ExportOptions,
    say: Say,
) -> Int8Analysis:
    """Returns the answers to what was asked.

    Args:
        material: Model and images.
        model: The float32 TFLite model.
        record: Its activation ranges.
        asked: What to find out.
        say: Called with a line about each step.

    Raises:
        DatasetError: The images it takes are not here.
    """
    spread = layers = None
    if asked.audit:
        spread = _spread(material, model, record, say)
    ranged = asked.max_drop is not None
    if asked.debug_layers or ranged:
        images = _images(material)
        say("measuring the error of each layer")
        names = [layer.name for layer in material.subject.model.layers]
        int8 = quantize(model, record.tflite.clipped)
        layers = measure_layers(model, int8, images.images, names)
    if asked.max_drop is None or layers is None:
        return Int8Analysis(spread, layers)
    say(f"looking for exceptions until the drop is within {asked.max_drop:g} points")
    split = _evaluation(material)
    steps = find_exceptions(
        model,
        record.tflite.clipped,
        layers,
        _images(material).images,
        score=_scorer(split),
        float_accuracy=_scorer(split)(model),
        max_drop=asked.max_drop,
        most=asked.float_layers,
    )
    shape = material.subject.spec.input_shape
    drafts = [
        ConvertedModel("tflite-float32", model),
        *(ConvertedModel(MIXED, s.model) for s in steps),
    ]
    shown = layers if asked.debug_layers else None
    return Int8Analysis(spread, shown, steps, asked.max_drop, median_ms(drafts, shape))


def layer_records(layers: Sequence[LayerError]) -> list[dict[str, Any]]:
    """Returns the layers' errors, JSON-ready."""
    return [
        {
            "layer": one.layer.label,
            "operator": one.layer.operator,
            "answer_snr_db": one.answer_snr_db,
            "own_snr_db": one.own_snr_db,
            "error_steps": one.error_steps,
            "whole_snr_db": one.whole_snr_db,
            "lost_channels": one.lost_channels,
            "channels": one.channels,
            "step": one.layer.step,
        }
        for one in layers
    ]


def step_records(found: Int8Analysis) -> list[dict[str, Any]]:
    """Returns the attempts, JSON-ready."""
    return [
        {
            "float_layers": list(step.layers),
            "float_operators": step.operators,
            "accuracy": round(step.accuracy, 5),
            "drop_points": step.drop_points,
            "bytes": len(step.model),
            "latency_ms": latency,
            "holds": step.drop_points <= found.max_drop,
        }
        for step, latency in zip(found.steps or [], found.latencies_ms[1:], strict=True)
    ]


def _spread(
    material: CalibrationInputs, model: bytes, record: Calibration, say: Say
) -> dict[str, Any]:
    source = material.own or material.data
    if source is None:
        raise _missing_images("--audit")
    count = int(record.images.get("count", DEFAULT_COUNT))
    return seed_spread(model, source, count, _scorer(_evaluation(material)), say)


def _scorer(split: Split) -> Callable[[bytes], float]:
    def score(model: bytes) -> float:
        answers = model_logits(ConvertedModel(MIXED, model), split.images).argmax(
            axis=1
        )
        return float(np.mean(answers == split.labels))

    return score


def _images(material: CalibrationInputs) -> Representative:
    if material.representative is None:
        raise _missing_images("the layer debugger")
    return material.representative


def _evaluation(material: CalibrationInputs) -> Split:
    if material.evaluation is None:
        raise _missing_images("the accuracy on validation images")
    return material.evaluation


def _missing_images(what: str) -> DatasetError:
    return DatasetError(
        f"{what} needs images, and those the model was trained on are not here: name"
        " a labelled image set with --calibration-data PATH"
    )
