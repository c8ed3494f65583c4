"""Checks what is inside a converted model before it becomes a file."""

from __future__ import annotations

from edge_runtime.errors import ModelError
from edge_runtime.graph.ir import Graph, Tensor
from edge_runtime.graph.onnx import read_onnx
from edge_runtime.graph.tflite import read_tflite
from edge_runtime.inspection.analyzer import EIGHT_BITS, GraphSummary, analyze
from edge_runtime.inspection.format_rules import FORMATS, check_format, check_metadata
from edge_runtime.model_file.metadata import ModelSpec
from export.convert.converted_model import ConvertedModel

INTEGERS = EIGHT_BITS | {"int32"}  # biases are int32


def check_contents(converted: ConvertedModel, spec: ModelSpec) -> GraphSummary:
    """Returns the contents of a converted model, checked as ``check`` will check them.

    Stricter than that: a float32 TFLite file has no 8-bit tensor at all, and an int8
    one with int8 input and output no float tensor. BatchNorm that could not fold is
    allowed: it costs time but no accuracy, and the metadata name it.

    Raises:
        ModelError: The model is not what it is called.
    """
    if converted.kind == "onnx":
        _check_onnx(converted.model)
        graph = read_onnx(converted.model)
    else:
        graph = read_tflite(converted.model)
        _check_dtypes(converted, graph)
    summary = analyze(graph)
    declared = [layer.name for layer in summary.unfolded]
    for violation in (
        *check_format(summary, converted.format, declared=declared),
        *check_metadata(summary, spec),
    ):
        raise ModelError(
            f"the {converted.format} file is not what it is called: {violation.rule},"
            f" expected {violation.expected}, got {violation.found}"
        )
    return summary


def find_unfolded(summary: GraphSummary, format: str) -> list[str]:
    """Returns the operators of BatchNorm that slow an integer file down."""
    if not FORMATS[format].integer_only:
        return []
    return [layer.name for layer in summary.unfolded]


def describe_input(tensor: Tensor | None) -> str:
    """Returns a model's input in words, such as ``"float32, pixels 0..255"``."""
    dtype = tensor.dtype if tensor is not None else "no input"
    if tensor is not None and len(tensor.scales):
        dtype += f" scale {tensor.scales[0]:g} zero point {tensor.zero_points[0]}"
    return f"{dtype}, pixels 0..255"


def _check_dtypes(converted: ConvertedModel, graph: Graph) -> None:
    dtypes = {tensor.dtype for tensor in graph.tensors}
    io_dtypes = {graph.tensors[i].dtype for i in (*graph.inputs, *graph.outputs)}
    wrong: set[str] = set()
    if converted.format == "tflite-float32":
        wrong = dtypes & EIGHT_BITS
    elif converted.format == "tflite-int8":
        wrong = (dtypes - INTEGERS - {converted.io}) | (io_dtypes - {converted.io})
    if wrong:
        raise ModelError(
            f"expected a {converted.format} file with {converted.io} input and output,"
            f" got tensors of type {', '.join(sorted(wrong))}"
        )


def _check_onnx(model: bytes) -> None:
    import onnx

    try:
        onnx.checker.check_model(onnx.load_from_string(model), full_check=True)
    except onnx.checker.ValidationError as error:
        raise ModelError(f"the ONNX model is not valid: {error}") from error
