"""The formats that can be exported, in the order in which they are shown."""

from __future__ import annotations

from collections.abc import Sequence

from edge_runtime.errors import FerEdgeError
from export.calibration.ranges import Calibration, Ranges
from export.convert import onnx_model, recipes
from export.convert.recipes import Io
from export.package import ConvertedModel

FORMATS = {
    "float32": "TFLite, nothing is rounded",
    "float16": "TFLite, weights in float16, computed in float32: half the size",
    "dynamic-range": "TFLite, weights in int8, activations rounded while it runs",
    "int8": "TFLite, integers from pixels to logits",
    "int16x8": "TFLite, int16 activations, int8 weights: diagnostic, slow",
    "onnx-float32": "ONNX, nothing is rounded",
    "onnx-int8": "ONNX, int8 in QDQ form",
}
FLOAT_FORMATS = ("float32", "onnx-float32")
INT8_FORMATS = ("float32", "int8", "onnx-float32", "onnx-int8")
CALIBRATED = ("int8", "int16x8", "onnx-int8")
DIAGNOSTIC = "tflite-int16x8"
IOS: tuple[Io, ...] = ("int8", "uint8", "float32")


def choose_formats(names: str | None, *, int8: bool) -> tuple[str, ...]:
    """Returns the formats to export, in their order.

    Args:
        names: Comma-separated names, ``"all"``, or None for the usual ones.
        int8: Without names, also the int8 formats; with names, at least int8.

    Raises:
        FerEdgeError: A name is unknown.
    """
    if names is None:
        return INT8_FORMATS if int8 else FLOAT_FORMATS
    wanted = list(FORMATS) if names == "all" else names.replace(" ", "").split(",")
    unknown = [name for name in wanted if name not in FORMATS]
    if unknown:
        raise FerEdgeError(
            f"expected formats of {', '.join(FORMATS)} or all, got {unknown[0]!r}"
        )
    if int8:
        wanted.append("int8")
    return tuple(name for name in FORMATS if name in wanted)


def needs_ranges(names: Sequence[str]) -> bool:
    """Returns whether one of the formats needs activation ranges."""
    return any(name in CALIBRATED for name in names)


def make_draft(
    name: str, floats: tuple[bytes, bytes], record: Calibration | None, io: Io
) -> ConvertedModel:
    """Returns the model in one format.

    Args:
        name: One of ``FORMATS``.
        floats: The float32 TFLite and ONNX models.
        record: Activation ranges; None where no format needs them.
        io: Type of the input and output of the int8 TFLite model.
    """
    tflite, onnx = floats
    none: Ranges = {}
    ranges = record.tflite.clipped if record else none
    match name:
        case "float32":
            return ConvertedModel("tflite-float32", tflite)
        case "float16":
            return ConvertedModel("tflite-float16", recipes.to_float16(tflite))
        case "dynamic-range":
            return ConvertedModel(
                "tflite-dynamic-range", recipes.to_dynamic_range(tflite)
            )
        case "int8":
            return ConvertedModel(
                "tflite-int8", recipes.quantize(tflite, ranges, io=io), io
            )
        case "int16x8":
            whole = record.tflite.whole if record else none
            model = recipes.quantize(tflite, whole, activation_bits=16)
            return ConvertedModel(DIAGNOSTIC, model)
        case "onnx-float32":
            return ConvertedModel("onnx-float32", onnx)
    onnx_ranges = record.onnx.clipped if record else none
    return ConvertedModel("onnx-int8", onnx_model.quantize(onnx, onnx_ranges))
