"""Loads a trained Keras classifier and brings it into the form that is exported."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import keras
import numpy as np
import numpy.typing as npt
from keras import layers

from edge_runtime.errors import ModelError
from edge_runtime.inference.classifier import softmax
from edge_runtime.model_file.metadata import LARGEST_SIZE_PX

SOFTMAX_TOLERANCE = 1e-4


def load_classifier(path: Path) -> keras.Model:
    """Returns the classifier in a ``.keras`` file, checked, with logits as output.

    Raises:
        ModelError: Not a ``.keras`` file, damaged, containing code (Lambda layers),
            or not a classifier of one square image.
    """
    if path.suffix != ".keras":
        # .h5 files ignore safe_mode and may run code when they are loaded.
        raise ModelError(f"expected a .keras file, got {path.name!r}")
    if not path.is_file():
        raise ModelError(f"expected a .keras file, got {str(path)!r}: no such file")
    try:
        model = keras.models.load_model(path, compile=False, safe_mode=True)
    except Exception as error:  # Keras raises whatever its parsers raise
        reason = str(error).strip().splitlines()
        raise ModelError(
            f"{path.name} is damaged, or needs code that is not loaded for safety"
            f" (Lambda or custom layers): {reason[0][:200] if reason else error!r}"
        ) from error
    check_classifier(model, path.name)
    return checked_logits(as_graph(model), path.name)


def check_classifier(model: keras.Model, name: str) -> None:
    """Raises ModelError unless the model maps one square image to class scores."""
    if not isinstance(model, keras.Model) or len(model.inputs or ()) != 1:
        count = len(getattr(model, "inputs", None) or ())
        raise ModelError(f"{name}: expected a model with one image input, got {count}")
    shape = tuple(model.inputs[0].shape)
    square = len(shape) == 4 and shape[1] == shape[2] and shape[1] is not None
    if not square or shape[3] not in (1, 3) or shape[1] > LARGEST_SIZE_PX:
        raise ModelError(
            f"{name}: expected a square grey or RGB input (None, S, S, 1 or 3) of at"
            f" most {LARGEST_SIZE_PX} pixels, got {shape}"
        )
    outputs = [tuple(output.shape) for output in model.outputs]
    if len(outputs) != 1 or len(outputs[0]) != 2 or (outputs[0][1] or 0) < 2:
        raise ModelError(
            f"{name}: expected one output (None, classes >= 2), got {outputs}:"
            f" {_reason(outputs)}"
        )


def as_graph(model: keras.Model) -> keras.Model:
    """Returns a model as a graph from one tensor to one tensor.

    Sequential models, and those saved with lists or dictionaries of one input or
    output, are built anew from the same layers; others are returned as they are.
    """
    ends = (
        getattr(model, "_inputs_struct", None),
        getattr(model, "_outputs_struct", None),
    )
    if all(isinstance(end, keras.KerasTensor) for end in ends):
        return model
    return keras.Model(model.inputs[0], model.outputs[0], name=model.name)


def checked_logits(model: keras.Model, name: str) -> keras.Model:
    """Returns the model without its final softmax, compared with what it was.

    Raises:
        ModelError: It ends in probabilities that cannot be undone, or in sigmoids.
    """
    stripped = with_logits(model)
    images = _patterns(model)
    scores = np.asarray(model(images, training=False), dtype=np.float64)
    if stripped is model:
        _refuse_probabilities(model, scores, name)
        return model
    logits = np.asarray(stripped(images, training=False), dtype=np.float64)
    difference = float(np.abs(softmax(logits) - scores).max())
    if not difference <= SOFTMAX_TOLERANCE:  # written so that NaN fails
        raise ModelError(
            f"{name}: taking off its softmax changed its answers by {difference:.2g}:"
            " save it with a last Dense layer without activation"
        )
    return stripped


def with_logits(model: keras.Model) -> keras.Model:
    """Returns the model without a final softmax: the quantized file keeps the logits.

    An int8 softmax has steps of 1/256, which makes ties; the runtime applies it in
    floating point instead. A model inside the model is searched, too.
    """
    history = model.outputs[0]._keras_history
    last = history.operation
    sources = last._inbound_nodes[history.node_index].input_tensors
    if isinstance(last, keras.Model):
        inner = with_logits(as_graph(last))
        if len(last.inputs) != 1 or inner.outputs[0] is last.outputs[0]:
            return model
        return keras.Model(model.inputs[0], inner(sources[0]), name=model.name)
    if type(last).__name__ == "Softmax":  # the layer, or keras.ops.softmax
        return keras.Model(model.inputs[0], sources[0], name=model.name)
    if getattr(last, "activation", None) is not keras.activations.softmax:
        return model
    if isinstance(last, layers.Activation):
        return keras.Model(model.inputs[0], sources[0], name=model.name)
    config = {**last.get_config(), "activation": "linear"}
    linear = type(last).from_config(config)
    model = keras.Model(model.inputs[0], linear(sources[0]), name=model.name)
    linear.set_weights(last.get_weights())
    return model


def fold_rescaling(model: keras.Model) -> keras.Model:
    """Returns the model with its input scaling multiplied into the first convolution.

    ``Rescaling(s)`` without offset followed by convolutions only is a scaling of
    their kernels (zero padding stays zero). Other models are returned as they are;
    converters then keep the scaling as an operation.
    """
    rescalings = [one for one in model.layers if isinstance(one, layers.Rescaling)]
    if len(rescalings) != 1:
        return model
    rescaling = rescalings[0]
    # One layer may have several nodes: a Sequential is traced more than once.
    nodes = rescaling._outbound_nodes
    users = list({id(node.operation): node.operation for node in nodes}.values())
    offset = rescaling.offset
    no_offset = isinstance(offset, int | float) and offset == 0
    plain = rescaling.input is model.inputs[0] and no_offset
    if not plain or not all(type(user) is layers.Conv2D for user in users):
        return model

    def call(layer: keras.Layer, *args: Any, **kwargs: Any) -> Any:
        return args[0] if layer.name == rescaling.name else layer(*args, **kwargs)

    folded = keras.models.clone_model(model, call_function=call)
    folded.set_weights(model.get_weights())
    for user in users:
        kernel = folded.get_layer(user.name).kernel
        kernel.assign(kernel * rescaling.scale)
    return folded


def scaled(model: keras.Model, scale: float, offset: float) -> keras.Model:
    """Returns a model that takes raw pixels 0..255, for one that takes scaled ones.

    Args:
        model: Takes (N, S, S, C) values ``scale * pixel + offset``.
        scale: Such as 1/255.
        offset: Such as -1.

    Raises:
        ModelError: The model scales pixels itself.
    """
    if scales_pixels(model):
        raise ModelError(f"{model.name} scales pixels itself: leave out --pixels")
    rescaling = layers.Rescaling(scale, offset, name="scale_pixels")
    scaled_pixels: list[Any] = []  # one tensor for all layers that read the input

    def call(layer: keras.Layer, *args: Any, **kwargs: Any) -> Any:
        history = getattr(args[0], "_keras_history", None)
        if history and isinstance(history.operation, layers.InputLayer):
            if not scaled_pixels:
                scaled_pixels.append(rescaling(args[0]))
            args = (scaled_pixels[0], *args[1:])
        return layer(*args, **kwargs)

    copy = keras.models.clone_model(model, call_function=call)
    copy.set_weights(model.get_weights())
    return copy


def scales_pixels(model: keras.Model) -> bool:
    """Returns whether a model, or one inside it, has a layer that scales pixels."""
    return any(
        isinstance(layer, layers.Rescaling | layers.Normalization)
        or (isinstance(layer, keras.Model) and scales_pixels(layer))
        for layer in model.layers
    )


def _reason(outputs: list[tuple[int | None, ...]]) -> str:
    if len(outputs) > 1:
        return "a classifier has one output"
    if len(outputs[0]) != 2:
        return "a map or a sequence is not one label for an image"
    return "one number is a regression, or a yes or no: train it with two classes"


def _patterns(model: keras.Model) -> npt.NDArray[np.float32]:
    """Returns four noise images, float32 (4, S, S, C), raw pixels 0..255."""
    shape = (4, *model.inputs[0].shape[1:])
    rng = np.random.default_rng(1)
    return rng.integers(0, 256, shape).astype(np.float32)


def _refuse_probabilities(
    model: keras.Model, scores: npt.NDArray[np.float64], name: str
) -> None:
    last = model.outputs[0]._keras_history.operation
    if getattr(last, "activation", None) is keras.activations.sigmoid:
        raise ModelError(
            f"{name} ends in sigmoids (several labels for one image): expected a"
            " classifier, which gives each image one label"
        )
    if scores.min() >= 0 and np.abs(scores.sum(axis=1) - 1).max() < 1e-3:
        raise ModelError(
            f"{name} ends in probabilities, but with no final softmax layer: expected"
            " logits, save it without what follows its last Dense layer"
        )
