"""What a file without our metadata says itself: pixels, answer and labels.

Read are the official TFLite metadata, the quantization of the input, and the graph's
first and last operators. What nothing says stays open: it is asked for, not guessed.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from edge_runtime.errors import MissingDependencyError
from edge_runtime.graph.ends import final_operator, input_scaling, quantized_input
from edge_runtime.graph.ir import WEIGHTS_INPUT, Graph, Tensor
from edge_runtime.model_file.container import ModelFile
from edge_runtime.model_file.input_range import pixels_before, pixels_of_quantization
from edge_runtime.model_file.labels import usable_labels
from edge_runtime.model_file.metadata import Given, Output
from edge_runtime.model_file.pixels import RAW, PixelScaling, in_order


class Statements(NamedTuple):
    """What a file says of itself; each part may be open.

    Attributes:
        pixels: How it takes pixels; None where it does not say.
        pixels_source: What in the file says so.
        output: ``"logits"`` or ``"probabilities"``; None where it does not say.
        output_source: What in the file says so.
        labels: Class names as they are in the file; empty where it has none.
        labels_source: Name of the file inside the file that has them.
        labels_error: Why that cannot be read; empty where it can, or is none.
        quantized: Its input as it is quantized; None where it computes with floats.
    """

    pixels: PixelScaling | None = None
    pixels_source: str = ""
    output: Output | None = None
    output_source: str = ""
    labels: tuple[str, ...] = ()
    labels_source: str = ""
    labels_error: str = ""
    quantized: Tensor | None = None


def read_statements(file: ModelFile) -> Statements:
    """Returns what a model file without our metadata says of itself.

    An ``.onnx`` file is read with ``onnx``; where that is missing all stays open.

    Raises:
        ModelError: The file is cut off, damaged or hostile.
    """
    if file.kind == "onnx":
        from edge_runtime.graph.onnx import read_onnx

        try:
            return _of_graph(read_onnx(file.model))
        except MissingDependencyError:
            return Statements()
    from edge_runtime.graph.tflite import read_tflite
    from edge_runtime.model_file.tflite_metadata import read_tflite_metadata

    graph = read_tflite(file.model)
    found = _of_graph(graph)
    metadata = read_tflite_metadata(file.model)
    if metadata is None:
        return found
    # Where integers go in and say what they are, normalization is for floats.
    integers = found.quantized is not None or _takes_bytes(graph)
    said = integers and found.pixels is not None
    if metadata.pixels is not None and not said:
        found = found._replace(
            pixels=metadata.pixels, pixels_source="its TFLite metadata"
        )
    return found._replace(
        labels=metadata.labels,
        labels_source=metadata.label_file,
        labels_error=metadata.labels_error,
    )


def resolve(given: Given, stated: Statements) -> Given:
    """Returns what is known of a file: what was given, else what it says itself.

    Raises:
        MetadataError: Its own labels cannot be class names.
    """
    labels, pixels = given.labels, given.pixels
    if labels is None and stated.labels:
        labels = usable_labels(stated.labels)
    if pixels is None and stated.pixels is not None:  # it means its own channels
        pixels = in_order(stated.pixels, given.colour or "rgb")
    output = given.output or stated.output
    return Given(labels, pixels, output, given.colour, given.fit)


def _of_graph(graph: Graph) -> Statements:
    with np.errstate(all="ignore"):  # scales of damaged files
        pixels, pixels_source = _pixels(graph)
    output, output_source = _output(final_operator(graph))
    return Statements(
        pixels,
        pixels_source,
        output,
        output_source,
        quantized=quantized_input(graph),
    )


def _output(operator: str) -> tuple[Output | None, str]:
    if operator in ("softmax", "sigmoid"):
        return "probabilities", f"it ends in a {operator}"
    if operator.upper() in ("LOG_SOFTMAX", "LOGSOFTMAX"):
        # The softmax of log probabilities are these probabilities.
        return "logits", "it ends in a log softmax"
    if operator in WEIGHTS_INPUT:
        return "logits", f"it ends in {operator}"
    return None, ""


def _takes_bytes(graph: Graph) -> bool:
    source = graph.tensor(graph.inputs, 0)
    return source is not None and source.dtype == "uint8"


def _pixels(graph: Graph) -> tuple[PixelScaling | None, str]:
    tensor = quantized_input(graph)
    if tensor is not None:
        return pixels_of_quantization(tensor), "the quantization of its input"
    if _takes_bytes(graph):
        return RAW, "its uint8 input"
    scaling = input_scaling(graph)
    pixels = pixels_before(scaling) if scaling.operators else None
    return pixels, f"its first operators ({', '.join(scaling.operators)})"
