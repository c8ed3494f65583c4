"""The formats that can be exported, in the order in which they are shown."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from edge_runtime.errors import FerEdgeError
from export.convert import onnx_model, quantize_tflite
from export.convert.converted_model import ConvertedModel
from export.convert.quantize_tflite import Io
from export.convert.ranges import MeasuredRanges

FORMATS = {
    "float32": "TFLite, nothing is rounded",
    "float16": "TFLite, weights in float16, computed in float32: half the size",
    "dynamic-range": "TFLite, weights in int8, activations rounded while it runs",
    "int8": "TFLite, integers from pixels to logits",
    "int16x8": "TFLite, int16 activations, int8 weights: diagnostic, slow",
    "onnx-float32": "ONNX, nothing is rounded",
    "onnx-int8": "ONNX, int8 in QDQ form",
}
DEFAULT_FORMATS = ("float32", "onnx-float32")
DEFAULT_INT8_FORMATS = ("float32", "int8", "onnx-float32", "onnx-int8")
CALIBRATED = ("int8", "int16x8", "onnx-int8")
DIAGNOSTIC = "tflite-int16x8"


class FloatModels(NamedTuple):
    """The float32 models that all formats are made from."""

    tflite: bytes
    onnx: bytes


def choose_formats(names: str | None, *, int8: bool) -> tuple[str, ...]:
    """Returns the formats to export, in their order.

    Args:
        names: Comma-separated names, ``"all"``, or None for the default ones.
        int8: Without names, also the int8 formats; with names, at least int8.

    Raises:
        FerEdgeError: A name is unknown.
    """
    if names is None:
        return DEFAULT_INT8_FORMATS if int8 else DEFAULT_FORMATS
    chosen = list(FORMATS) if names == "all" else names.replace(" ", "").split(",")
    unknown = [name for name in chosen if name not in FORMATS]
    if unknown:
        raise FerEdgeError(
            f"expected formats of {', '.join(FORMATS)} or all, got {unknown[0]!r}"
        )
    if int8:
        chosen.append("int8")
    return tuple(name for name in FORMATS if name in chosen)


def needs_ranges(names: Sequence[str]) -> bool:
    """Returns whether one of the formats needs activation ranges."""
    return any(name in CALIBRATED for name in names)


def convert(
    name: str,
    floats: FloatModels,
    *,
    tflite_ranges: MeasuredRanges,
    onnx_ranges: MeasuredRanges,
    io: Io = "int8",
) -> ConvertedModel:
    """Returns the model in one format.

    Args:
        name: One of ``FORMATS``.
        floats: The float32 models.
        tflite_ranges: Activation ranges of the TFLite model, for a calibrated format.
        onnx_ranges: The same of the ONNX model.
        io: Data type of the input and output of the int8 TFLite model.
    """
    tflite, onnx = floats
    if name == "int8":
        int8 = quantize_tflite.quantize(tflite, tflite_ranges.clipped, io=io)
        return ConvertedModel("tflite-int8", int8, io)
    if name.startswith("onnx"):
        if name == "onnx-int8":
            onnx = onnx_model.quantize(onnx, onnx_ranges.clipped)
        return ConvertedModel(name, onnx)
    match name:
        case "float16":
            tflite = quantize_tflite.to_float16(tflite)
        case "dynamic-range":
            tflite = quantize_tflite.to_dynamic_range(tflite)
        case "int16x8":
            whole = tflite_ranges.whole
            tflite = quantize_tflite.quantize(tflite, whole, activation_bits=16)
    return ConvertedModel(f"tflite-{name}", tflite)
