"""The operators that an exported file has for a network, found in its Keras graph.

The converters fold BatchNorm into the convolution or Dense layer directly before it,
and put a ReLU directly behind one into the same operator, where nothing else reads what
lies between. A separable convolution becomes two operators. Each operator rounds its
output once; what only moves values, and pooling, keeps the steps of its input.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import Any, Literal, NamedTuple

import keras
import numpy as np
from keras import layers

from edge_runtime.errors import RunError

Tensor = Any  # a symbolic Keras tensor; Keras ships no types for it
Activation = Literal["linear", "relu", "relu6"]

DEPTHWISE, POINTWISE = "depthwise", "pointwise"  # the parts of a separable convolution
WEIGHTED = (
    layers.Conv2D,
    layers.DepthwiseConv2D,
    layers.SeparableConv2D,
    layers.Dense,
)
MOVING = (
    layers.MaxPooling2D,
    layers.GlobalMaxPooling2D,
    layers.ZeroPadding2D,
    layers.Flatten,
    layers.Reshape,
    layers.Dropout,
    layers.SpatialDropout2D,
)
POOLING = (layers.AveragePooling2D,)  # rounds, to the steps of its input
ADDING = (layers.Add, keras.src.ops.numpy.Add)
RECTIFYING = ("ReLU", "Relu", "Relu6", "Activation")  # layers and keras.ops
OTHERS = (layers.GlobalAveragePooling2D, layers.Rescaling)
KNOWN = (
    "convolution, depthwise and separable convolution, Dense, BatchNorm directly behind"
    " one of them, ReLU, ReLU6, addition of two tensors, pooling, padding, Flatten,"
    " Dropout"
)


class Int8Operator(NamedTuple):
    """An operator of the exported file.

    Attributes:
        name: Name of its last Keras layer, by which its range is kept.
        layer: The layer, or operation of ``keras.ops``, that computes.
        part: ``DEPTHWISE`` or ``POINTWISE`` of a separable convolution; else ``""``.
        norm: The BatchNorm that is folded into it; None without.
        activation: What follows in the same operator.
        inputs: The tensors it reads.
        output: The tensor it makes; what is between two parts is a name.
        scale: A scaling of pixels that is folded into its weights.
    """

    name: str
    layer: Any
    part: str
    norm: Any
    activation: Activation
    inputs: tuple[Tensor, ...]
    output: Tensor
    scale: float = 1.0


class _Node(NamedTuple):
    """One call of a layer or operation."""

    operation: Any
    inputs: tuple[Tensor, ...]
    output: Tensor


def find_operators(model: keras.Model) -> list[Int8Operator]:
    """Returns the operators in the order in which they are computed.

    Args:
        model: Takes raw pixels, gives logits.

    Raises:
        RunError: What one of its layers does in int8 is not known here.
    """
    nodes = list(_nodes(model, {}))
    readers: dict[int, list[_Node]] = {}
    for node in nodes:
        for tensor in node.inputs:
            readers.setdefault(id(tensor), []).append(node)
    pixels = {id(model.inputs[0])}
    found: list[Int8Operator] = []
    fused: set[int] = set()
    for node in nodes:
        if id(node.output) in fused:
            continue
        _require_known(node, pixels)
        if type(node.operation) is layers.Rescaling:
            pixels.add(id(node.output))
        calls = _calls(node, readers)
        fused.update(id(call.output) for call in calls)
        found += _operators(calls)
    names = Counter(each.name for each in found)
    for name, count in names.items():
        if count > 1:
            raise RunError(
                f"--qat: expected layers that are used once, got {name} used {count}"
                " times"
            )
    return _with_folded_scaling(found)


def _with_folded_scaling(operators: list[Int8Operator]) -> list[Int8Operator]:
    """Returns the operators without a scaling of pixels that the exporter folds.

    That is the only one of a network, without offset, which convolutions alone read.
    """
    scalings = [one for one in operators if type(one.layer) is layers.Rescaling]
    if len(scalings) != 1 or scalings[0].layer.offset:
        return operators
    scaling = scalings[0]
    readers = [one for one in operators if any(x is scaling.output for x in one.inputs)]
    if not all(type(one.layer) is layers.Conv2D for one in readers):
        return operators
    scale = float(scaling.layer.scale)
    folded = {
        one.name: one._replace(inputs=scaling.inputs, scale=scale) for one in readers
    }
    return [folded.get(one.name, one) for one in operators if one is not scaling]


def _nodes(model: keras.Model, known: dict[int, Tensor]) -> Iterator[_Node]:
    """Yields the calls in a model and in models inside it, in the order of computing.

    Args:
        model: The model.
        known: By the id of a tensor of a model inside: the same one outside.
    """
    depths = sorted(model._nodes_by_depth, reverse=True)
    for node in (node for depth in depths for node in model._nodes_by_depth[depth]):
        inputs = tuple(known.get(id(each), each) for each in node.input_tensors)
        inner = getattr(node.operation, "_functional", node.operation)  # Sequential's
        if isinstance(inner, keras.Model) and hasattr(inner, "_nodes_by_depth"):
            known.update(zip(map(id, inner.inputs), inputs, strict=True))
            yield from _nodes(inner, known)
            made = [known.get(id(each), each) for each in inner.outputs]
            known.update(zip(map(id, node.output_tensors), made, strict=True))
        elif inputs:
            yield _Node(node.operation, inputs, node.output_tensors[0])


def _calls(first: _Node, readers: dict[int, list[_Node]]) -> list[_Node]:
    """Returns the calls of one operator: BatchNorm and ReLU are put into it."""

    def follows(*kinds: str) -> bool:
        after = readers.get(id(calls[-1].output), [])
        fits = len(after) == 1 and type(after[0].operation).__name__ in kinds
        if fits:
            calls.append(after[0])
        return fits

    calls = [first]
    weighted = type(first.operation) in WEIGHTED
    if weighted and activation_of(first.operation) == "linear":
        follows("BatchNormalization")
    linear = activation_of(calls[-1].operation) == "linear"
    fuses = linear and (weighted or type(first.operation) in ADDING)
    if fuses and follows(*RECTIFYING):
        _require_activation(calls[-1].operation)
    return calls


def _operators(calls: list[_Node]) -> list[Int8Operator]:
    """Returns the operator of some calls; of a separable convolution both."""
    first, last = calls[0], calls[-1]
    layer, norm = first.operation, None
    if len(calls) > 1 and type(calls[1].operation) is layers.BatchNormalization:
        norm = calls[1].operation
    activations = {activation_of(call.operation) for call in calls} - {"linear"}
    activation: Activation = activations.pop() if activations else "linear"
    if type(layer) is not layers.SeparableConv2D:
        whole = (layer, "", norm, activation, first.inputs, last.output)
        return [Int8Operator(last.operation.name, *whole)]
    between = f"{layer.name}/{DEPTHWISE}"
    name = last.operation.name
    return [
        Int8Operator(between, layer, DEPTHWISE, None, "linear", first.inputs, between),
        Int8Operator(name, layer, POINTWISE, norm, activation, (between,), last.output),
    ]


def activation_of(operation: Any) -> Any:
    """Returns what a layer or operation does behind its sum: an ``Activation``.

    The name of anything else.
    """
    kind = type(operation).__name__
    if kind in ("Relu", "Relu6"):
        return kind.lower()
    if kind == "ReLU":
        plain = not operation.negative_slope and not operation.threshold
        known = {None: "relu", 6: "relu6"}
        return known.get(operation.max_value, kind) if plain else kind
    function = getattr(operation, "activation", None)
    return "linear" if function is None else function.__name__


def _require_known(node: _Node, pixels: set[int]) -> None:
    """Raises RunError unless the exported operator of a call is known."""
    layer = node.operation
    kind = type(layer)
    if kind.__name__ in RECTIFYING or kind in WEIGHTED:
        _require_activation(layer)
    elif kind in ADDING:
        shapes = {tuple(each.shape) for each in node.inputs}
        if len(node.inputs) != 2 or len(shapes) > 1:
            _refuse(layer, "an addition of other than two tensors of one shape")
    elif kind is layers.Rescaling:
        one_number = np.ndim(layer.scale) == 0 == np.ndim(layer.offset)
        if id(node.inputs[0]) not in pixels or not one_number or layer.scale <= 0:
            _refuse(
                layer, "a scaling of other values than pixels, or not by one number"
            )
    elif kind is layers.BatchNormalization:
        _refuse(layer, "a BatchNorm that is not the only reader of a convolution")
    elif kind not in (*MOVING, *POOLING, *OTHERS):
        _refuse(layer, f"a {kind.__name__}")
    if getattr(layer, "groups", 1) != 1:
        _refuse(layer, "a convolution in groups")
    if kind is layers.Dense and len(node.inputs[0].shape) != 2:
        _refuse(layer, "a Dense layer on more than one row of features")
    if getattr(layer, "data_format", "channels_last") != "channels_last":
        _refuse(layer, "channels first")


def _require_activation(layer: Any) -> None:
    if activation_of(layer) not in ("linear", "relu", "relu6"):
        _refuse(layer, f"the activation {activation_of(layer)}")


def _refuse(layer: Any, what: str) -> None:
    raise RunError(
        f"--qat: {layer.name} cannot be simulated, it is {what}: known are {KNOWN}"
    )
