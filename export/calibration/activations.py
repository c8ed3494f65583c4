"""Reads all activations of a float32 model, one image at a time."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from edge_runtime.graph.tflite import read_tflite
from edge_runtime.utils.onnxruntime import import_onnxruntime
from export.convert.onnx_model import INPUT, OUTPUT, WITH_BIAS
from export.convert.quantize_tflite import CHANNEL_AXES
from export.suppress_output import suppress_output

Image = npt.NDArray[np.uint8]
Activations = Mapping[str, npt.NDArray[np.float32]]


@dataclass(frozen=True)
class ActivationReader:
    """A loaded model whose activations can be read.

    Attributes:
        read: Returns the input and all float activations by tensor name, for one image:
            uint8 (S, S, C), raw pixels.
        input: Name of the input tensor.
        output: Name of the output tensor.
        weighted: Names of the tensors that layers with weights are applied to.
        channel_axis: The axis of a tensor that its channels run along.
    """

    read: Callable[[Image], Activations]
    input: str
    output: str
    weighted: frozenset[str]
    channel_axis: int


def tflite_reader(model: bytes) -> ActivationReader:
    """Returns a reader of a float32 TFLite flatbuffer with batch size 1."""
    from ai_edge_litert.interpreter import Interpreter

    with suppress_output():
        interpreter = Interpreter(
            model_content=model, experimental_preserve_all_tensors=True
        )
        interpreter.allocate_tensors()
    pixels = interpreter.get_input_details()[0]
    logits = interpreter.get_output_details()[0]
    tensors = {one["index"]: one for one in interpreter.get_tensor_details()}
    indices = [pixels["index"]]
    for operator in interpreter._get_ops_details():
        if operator["op_name"] != "DELEGATE":
            # -1 is an optional output without tensor.
            indices += [int(index) for index in operator["outputs"] if index >= 0]
    floats = {
        str(tensors[index]["name"]): index
        for index in indices
        if tensors[index]["dtype"] == np.float32
    }

    def read(image: Image) -> Activations:
        interpreter.set_tensor(pixels["index"], image[np.newaxis].astype(np.float32))
        interpreter.invoke()
        values = {}
        for name, index in floats.items():
            # XNNPACK computes nothing that nobody reads.
            with contextlib.suppress(ValueError):
                values[name] = interpreter.get_tensor(index)
        return values

    graph = read_tflite(model)
    weighted = frozenset(
        graph.tensors[operator.inputs[0]].name
        for operator in graph.operators
        if operator.name in CHANNEL_AXES
    )
    return ActivationReader(read, pixels["name"], logits["name"], weighted, -1)


def onnx_reader(model: bytes) -> ActivationReader:
    """Returns a reader of a float32 ONNX model."""
    import onnx

    parsed = onnx.load_from_string(model)
    names = [name for node in parsed.graph.node for name in node.output if name]
    hidden = [onnx.ValueInfoProto(name=name) for name in names if name != OUTPUT]
    parsed.graph.output.extend(hidden)
    with suppress_output():
        session = import_onnxruntime().InferenceSession(parsed.SerializeToString())
    outputs = [output.name for output in session.get_outputs()]

    def read(image: Image) -> Activations:
        pixels = image[np.newaxis].astype(np.float32)
        values = zip(outputs, session.run(outputs, {INPUT: pixels}), strict=True)
        floats = {name: array for name, array in values if array.dtype == np.float32}
        return {INPUT: pixels, **floats}

    weighted = frozenset(
        node.input[0] for node in parsed.graph.node if node.op_type in WITH_BIAS
    )
    return ActivationReader(read, INPUT, OUTPUT, weighted, 1)
