"""Loads a trained Keras classifier and brings it into the form that is exported."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import keras
from keras import layers

from edge_runtime.errors import ModelError


def load_classifier(path: Path) -> keras.Model:
    """Returns the classifier in a ``.keras`` file, checked, with logits as output.

    Raises:
        ModelError: Not a ``.keras`` file, damaged, containing code (Lambda layers),
            or no classifier of one square image.
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
    return with_logits(model)


def check_classifier(model: keras.Model, name: str) -> None:
    """Raises ModelError unless the model maps one square image to class scores."""
    if not isinstance(model, keras.Model) or len(model.inputs) != 1:
        raise ModelError(f"{name}: expected a model with one image input")
    shape = tuple(model.inputs[0].shape)
    square = len(shape) == 4 and shape[1] == shape[2] and shape[1] is not None
    if not square or shape[3] not in (1, 3):
        raise ModelError(
            f"{name}: expected a square grey or RGB input (None, S, S, 1 or 3),"
            f" got {shape}"
        )
    outputs = [tuple(output.shape) for output in model.outputs]
    if len(outputs) != 1 or len(outputs[0]) != 2 or (outputs[0][1] or 0) < 2:
        raise ModelError(
            f"{name}: expected one output (None, classes >= 2), got {outputs}"
        )


def with_logits(model: keras.Model) -> keras.Model:
    """Returns the model without a final softmax: the quantized file keeps the logits.

    An int8 softmax has steps of 1/256, which makes ties; the runtime applies it in
    floating point instead.
    """
    last = model.layers[-1]
    if isinstance(last, layers.Softmax):
        return keras.Model(model.inputs, last.input, name=model.name)
    if getattr(last, "activation", None) is not keras.activations.softmax:
        return model
    copy = keras.models.clone_model(model)
    copy.set_weights(model.get_weights())
    copy.layers[-1].activation = keras.activations.linear
    # The graph was traced with the softmax: trace it again.
    return keras.models.clone_model(
        copy, call_function=lambda layer, *args, **kwargs: layer(*args, **kwargs)
    )


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
    users = [node.operation for node in rescaling._outbound_nodes]
    plain = rescaling.input is model.inputs[0] and _zero(rescaling.offset)
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


def _zero(offset: Any) -> bool:
    return isinstance(offset, int | float) and offset == 0
