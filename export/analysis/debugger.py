"""Which layer int8 hurts most: every layer's own rounding, alone and in the whole.

For each layer the float32 model runs with that one layer rounded as the int8 file
rounds it (its weights per channel, its output per tensor) and all others in float.
What differs then was added by this layer and inherited from none. The method is that
of "one layer at a time" in Nagel et al., A White Paper on Neural Network Quantization,
https://arxiv.org/abs/2106.08295, section 3.6; the error over the step size, ideally
1/sqrt(12) = 0.289, is that of TensorFlow Lite's quantization debugger,
https://www.tensorflow.org/lite/performance/quantization_debugger.

Layers are ranked by what their rounding does to the logits. The error at the layer's
own output misleads: where one loud channel sets the step, the others are rounded to
zero, and still the tensor as a whole looks exact.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from edge_runtime.graph.ir import Tensor
from edge_runtime.graph.tflite import read_tflite
from edge_runtime.utils.stderr import progress_bar
from export.analysis.rounding_layers import RoundingLayer, find_layers
from export.analysis.tensor_reader import TensorReader, Values
from export.convert.editable_model import EditableModel

DEBUG_IMAGES = 32
MEMORY_BYTES = 400 * 2**20  # for the float32 activations of all images
IDEAL_ERROR_STEPS = 1 / 12**0.5
EXACT_DB = 120.0  # shown for no error at all


@dataclass(frozen=True)
class LayerError:
    """What the rounding of one layer does.

    Attributes:
        layer: Which.
        answer_snr_db: Signal over noise of the logits, with this layer alone in int8.
        own_snr_db: The same at the layer's own output.
        error_steps: Root of the mean square error there, over the step; ideally 0.289.
        whole_snr_db: Signal over noise there in the int8 model, with what it inherits.
        lost_channels: Channels that vary by less than one step, and so are constant.
        channels: How many there are.
    """

    layer: RoundingLayer
    answer_snr_db: float
    own_snr_db: float
    error_steps: float
    whole_snr_db: float
    lost_channels: int
    channels: int


def measure_layers(
    model: bytes, int8: bytes, images: npt.NDArray[np.uint8], names: Sequence[str]
) -> list[LayerError]:
    """Returns the errors of all layers, the one that harms the logits most first.

    Args:
        model: The float32 TFLite model.
        int8: The int8 model made from it.
        images: uint8 (N, S, S, C), raw pixels; the first 32 at most are used.
        names: Names of the Keras layers, for labels.
    """
    layers = find_layers(model, int8, names)
    graph = read_tflite(model)
    answer = graph.outputs[0]
    size = sum(4 * graph.tensors[layer.output].elements for layer in layers)
    count = max(4, min(DEBUG_IMAGES, MEMORY_BYTES // max(1, size)))
    images = _spread(images, count)
    outputs = [*(layer.output for layer in layers), answer]
    *exact, exact_logits = _read_all(TensorReader(model, outputs), images)
    int8_outputs = [layer.int8_output for layer in layers]
    whole = _read_all(TensorReader(int8, int8_outputs), images)
    errors = []
    for place, layer in enumerate(progress_bar(layers, "debugging", unit="layer")):
        reader = TensorReader(*_round_layer(model, int8, layer, answer))
        own, logits = _read_all(reader, images)
        error = np.sqrt(np.mean(np.square(own - exact[place], dtype=np.float64)))
        channels = exact[place].reshape(-1, exact[place].shape[-1])
        ranges = channels.max(axis=0) - channels.min(axis=0)
        errors.append(
            LayerError(
                layer,
                answer_snr_db=round(snr_db(centre(exact_logits), centre(logits)), 2),
                own_snr_db=round(snr_db(exact[place], own), 2),
                error_steps=round(float(error) / layer.step, 4),
                whole_snr_db=round(snr_db(exact[place], whole[place]), 2),
                lost_channels=int(np.sum((ranges < layer.step) & (ranges > 0))),
                channels=len(ranges),
            )
        )
    return sorted(errors, key=lambda error: (error.answer_snr_db, error.layer.position))


def snr_db(exact: Values, rounded: Values) -> float:
    """Returns the signal-to-noise ratio in dB, at most 120.

    Args:
        exact: Of any shape.
        rounded: Of the same shape.
    """
    noise = float(np.square(rounded - exact, dtype=np.float64).sum())
    signal = float(np.square(exact, dtype=np.float64).sum())
    if noise == 0:
        return EXACT_DB
    return min(EXACT_DB, 10 * float(np.log10(max(signal, 1e-30) / noise)))


def centre(logits: Values) -> Values:
    """Returns logits whose mean is 0 for each image: a softmax ignores the mean."""
    mean = logits.mean(axis=-1, keepdims=True)
    return np.asarray(logits - mean, dtype=np.float32)


def logits_of_model(model: bytes, images: npt.NDArray[np.uint8]) -> Values:
    """Returns a TFLite model's logits, float32 (N, 1, classes).

    Args:
        model: The flatbuffer, batch size 1.
        images: uint8 (N, S, S, C), raw pixels.
    """
    return _read_all(TensorReader(model, read_tflite(model).outputs), images)[0]


def _round_layer(
    model: bytes, int8: bytes, layer: RoundingLayer, answer: int
) -> tuple[bytes, list[int]]:
    """Returns the float model with one layer rounded, and the tensors to read."""
    edited, quantized = EditableModel(model), EditableModel(int8)
    graph, names = read_tflite(int8), edited.names()
    int8_indices = {name: index for index, name in enumerate(quantized.names())}
    for index in edited.graph.operators[layer.position].inputs:
        int8_index = int8_indices.get(names[index], -1) if index >= 0 else -1
        if int8_index < 0 or edited.constant(index) is None:
            continue
        tensor, data = graph.tensors[int8_index], quantized.constant(int8_index)
        if len(tensor.scales) and data is not None:
            edited.set_constant(index, _dequantize_constant(tensor, data))
    rounded = edited.round_tensor(layer.output, layer.step, layer.zero_point)
    return edited.to_bytes(), [rounded, rounded if answer == layer.output else answer]


def _dequantize_constant(tensor: Tensor, data: npt.NDArray[np.uint8]) -> Values:
    """Returns weights (int8) or biases (int32), float32."""
    shape = tensor.shape or ()
    integers = data.view(tensor.dtype).reshape(shape).astype(np.float64)
    scale_shape = [1] * len(shape)
    if len(tensor.scales) > 1:
        scale_shape[tensor.axis] = len(tensor.scales)
    # Their zero point is 0.
    return np.asarray(integers * tensor.scales.reshape(scale_shape), dtype=np.float32)


def _read_all(reader: TensorReader, images: npt.NDArray[np.uint8]) -> list[Values]:
    """Returns each tensor for all images, float32 (N, ...)."""
    rows = [reader.read(image) for image in images]
    return [np.stack(column) for column in zip(*rows, strict=True)]


def _spread(images: npt.NDArray[np.uint8], count: int) -> npt.NDArray[np.uint8]:
    """Returns at most ``count`` of the images, evenly spread over them."""
    indices = np.linspace(0, len(images) - 1, min(count, len(images)))
    return images[np.unique(indices.round().astype(np.int64))]
