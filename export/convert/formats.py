"""The formats that can be exported, in the order in which they are shown."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from edge_runtime.errors import FerEdgeError, ModelError
from edge_runtime.graph.tflite import read_tflite
from edge_runtime.inspection.analyzer import GraphSummary, analyze
from edge_runtime.model_file.container import Kind
from export.convert import onnx_model, quantize_tflite
from export.convert.converted_model import ConvertedModel
from export.convert.quantize_tflite import Io
from train.quantization.ranges import MeasuredRanges

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
DIAGNOSTIC, MIXED = "tflite-int16x8", "tflite-mixed"


class FloatModels:
    """The float32 models that all formats are made from, each converted once.

    One that cannot be converted raises its ModelError whenever it is asked for.
    """

    def __init__(self, **converters: Callable[[], bytes]) -> None:
        """Takes the functions that convert, by ``Kind``: ``tflite`` and ``onnx``."""
        self._converters = converters
        self._converted: dict[str, bytes | ModelError] = {}

    def get(self, kind: Kind) -> bytes:
        """Returns the model of a kind.

        Raises:
            ModelError: The converter does not support one of its operators.
        """
        if kind not in self._converted:
            try:
                self._converted[kind] = self._converters[kind]()
            except ModelError as error:
                self._converted[kind] = error
        converted = self._converted[kind]
        if isinstance(converted, ModelError):
            raise converted
        return converted


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


def calibrated_kinds(names: Sequence[str]) -> list[Kind]:
    """Returns the kinds of graph whose activation ranges some formats need."""
    kinds = [kind_of(name) for name in names if name in CALIBRATED]
    return sorted(set(kinds))


def kind_of(name: str) -> Kind:
    """Returns the kind of a format: ``"onnx"`` or ``"tflite"``."""
    return "onnx" if name.startswith("onnx") else "tflite"


class MissingFormat(NamedTuple):
    """A requested format that could not be made.

    Attributes:
        format: Its name.
        reason: Why, in one line.
    """

    format: str
    reason: str


def convert_all(
    names: Sequence[str], floats: FloatModels, **options: Any
) -> tuple[list[ConvertedModel], list[MissingFormat]]:
    """Returns the models and the formats that cannot be made, independently.

    Args:
        names: Some of ``FORMATS``.
        floats: The float32 models.
        options: As for ``convert``.
    """
    models, missing = [], []
    for name in names:
        try:
            models.append(convert(name, floats, **options))
        except ModelError as error:
            missing.append(MissingFormat(name, str(error)))
    return models, missing


def convert(
    name: str,
    floats: FloatModels,
    *,
    tflite_ranges: MeasuredRanges,
    onnx_ranges: MeasuredRanges,
    io: Io = "int8",
    allow_float: bool = False,
) -> ConvertedModel:
    """Returns the model in one format.

    Args:
        name: One of ``FORMATS``.
        floats: The float32 models.
        tflite_ranges: Activation ranges of the TFLite model, for a calibrated format.
        onnx_ranges: The same of the ONNX model.
        io: Data type of the input and output of the int8 TFLite model.
        allow_float: Keep operators without integer kernel in float: the int8 TFLite
            model is a mixed one then.

    Raises:
        ModelError: It cannot be expressed in this format.
    """
    model = floats.get(kind_of(name))
    match name:
        case "int8":
            int8 = quantize_tflite.quantize(
                model, tflite_ranges.clipped, io=io, means=tflite_ranges.means
            )
            if not require_integers(int8, name, allow_float=allow_float):
                return ConvertedModel(MIXED, int8, io)
            return ConvertedModel("tflite-int8", int8, io)
        case "int16x8":
            model = quantize_tflite.quantize(
                model,
                tflite_ranges.whole,
                activation_bits=16,
                means=tflite_ranges.means,
            )
            require_integers(model, name)
        case "float16":
            model = quantize_tflite.to_float16(model)
        case "dynamic-range":
            model = quantize_tflite.to_dynamic_range(model)
        case "onnx-int8":
            model = onnx_model.quantize(model, onnx_ranges.clipped, onnx_ranges.means)
    return ConvertedModel(name if kind_of(name) == "onnx" else f"tflite-{name}", model)


def require_integers(model: bytes, name: str, *, allow_float: bool = False) -> bool:
    """Returns whether a quantized TFLite model computes in integers throughout.

    Raises:
        ModelError: It does not, and no operator may stay in float.
    """
    floats = float_operators(analyze(read_tflite(model)))
    if floats and not allow_float:
        hint = "--allow-float keeps it in float32: a mixed file"
        raise ModelError(
            f"no integer kernel for {', '.join(floats)};"
            f" {hint if name == 'int8' else 'choose another format'}"
        )
    return not floats


def float_operators(summary: GraphSummary) -> list[str]:
    """Returns the types of operators that an integer model computes in float."""
    groups = summary.float_subgraphs
    return sorted({operator for group in groups for operator in group.operators})
