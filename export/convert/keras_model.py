"""Loads a trained Keras classifier and brings it into the form that is exported."""

from __future__ import annotations

from pathlib import Path

import keras
import numpy as np
import numpy.typing as npt
from keras import layers

from edge_runtime.errors import ModelError
from edge_runtime.inference.classifier import softmax
from edge_runtime.model_file.metadata import LARGEST_SIZE_PX
from export.convert.keras_file import read_keras_file

SOFTMAX_TOLERANCE = 1e-4
# Change no number when a network answers.
UNCHANGING = (layers.Dropout, layers.Flatten, layers.Identity, layers.Reshape)


def load_classifier(path: Path, size_px: int | None = None) -> keras.Model:
    """Returns the classifier in a Keras file, checked, with logits as output.

    Args:
        path: A ``.keras`` or ``.h5`` file.
        size_px: Side of the input of a model that leaves it free.

    Raises:
        ModelError: Not a Keras file, damaged, containing code (Lambda layers), or not
            a classifier of one square image.
    """
    model, from_logits = read_keras_file(path)
    model = with_size(model, size_px, path.name)
    check_classifier(model, path.name, from_logits=from_logits)
    return checked_logits(as_graph(model), path.name)


def with_size(model: keras.Model, size_px: int | None, name: str) -> keras.Model:
    """Returns a model with a fixed input size, where it leaves that free.

    Raises:
        ModelError: It is free and no size is given, or fixed to another one.
    """
    if not isinstance(model, keras.Model) or len(model.inputs or ()) != 1:
        return model
    shape = tuple(model.inputs[0].shape)
    if len(shape) != 4:
        return model
    if None not in shape[1:3]:
        if size_px not in (None, shape[1]):
            raise ModelError(
                f"{name} takes {shape[1]} pixels, got --size {size_px}: leave it out"
            )
        return model
    if size_px is None:
        raise ModelError(
            f"{name} leaves the size of its input free, got {shape}: choose the size"
            " it was trained on, as in  --size 224"
        )
    fixed = keras.Input((size_px, size_px, shape[3]))
    return keras.Model(fixed, model(fixed), name=model.name)


def check_classifier(
    model: keras.Model, name: str, *, from_logits: bool = False
) -> None:
    """Raises ModelError unless the model maps one square image to class scores.

    One number is two scores if it is a sigmoid, or by its loss the logit of one.
    """
    if not isinstance(model, keras.Model) or len(model.inputs or ()) != 1:
        count = len(getattr(model, "inputs", None) or ())
        raise ModelError(f"{name}: expected a model with one image input, got {count}")
    shape = tuple(model.inputs[0].shape)
    square = len(shape) == 4 and shape[1] == shape[2] and shape[1] is not None
    if not square or shape[3] not in (1, 3) or shape[1] > LARGEST_SIZE_PX:
        raise ModelError(
            f"{name}: expected a square grey or RGB input (None, S, S, 1 or 3) of at"
            f" most {LARGEST_SIZE_PX} pixels, got {shape}{_way_out(shape)}"
        )
    outputs = [tuple(output.shape) for output in model.outputs]
    one_number = len(outputs) == 1 and outputs[0][1:] == (1,)
    if one_number and (from_logits or ends_in_sigmoid(model)):
        return
    if len(outputs) != 1 or len(outputs[0]) != 2 or (outputs[0][1] or 0) < 2:
        raise ModelError(
            f"{name}: expected one output (None, classes >= 2), got {outputs}:"
            f" {_reason(outputs)}"
        )


def _way_out(shape: tuple[int | None, ...]) -> str:
    """Returns the layer in front of a model that takes square images; or nothing."""
    sizes = shape[1:]
    if not all(sizes):
        return ""
    if len(sizes) == 2 and sizes[0] == sizes[1]:
        square, layer = (*sizes, 1), f"Reshape({sizes})"
    elif len(sizes) == 3 and sizes[0] in (1, 3) and sizes[1] == sizes[2]:
        square, layer = (*sizes[1:], sizes[0]), "Permute((3, 1, 2))"
    elif len(sizes) == 3 and sizes[2] in (1, 3):
        side = max(size for size in sizes[:2] if size)
        square, layer = (side, side, sizes[2]), f"Resizing({sizes[0]}, {sizes[1]})"
    else:
        return ""
    return (
        f": save  keras.Sequential([keras.Input({square}), keras.layers.{layer},"
        " model])"
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
    """Returns the model with logits as output, compared with what it was.

    A final softmax is taken off. One sigmoid for two classes becomes the logits 0 and
    z, whose softmax is the same function.

    Raises:
        ModelError: It ends in probabilities that cannot be undone, or in sigmoids for
            several labels.
    """
    images = _patterns(model)
    scores = np.asarray(model(images, training=False), dtype=np.float64)
    if scores.shape[1] == 1:
        stripped = _with_two_logits(model)
        yes = scores if ends_in_sigmoid(model) else 1 / (1 + np.exp(-scores))
        expected = np.hstack([1 - yes, yes])
    else:
        stripped, expected = with_logits(model), scores
    if stripped is model:
        _refuse_probabilities(model, scores, name)
        return model
    logits = np.asarray(stripped(images, training=False), dtype=np.float64)
    difference = float(np.abs(softmax(logits) - expected).max())
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
    return _without_last(model, "softmax")


def ends_in_sigmoid(model: keras.Model) -> bool:
    """Returns whether the last operation, also of a model inside it, is a sigmoid."""
    last = model.outputs[0]._keras_history.operation
    if isinstance(last, keras.Model):
        return ends_in_sigmoid(as_graph(last))
    sigmoid = getattr(last, "activation", None) is keras.activations.sigmoid
    return bool(sigmoid or type(last).__name__ == "Sigmoid")


def _with_two_logits(model: keras.Model) -> keras.Model:
    """Returns the model with the logits 0 and z, for one that gives sigmoid(z) or z."""
    linear = _without_last(model, "sigmoid")
    source = linear.outputs[0]
    last = source._keras_history.operation
    weights, use_bias, name = [np.ones((1, 1))], False, "yes_or_no"
    if type(last) is layers.Dense and last.activation is keras.activations.linear:
        node = last._inbound_nodes[source._keras_history.node_index]
        source, weights = node.input_tensors[0], last.get_weights()
        use_bias, name = last.use_bias, last.name
    both = layers.Dense(2, use_bias=use_bias, name=name)
    logits = both(source)
    # The first of two columns is 0.
    both.set_weights([np.hstack([0 * w, w]) for w in weights])
    return keras.Model(model.inputs[0], logits, name=model.name)


def _without_last(model: keras.Model, activation: str) -> keras.Model:
    """Returns the model without a final activation, or as it is where there is none."""
    history = model.outputs[0]._keras_history
    last = history.operation
    sources = last._inbound_nodes[history.node_index].input_tensors
    if isinstance(last, keras.Model):
        inner = _without_last(as_graph(last), activation)
        if len(last.inputs) != 1 or inner.outputs[0] is last.outputs[0]:
            return model
        return keras.Model(model.inputs[0], inner(sources[0]), name=model.name)
    # The layer, or keras.ops.softmax.
    if type(last).__name__ == activation.capitalize():
        return keras.Model(model.inputs[0], sources[0], name=model.name)
    function = getattr(keras.activations, activation)
    if getattr(last, "activation", None) is not function:
        return model
    if isinstance(last, layers.Activation):
        return keras.Model(model.inputs[0], sources[0], name=model.name)
    config = {**last.get_config(), "activation": "linear"}
    linear = type(last).from_config(config)
    model = keras.Model(model.inputs[0], linear(sources[0]), name=model.name)
    linear.set_weights(last.get_weights())
    return model


def _reason(outputs: list[tuple[int | None, ...]]) -> str:
    if len(outputs) > 1:
        return "a classifier has one output"
    if len(outputs[0]) != 2:
        return "a map or a sequence is not one label for an image"
    return (
        "one number is a regression, or the logit of a yes or no: for that put"
        " Activation('sigmoid') behind it, or save it compiled with its loss"
    )


def _last_function(output: keras.KerasTensor) -> str:
    """Returns the name of the activation or operation that makes an answer.

    It may be in a model inside the model, and stand before layers without effect.
    """
    last, index, _ = output._keras_history
    if isinstance(last, keras.Model):
        return _last_function(as_graph(last).outputs[0])
    if isinstance(last, UNCHANGING):
        return _last_function(last._inbound_nodes[index].input_tensors[0])
    activation = getattr(last, "activation", None)
    return str(getattr(activation, "__name__", type(last).__name__)).lower()


def _patterns(model: keras.Model) -> npt.NDArray[np.float32]:
    """Returns four noise images, float32 (4, S, S, C), raw pixels 0..255."""
    shape = (4, *model.inputs[0].shape[1:])
    rng = np.random.default_rng(1)
    return rng.integers(0, 256, shape).astype(np.float32)


def _refuse_probabilities(
    model: keras.Model, scores: npt.NDArray[np.float64], name: str
) -> None:
    if _last_function(model.outputs[0]).endswith("sigmoid"):  # also a hard one
        raise ModelError(
            f"{name} ends in sigmoids (several labels for one image): expected a"
            " classifier, which gives each image one label; if that is meant, save it"
            " with a last Dense layer without activation"
        )
    if scores.min() >= 0 and np.abs(scores.sum(axis=1) - 1).max() < 1e-3:
        raise ModelError(
            f"{name} ends in probabilities, but with no final softmax layer: expected"
            " logits, save it without what follows its last Dense layer"
        )
