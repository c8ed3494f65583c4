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
from export.analysis.activations import Probe, Values
from export.analysis.graph_edit import Flatbuffer
from export.analysis.layers import Layer, find_layers
from train.progress import progress_bar

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

    layer: Layer
    answer_snr_db: float
    own_snr_db: float
    error_steps: float
    whole_snr_db: float
    lost_channels: int
    channels: int


def measure_layers(
    model: bytes, int8: bytes, images: npt.NDArray[np.uint8], names: Sequence[str]
) -> list[LayerError]:
    """Returns the errors of all layers, the one that harms the answers most first.

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
    true = _all(Probe(model, [*(one.output for one in layers), answer]), images)
    whole = _all(Probe(int8, [one.int8_output for one in layers]), images)
    errors = []
    for place, layer in enumerate(progress_bar(layers, "debugging", unit="layer")):
        probe = Probe(*_rounded(model, int8, layer, answer))
        own, logits = _all(probe, images)
        errors.append(_error(layer, true[place], own, whole[place], (true[-1], logits)))
    return sorted(errors, key=lambda one: (one.answer_snr_db, one.layer.position))


def snr_db(true: Values, found: Values) -> float:
    """Returns the signal-to-noise ratio in dB, at most 120.

    Args:
        true: Of any shape.
        found: Of the same shape.
    """
    noise = float(np.square(found - true, dtype=np.float64).sum())
    signal = float(np.square(true, dtype=np.float64).sum())
    if noise == 0:
        return EXACT_DB
    return min(EXACT_DB, 10 * float(np.log10(max(signal, 1e-30) / noise)))


def centred(logits: Values) -> Values:
    """Returns logits whose mean is 0 for each image: a softmax does not see it."""
    mean = logits.mean(axis=-1, keepdims=True)
    return np.asarray(logits - mean, dtype=np.float32)


def logits_of_model(model: bytes, images: npt.NDArray[np.uint8]) -> Values:
    """Returns a TFLite model's logits, float32 (N, 1, classes)."""
    return _all(Probe(model, read_tflite(model).outputs), images)[0]


def _rounded(
    model: bytes, int8: bytes, layer: Layer, answer: int
) -> tuple[bytes, list[int]]:
    """Returns the float model with one layer rounded, and the tensors to read."""
    edited, quantized = Flatbuffer(model), Flatbuffer(int8)
    graph = read_tflite(int8)
    places = {name: index for index, name in enumerate(quantized.names())}
    for index in edited.graph.operators[layer.position].inputs:
        name = edited.names()[index] if index >= 0 else ""
        place = places.get(name, -1)
        if place < 0 or edited.constant(index) is None:
            continue
        tensor, data = graph.tensors[place], quantized.constant(place)
        if tensor.dtype == "int8" and data is not None:
            edited.set_constant(index, _dequantized(tensor, data))
    rounded = edited.round_tensor(layer.output, layer.step, layer.zero_point)
    return edited.to_bytes(), [rounded, rounded if answer == layer.output else answer]


def _dequantized(tensor: Tensor, data: npt.NDArray[np.uint8]) -> Values:
    shape = tensor.shape or ()
    integers = data.view(np.int8).reshape(shape).astype(np.float32)
    along = [1] * len(shape)
    if len(tensor.scales) > 1:
        along[tensor.axis] = len(tensor.scales)
    # Weights have zero point 0.
    return np.asarray(integers * tensor.scales.reshape(along), dtype=np.float32)


def _error(
    layer: Layer,
    true: Values,
    own: Values,
    whole: Values,
    logits: tuple[Values, Values],
) -> LayerError:
    channels = true.reshape(-1, true.shape[-1])
    ranges = channels.max(axis=0) - channels.min(axis=0)
    error = np.sqrt(np.mean(np.square(own - true, dtype=np.float64)))
    return LayerError(
        layer,
        answer_snr_db=round(snr_db(centred(logits[0]), centred(logits[1])), 2),
        own_snr_db=round(snr_db(true, own), 2),
        error_steps=round(float(error) / layer.step, 4),
        whole_snr_db=round(snr_db(true, whole), 2),
        lost_channels=int(np.sum((ranges < layer.step) & (ranges > 0))),
        channels=len(ranges),
    )


def _all(probe: Probe, images: npt.NDArray[np.uint8]) -> list[Values]:
    """Returns each tensor for all images, float32 (N, ...)."""
    rows = [probe.read(image) for image in images]
    return [np.stack(column) for column in zip(*rows, strict=True)]


def _spread(images: npt.NDArray[np.uint8], count: int) -> npt.NDArray[np.uint8]:
    """Returns so many of the images, evenly spread over them."""
    picks = np.linspace(0, len(images) - 1, min(count, len(images)))
    return images[np.unique(picks.round().astype(np.int64))]
