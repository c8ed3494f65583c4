"""Where a file comes from and how good it is, as its metadata tell."""

from __future__ import annotations

from importlib import metadata
from typing import Any

from export.calibration.calibrate import CalibrationInputs
from export.calibration.ranges import Calibration
from export.trained_model import TrainedModel

CONVERTERS = ("tensorflow", "tensorflow-cpu", "ai-edge-quantizer", "tf2onnx", "onnx")
# What is known of files for people; the rest belongs into the report only.
RECORDED = ("count", "accuracy", "accuracy_95", "macro_f1", "agreement")


def provenance(subject: TrainedModel, record: Calibration | None) -> dict[str, Any]:
    """Returns the origin written into the files: no time and no path is in it."""
    versions = {}
    for name in CONVERTERS:
        try:
            versions[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    calibration = record.images if record else None
    return {**subject.spec.origin, "calibration": calibration, "converters": versions}


def accuracy_record(
    material: CalibrationInputs,
    reference: dict[str, Any] | None,
    figures: dict[str, Any] | None,
) -> dict[str, Any]:
    """Returns the figures written into a file; empty if they are not known.

    Args:
        material: What was exported, and the images at hand.
        reference: The Keras model's figures.
        figures: The file's.
    """
    if reference is None or figures is None:
        return {}
    own = material.own if material.data is None else None
    data = material.subject.spec.origin.get("data", {})
    name = own.name if own is not None else data.get("name", "")
    return {
        "data": name,
        "split": "validation",
        "keras": reference,
        "this_file": {key: figures[key] for key in RECORDED if key in figures},
    }
