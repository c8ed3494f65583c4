"""How a Keras model scales pixels: found by trying, folded, or put before it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import numpy.typing as npt
from keras import layers

from edge_runtime.model_file.pixels import PixelScaling
from export.convert.keras_model import as_graph

Values = npt.NDArray[np.float32]

LEVELS = (0, 50, 101, 152, 203, 255)
# Normalizes what it reads, with numbers that were not learnt by descent.
NORMALIZING = (layers.Normalization, layers.BatchNormalization)
SAME = 0.5  # a weighted sum of the colours may be off by its last digits
LARGEST_SCALED = 260.0  # no scaling makes pixels larger; 255 minus a mean is less


def first_values(model: keras.Model) -> tuple[float, float]:
    """Returns the range that the first layers with weights see for pixels 0..255.

    Even pictures of several brightnesses are computed up to there, through whatever
    stands before: layers, plain operations, models inside the model.
    """
    pictures = _even_pictures(model)
    seen = _seen(model, pictures)
    return float(min(one.min() for one in seen)), float(max(one.max() for one in seen))


def scales_pixels(model: keras.Model) -> bool:
    """Returns whether the first layers with weights see other values than pixels.

    False also where these are larger than any pixel: then it scales what was scaled
    before it.
    """
    pictures = _even_pictures(model)
    levels = pictures[:, 0, 0, 0].reshape(-1, 1)
    for values in _seen(model, pictures):
        flat = values.reshape(len(values), -1)
        if np.abs(flat).max() > LARGEST_SCALED:
            return False
        # A border of zeros is not a scaling.
        untouched = (np.abs(flat - levels) < SAME) | (flat == 0)
        if untouched.all():
            return False
    return True


def fold_rescaling(model: keras.Model) -> keras.Model:
    """Returns the model with its input scaling multiplied into the first convolution.

    ``Rescaling(s)`` without offset followed by convolutions only is a scaling of
    their kernels (zero padding stays zero), along their inputs where ``s`` has a
    number for each channel. Other models are returned as they are; converters then
    keep the scaling as an operation.
    """
    rescalings = [one for one in model.layers if isinstance(one, layers.Rescaling)]
    if len(rescalings) != 1:
        return model
    rescaling = rescalings[0]
    # One layer may have several nodes: a Sequential is traced more than once.
    nodes = rescaling._outbound_nodes
    users = list({id(node.operation): node.operation for node in nodes}.values())
    plain = rescaling.input is model.inputs[0] and not np.any(rescaling.offset)
    if not plain or not all(type(user) is layers.Conv2D for user in users):
        return model
    scale = np.asarray(rescaling.scale, np.float32)
    if scale.size > 1 and any(user.groups > 1 for user in users):
        return model  # a group's kernel reads a part of the channels

    def call(layer: keras.Layer, *args: Any, **kwargs: Any) -> Any:
        return args[0] if layer.name == rescaling.name else layer(*args, **kwargs)

    folded = _copy(model, call)
    for user in users:
        kernel = folded.get_layer(user.name).kernel  # (height, width, inputs, outputs)
        kernel.assign(kernel * (scale.reshape(-1, 1) if scale.size > 1 else scale))
    return folded


def scaled(model: keras.Model, scaling: PixelScaling) -> keras.Model:
    """Returns a model that takes raw pixels 0..255, for one that takes scaled ones.

    Args:
        model: Takes (N, S, S, C) values ``scale * pixel + offset``.
        scaling: That scale and offset; three numbers on a grey model are averaged.
    """
    scale, offset = (list(numbers) for numbers in scaling)
    if model.inputs[0].shape[3] == 1:
        scale, offset = [float(np.mean(scale))], [float(np.mean(offset))]
    if len(scale) == 1:
        rescaling = layers.Rescaling(scale[0], offset[0], name="scale_pixels")
    else:
        rescaling = layers.Rescaling(scale, offset, name="scale_pixels")
    scaled_pixels: list[Any] = []  # one tensor for all layers that read the input

    def call(layer: keras.Layer, *args: Any, **kwargs: Any) -> Any:
        history = getattr(args[0], "_keras_history", None)
        if history and isinstance(history.operation, layers.InputLayer):
            if not scaled_pixels:
                scaled_pixels.append(rescaling(args[0]))
            args = (scaled_pixels[0], *args[1:])
        return layer(*args, **kwargs)

    return _copy(model, call)


def _copy(model: keras.Model, call: Callable[..., Any]) -> keras.Model:
    """Returns a copy of a model whose layers are called by a function."""
    copy = keras.models.clone_model(model, call_function=call)
    copy.set_weights(model.get_weights())
    for layer in copy._flatten_layers():
        if isinstance(layer, layers.Normalization) and layer.input_mean is None:
            layer.finalize_state()  # computes with its weights as they are now
    return copy


def _even_pictures(model: keras.Model) -> Values:
    """Returns one picture of each level, float32 (levels, S, S, C)."""
    shape = model.inputs[0].shape[1:]
    return np.stack([np.full(shape, level, np.float32) for level in LEVELS])


def _seen(model: keras.Model, pictures: Values) -> list[Values]:
    """Returns the inputs of the first layers with weights on each path."""
    model = as_graph(model)
    reached = {id(model.inputs[0])}
    read: list[Any] = []
    readers: list[Any] = []
    waiting = [
        (operation, node)
        for operation in model.operations
        for node in operation._inbound_nodes
        if node.input_tensors
    ]
    while True:
        ready = [
            pair
            for pair in waiting
            if all(id(tensor) in reached for tensor in pair[1].input_tensors)
        ]
        if not ready:
            break
        waiting = [pair for pair in waiting if pair not in ready]
        for operation, node in ready:
            if getattr(operation, "weights", None) and not isinstance(
                operation, NORMALIZING
            ):
                read.append(node.input_tensors[0])
                readers.append(operation)
            else:
                reached.update(id(tensor) for tensor in node.output_tensors)
    if not read:
        return [pictures]
    until_there = keras.Model(model.inputs[0], read)
    values = keras.tree.flatten(until_there(pictures, training=False))
    seen: list[Values] = []
    for reader, value in zip(readers, values, strict=True):
        array = np.asarray(value, np.float32)
        inner = isinstance(reader, keras.Model) and len(reader.inputs or ()) == 1
        seen += _seen(reader, array) if inner else [array]
    return seen
