"""What is really inside an exported file, and whether it is what was promised."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import Any

import numpy as np

from edge_runtime.errors import ModelError
from edge_runtime.graph.onnx import read_onnx
from edge_runtime.graph.tflite import read_tflite
from edge_runtime.inspection.analyzer import GraphSummary, analyze
from edge_runtime.inspection.format_rules import FORMATS, check_format
from edge_runtime.utils.stderr import suppress_stderr

INTEGERS = {"int8", "int32", "uint8"}
READ_WEIGHTS = {"Conv", "Gemm", "MatMul", "DequantizeLinear"}


@dataclass(frozen=True)
class Contents:
    """An inventory of a model file.

    Attributes:
        operators: Number of operators by name.
        tensors: Number of tensors by data type.
        input: Data type of the input, with scale and zero point if quantized.
        output: The same of the output.
    """

    operators: dict[str, int]
    tensors: dict[str, int]
    input: str
    output: str


def tflite_contents(model: bytes) -> Contents:
    """Returns the inventory of a TFLite flatbuffer.

    Raises:
        ModelError: It has operators that the device cannot run (Flex or custom).
    """
    from ai_edge_litert.interpreter import Interpreter, OpResolverType

    try:
        with suppress_stderr():
            interpreter = Interpreter(
                model_content=model,
                experimental_op_resolver_type=(
                    OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES
                ),
            )
            interpreter.allocate_tensors()
    except (ValueError, RuntimeError) as error:
        raise ModelError(f"the exported file does not load: {error}") from error
    operators = Counter(one["op_name"] for one in interpreter._get_ops_details())
    foreign = [name for name in operators if name.startswith(("Flex", "CUSTOM"))]
    if foreign:
        raise ModelError(f"the device cannot run these operators: {foreign}")
    tensors = Counter(
        np.dtype(one["dtype"]).name for one in interpreter.get_tensor_details()
    )
    return Contents(
        dict(operators),
        dict(tensors),
        _describe(interpreter.get_input_details()[0]),
        _describe(interpreter.get_output_details()[0]),
    )


def check_float(contents: Contents) -> None:
    """Raises ModelError if a float32 file has a quantized tensor."""
    quantized = contents.tensors.get("int8", 0) + contents.tensors.get("uint8", 0)
    if quantized or contents.input != "float32" or contents.output != "float32":
        raise ModelError(
            f"expected a float32 file, got tensors {contents.tensors},"
            f" input {contents.input}, output {contents.output}"
        )


def check_int8(contents: Contents) -> None:
    """Raises ModelError unless a file is integers from pixels to logits."""
    floats = set(contents.tensors) - INTEGERS
    exact = contents.input == "int8 scale 1 zero point -128"
    if floats or not exact or not contents.output.startswith("int8"):
        raise ModelError(
            f"expected int8 throughout, got tensors {contents.tensors},"
            f" input {contents.input}, output {contents.output}"
        )


def check_tflite(model: bytes, format: str, io: str) -> Contents:
    """Returns the inventory of a TFLite model that is what it is called.

    Args:
        model: The flatbuffer.
        format: Such as ``"tflite-int8"``.
        io: Type of the ends of an int8 model.

    Raises:
        ModelError: It is not.
    """
    found = tflite_contents(model)
    if format == "tflite-float32":
        check_float(found)
    elif format == "tflite-int8" and io == "int8":
        check_int8(found)
    elif format == "tflite-int8" and not found.input.startswith(io):
        raise ModelError(f"expected an {io} input, got {found.input}")
    inventory_of(model, format)
    return found


def inventory_of(model: bytes, format: str) -> GraphSummary:
    """Returns what is inside a model, judged as ``edge_runtime check`` judges it.

    BatchNorm that could not fold is allowed: it costs time and not truth, and the
    metadata tell of it.

    Args:
        model: The model's bytes, without metadata.
        format: Such as ``"tflite-int8"`` or ``"onnx-int8"``.

    Raises:
        ModelError: The model is not what it is called.
    """
    read = read_tflite if format.startswith("tflite") else read_onnx
    found = analyze(read(model))
    declared = [one.name for one in found.unfolded]
    for wrong in check_format(found, format, declared=declared):
        raise ModelError(
            f"the {format} file is not what it is called: {wrong.rule},"
            f" expected {wrong.expected}, got {wrong.found}"
        )
    return found


def int8_share(found: GraphSummary) -> float:
    """Returns the share of multiply-accumulates that run in int8, 0..1."""
    return found.macs_share(one for one in found.layers if one.dtype == "int8")


def unfolded(found: GraphSummary, format: str) -> list[str]:
    """Returns the operators of BatchNorm that slow an integer file down."""
    return [one.name for one in found.unfolded] if FORMATS[format].integer_only else []


def check_onnx(model: bytes, *, quantized: bool) -> None:
    """Raises ModelError unless an ONNX model is (or is not) quantized, as promised."""
    import onnx

    parsed = onnx.load_from_string(model)
    onnx.checker.check_model(parsed, full_check=True)
    kinds = Counter(node.op_type for node in parsed.graph.node)
    readers = [node for node in parsed.graph.node if node.op_type in READ_WEIGHTS]
    inputs = {name for node in readers for name in node.input}
    weights = [
        tensor
        for tensor in parsed.graph.initializer
        if tensor.name in inputs and len(tensor.dims) >= 2
    ]
    floats = [t.name for t in weights if t.data_type == onnx.TensorProto.FLOAT]
    wrong = floats or not kinds["QuantizeLinear"]
    if quantized and wrong:
        raise ModelError(f"expected int8 weights only, got float weights {floats}")
    if not quantized and len(floats) != len(weights):
        raise ModelError("expected float32 weights only, got quantized ones")


def _describe(details: dict[str, Any]) -> str:
    name = np.dtype(details["dtype"]).name
    scale, zero_point = details["quantization"]
    return f"{name} scale {scale:g} zero point {zero_point}" if scale else name
