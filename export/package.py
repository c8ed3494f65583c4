"""Makes model files of converted models: metadata, golden vectors and origin."""

from __future__ import annotations

from dataclasses import replace
from importlib import metadata
from typing import Any

import numpy as np

from edge_runtime.errors import ModelError
from edge_runtime.graph.tflite import read_tflite
from edge_runtime.model_file.container import attach
from edge_runtime.model_file.metadata import GoldenVectors, ModelSpec, golden_patterns
from export.calibration.calibrate import CalibrationInputs
from export.calibration.record import CalibrationRecord
from export.convert.converted_model import ConvertedModel
from export.trained_model import TrainedModel

# Between libraries, kernels round differently: measured on these networks, int8 logits
# differ by up to a few steps on the golden patterns. A swapped colour order or a wrong
# scale changes them by tens.
INT8_STEPS_ELSEWHERE = 12
# Share of the largest golden logit. float32 sums differ in their last digits; ONNX
# Runtime picks int8 kernels by CPU, and some of them saturate.
FLOAT_TOLERANCE = 1e-4
ONNX_INT8_TOLERANCE = 0.1
# 16 bits: 1 step apart in all networks measured; a step is 1/65536 of the range.
INT16_STEPS_ELSEWHERE = 64
# Activations are rounded by what the float sums before them gave, so the last digit of
# a sum may move a value by a step. Between ai-edge-litert and tflite-runtime 0.5 % of
# the largest logit was measured.
ROUNDED_TOLERANCE, ROUNDED_ELSEWHERE = 0.02, 0.1
# Large images have fewer golden vectors, so that the metadata stay within its limit.
LARGE_PX, FEW_PATTERNS = 512, 2

CONVERTERS = ("tensorflow", "tensorflow-cpu", "ai-edge-quantizer", "tf2onnx", "onnx")
# The figures that a file contains; the others are in the report only.
RECORDED = ("count", "accuracy", "accuracy_95", "macro_f1", "agreement")


def file_bytes(spec: ModelSpec, converted: ConvertedModel) -> bytes:
    """Returns the bytes of a model file."""
    return attach(converted.model, spec.to_document(), converted.kind)


def with_golden(spec: ModelSpec, converted: ConvertedModel) -> ModelSpec:
    """Returns the metadata of a file: its format, and its golden vectors.

    Raises:
        ModelError: The model does not load, or its logits are not finite.
    """
    backend = converted.open()
    inputs = golden_patterns(spec)
    if spec.size_px > LARGE_PX:
        inputs = inputs[:FEW_PATTERNS]
    logits = backend.logits(inputs)
    if not np.isfinite(logits).all():
        raise ModelError(f"{converted.format}: the logits are not finite")
    largest = max(1.0, float(np.abs(logits).max()))
    here, elsewhere = _tolerances(converted, largest)
    golden = GoldenVectors(
        inputs,
        logits,
        backend.name,
        backend.version,
        round(here, 6),
        round(elsewhere, 6),
    )
    return replace(spec, format=converted.format, golden=golden)


def provenance(
    trained: TrainedModel, record: CalibrationRecord | None
) -> dict[str, Any]:
    """Returns the origin that files contain; no time and no path is in it."""
    versions = {}
    for name in CONVERTERS:
        try:
            versions[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    calibration = record.images if record else None
    return {**trained.spec.origin, "calibration": calibration, "converters": versions}


def accuracy_record(
    inputs: CalibrationInputs,
    reference: dict[str, Any] | None,
    figures: dict[str, Any] | None,
) -> dict[str, Any]:
    """Returns the figures that a file contains; empty where they are not known.

    Args:
        inputs: The trained model and the images.
        reference: The Keras model's figures.
        figures: The file's.
    """
    if reference is None or figures is None:
        return {}
    user_data = inputs.user_data if inputs.run_data is None else None
    data = inputs.trained.spec.origin.get("data", {})
    return {
        "data": user_data.name if user_data is not None else data.get("name", ""),
        "split": "validation",
        "keras": reference,
        "this_file": {key: figures[key] for key in RECORDED if key in figures},
    }


def _tolerances(converted: ConvertedModel, largest: float) -> tuple[float, float]:
    """Returns by how much a logit may differ, in the same and in other libraries.

    Args:
        converted: The model.
        largest: The largest golden logit, at least 1.
    """
    if converted.format == "onnx-int8":
        return ONNX_INT8_TOLERANCE * largest, ONNX_INT8_TOLERANCE * largest
    if not converted.quantized:
        return FLOAT_TOLERANCE * largest, FLOAT_TOLERANCE * largest
    if converted.short_format in ("int8", "int16x8"):
        # The same integers on every CPU, so nothing is allowed to differ.
        int8 = converted.short_format == "int8"
        steps = INT8_STEPS_ELSEWHERE if int8 else INT16_STEPS_ELSEWHERE
        return 0.0, steps * _logit_step(converted.model)
    return ROUNDED_TOLERANCE * largest, ROUNDED_ELSEWHERE * largest


def _logit_step(model: bytes) -> float:
    """Returns the step between logits of an integer TFLite model.

    Where the output is dequantized inside, the step of its source.
    """
    graph = read_tflite(model)
    output = graph.outputs[0]
    if not len(graph.tensors[output].scales):
        output = graph.producers[output].inputs[0]
    return float(graph.tensors[output].scales[0])
