"""Brings the configuration of a model that Keras 2 saved into the form of Keras 3.

Keras 3 builds most layers of Keras 2 as they are. Here are the others, each found by
loading a file of Keras 2.21 and comparing the answers; what would answer otherwise is
refused.
"""

from __future__ import annotations

from typing import Any

from edge_runtime.errors import ModelError

Config = dict[str, Any]

MODELS = ("Functional", "Model", "Sequential")
# Arguments that Keras 3 refuses, with the value that changes nothing.
DROPPED: dict[str, Config] = {
    "DepthwiseConv2D": {"groups": 1},
    "SeparableConv2D": {"groups": 1},
    "SeparableConv1D": {"groups": 1},
    "Conv2DTranspose": {"groups": 1},
    "SpatialDropout1D": {"trainable": True, "noise_shape": None},
    "SpatialDropout2D": {"trainable": True, "noise_shape": None},
    "LSTM": {"time_major": False},
    "GRU": {"time_major": False},
    "SimpleRNN": {"time_major": False},
}
# How a variable was initialized and regularized does not matter any more.
ENDINGS = ("_initializer", "_regularizer", "_constraint")


def as_keras_3(config: Config, name: str) -> None:
    """Changes the configuration of a model and of all its layers.

    Args:
        config: The object with ``class_name`` and ``config``.
        name: The file's, for messages.

    Raises:
        ModelError: A layer has no equal in Keras 3.
    """
    inner = config.get("config")
    if not isinstance(inner, dict):
        return
    kind = str(config.get("class_name"))
    if str(config.get("module")).startswith("tf_keras"):
        config["module"] = "keras.src.models.functional"
    if kind == "TFOpLambda":
        _replace_call(config, name)
    elif kind in MODELS:
        _renumber_calls(inner)
        for layer in inner.get("layers") or []:
            as_keras_3(layer, name)
    else:
        _change_arguments(kind, inner, name)
        for wrapped in ("layer", "backward_layer", "cell"):
            if isinstance(inner.get(wrapped), dict):
                as_keras_3(inner[wrapped], name)


def _change_arguments(kind: str, inner: Config, name: str) -> None:
    without_effect = DROPPED.get(kind, {})
    for key in list(inner):
        if "hard_sigmoid" in (inner[key], _class_of(inner[key])):
            raise ModelError(
                f"{name} was saved by Keras 2 and uses hard_sigmoid, which is another"
                " function in Keras 3 (clip(0.2 x + 0.5) became relu6(x + 3) / 6):"
                " train it with another activation"
            )
        unused = key in without_effect and inner[key] == without_effect[key]
        if unused or key.endswith(ENDINGS) or key == "rng_type":
            del inner[key]
    axis = inner.get("axis")
    if kind == "BatchNormalization" and isinstance(axis, list) and len(axis) == 1:
        inner["axis"] = axis[0]


def _class_of(value: Any) -> Any:
    return value.get("class_name") if isinstance(value, dict) else None


def _renumber_calls(inner: Config) -> None:
    """Counts the calls of a model inside the model from 0.

    In Keras 2 its own making is call 0.
    """
    layers = inner.get("layers") or []
    nested = {one["name"] for one in layers if one.get("class_name") in MODELS}
    places = [inner.get("output_layers"), *(one.get("inbound_nodes") for one in layers)]
    references = [found for place in places for found in _references(place)]
    for model in nested:
        calls = [one for one in references if one[0] == model]
        first = min((one[1] for one in calls), default=0)
        for one in calls:
            one[1] -= first


def _references(value: Any) -> list[list[Any]]:
    """Returns all [layer, call, output, ...] in a part of a configuration."""
    if isinstance(value, dict):
        return [found for one in value.values() for found in _references(one)]
    if not isinstance(value, list):
        return []
    named = len(value) >= 3 and isinstance(value[0], str)
    if named and all(isinstance(one, int) for one in value[1:3]):
        return [value, *_references(value[3:])]
    return [found for one in value for found in _references(one)]


def _replace_call(layer: Config, name: str) -> None:
    """Makes arithmetic with a constant, saved as a call of TensorFlow, a Rescaling."""
    function = str(layer["config"].get("function"))
    calls = layer.get("inbound_nodes") or []
    # One call: [input, 0, 0, {"y": 127.5}].
    arguments = calls[0][-1] if len(calls) == 1 and isinstance(calls[0], list) else {}
    values = [v for v in arguments.values() if v is not None and v != "channels_last"]
    value: Any = values[0] if len(values) == 1 else None
    scalar = isinstance(value, int | float)
    vector = isinstance(value, list) and all(isinstance(v, int | float) for v in value)
    scale: Any = 1.0
    offset: Any = 0.0
    match function.rsplit(".", 1)[-1]:
        case "truediv" | "divide" if scalar and value:
            scale = 1 / value
        case "multiply" | "mul" if scalar:
            scale = value
        case "subtract" | "sub" if scalar:
            offset = -value
        case "add" | "bias_add" if scalar or vector:
            offset = value
        case _:
            raise ModelError(
                f"{name} was saved by Keras 2 and calls TensorFlow ({function} in"
                f" {layer.get('name')}): replace the call by a layer of Keras, and save"
                " it again"
            )
    layer.update(module="keras.layers", class_name="Rescaling", registered_name=None)
    called = str(layer.get("name"))
    layer["config"] = {"name": called, "scale": scale, "offset": offset}
    layer["inbound_nodes"] = [[[*calls[0][:-1], {}]]]
