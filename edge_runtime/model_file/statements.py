"""What a file without our metadata says itself: pixels, answer and labels.

Read are the official TFLite metadata, the quantization of the input, and the graph's
first and last operators. What nothing says stays open: it is asked for, not guessed.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from edge_runtime.errors import MissingDependencyError
from edge_runtime.graph.ends import (
    Scaling,
    final_operator,
    input_scaling,
    quantized_input,
)
from edge_runtime.graph.ir import WEIGHTS_INPUT, Graph, Tensor
from edge_runtime.model_file.container import ModelFile
from edge_runtime.model_file.metadata import Output
from edge_runtime.model_file.pixels import RAW, SCALINGS, PixelScaling

# Lowest and highest value of a quantized input that was calibrated on images, as
# (least, greatest) each: images of a calibration may lack black or white.
_RANGES = {
    "raw": ((-12.0, 12.0), (128.0, 260.0)),
    "unit": ((-0.05, 0.05), (0.5, 1.1)),
    "signed": ((-1.1, -0.5), (0.5, 1.1)),
    "imagenet": ((-2.3, -1.7), (2.1, 2.8)),
}
# Networks see values of about this range behind a scaling.
_SCALED = ((-3.2, 0.05), (0.4, 3.2))


class Statements(NamedTuple):
    """What a file says of itself; each part may be open.

    Attributes:
        pixels: How it takes pixels; None where it does not say.
        pixels_source: What in the file says so.
        output: ``"logits"`` or ``"probabilities"``; None where it does not say.
        output_source: What in the file says so.
        labels: Class names as they are in the file; empty where it has none.
        labels_source: Name of the file inside the file that has them.
    """

    pixels: PixelScaling | None = None
    pixels_source: str = ""
    output: Output | None = None
    output_source: str = ""
    labels: tuple[str, ...] = ()
    labels_source: str = ""


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

    found = _of_graph(read_tflite(file.model))
    metadata = read_tflite_metadata(file.model)
    if metadata is None:
        return found
    # An 8-bit input takes what its quantization says: normalization is for floats.
    if metadata.pixels is not None and "quantization" not in found.pixels_source:
        found = found._replace(
            pixels=metadata.pixels, pixels_source="its TFLite metadata"
        )
    return found._replace(labels=metadata.labels, labels_source=metadata.label_file)


def describe(pixels: PixelScaling) -> str:
    """Returns a scaling in words, such as ``"-1..1 (signed)"``."""
    low, high = value_range(pixels)
    name = next((one for one in SCALINGS if _alike(pixels, SCALINGS[one])), "")
    return f"{low:.4g}..{high:.4g}" + (f" ({name})" if name else "")


def value_range(pixels: PixelScaling) -> tuple[float, float]:
    """Returns the lowest and the highest value that pixels 0..255 become."""
    scale, offset = np.array(pixels.scale), np.array(pixels.offset)
    ends = np.array([offset, 255 * scale + offset])
    return float(ends.min()), float(ends.max())


def _alike(one: PixelScaling, other: PixelScaling) -> bool:
    """Returns whether no pixel's value differs by more than a pixel's step."""
    step = np.abs(np.array(other.scale))
    black = np.array(one.offset) - np.array(other.offset)
    white = black + 255 * (np.array(one.scale) - np.array(other.scale))
    return bool((np.abs(black) <= step).all() and (np.abs(white) <= 1.5 * step).all())


def _of_graph(graph: Graph) -> Statements:
    with np.errstate(all="ignore"):  # scales of damaged files
        pixels, pixels_source = _pixels(graph)
    output, output_source = _output(final_operator(graph))
    return Statements(pixels, pixels_source, output, output_source)


def _output(operator: str) -> tuple[Output | None, str]:
    if operator in ("softmax", "sigmoid"):
        return "probabilities", f"it ends in a {operator}"
    if operator.upper() in ("LOG_SOFTMAX", "LOGSOFTMAX"):
        # The softmax of log probabilities are these probabilities.
        return "logits", "it ends in a log softmax"
    if operator in WEIGHTS_INPUT:
        return "logits", f"it ends in {operator}"
    return None, ""


def _pixels(graph: Graph) -> tuple[PixelScaling | None, str]:
    source = graph.tensor(graph.inputs, 0)
    tensor = quantized_input(graph)
    if tensor is not None:
        return _quantized(tensor), "the quantization of its input"
    if source is not None and source.dtype == "uint8":
        return RAW, "its uint8 input"
    scaling = input_scaling(graph)
    pixels = _behind(scaling) if scaling.operators else None
    return pixels, f"its first operators ({', '.join(scaling.operators)})"


def _quantized(tensor: Tensor) -> PixelScaling | None:
    """Returns the scaling whose range a quantized input has; None if it has no such.

    Where it is the whole range of 8 bits a pixel is one step, as those who made the
    file mean it: the uint8 input takes the pixels as they are.
    """
    if tensor.dtype not in ("int8", "uint8", "int16"):
        return None
    limits = np.iinfo(tensor.dtype)
    scale = float(tensor.scales[0])
    zero = int(tensor.zero_points[0]) if len(tensor.zero_points) else 0
    low, high = (scale * (end - zero) for end in (limits.min, limits.max))
    if tensor.dtype == "int16":  # symmetric: it does not say how low pixels go
        return RAW if 128 <= high <= 260 else None
    if tensor.dtype == "int8" and zero == 0 and not _is_signed_step(scale):
        return None  # symmetric quantization: pixels may be 0..1 as well as -1..1
    name = next(
        (name for name, ends in _RANGES.items() if _within(low, high, ends)), None
    )
    if name is None:
        return None
    pixels = SCALINGS[name]
    one_step = PixelScaling((scale,), (scale * (limits.min - zero),))
    ends = value_range(pixels)
    whole = max(abs(low - ends[0]), abs(high - ends[1])) <= 1.6 * scale
    return one_step if whole and len(pixels.scale) == 1 else pixels


def _is_signed_step(scale: float) -> bool:
    """Returns whether -1..1 has this step in 8 bits without symmetry."""
    return any(abs(scale * count - 1) < 1e-3 for count in (127.5, 128))


def _behind(scaling: Scaling) -> PixelScaling | None:
    """Returns the pixels with which a scaling inside the model gives usual values."""
    for name in ("raw", "unit"):
        pixels = SCALINGS[name]
        ends = [scaling.scale * value + scaling.offset for value in value_range(pixels)]
        low, high = float(np.min(ends)), float(np.max(ends))
        if _within(low, high, _SCALED):
            return pixels
    # A mean alone is subtracted from raw pixels (Caffe's networks).
    if (scaling.scale == 1).all() and (np.abs(scaling.offset) > 64).all():
        return RAW
    return None


def _within(
    low: float, high: float, ends: tuple[tuple[float, float], tuple[float, float]]
) -> bool:
    return ends[0][0] <= low <= ends[0][1] and ends[1][0] <= high <= ends[1][1]
