"""Writes UpSampling2D as an operator with an integer kernel."""

from __future__ import annotations

from typing import Any

import keras
from keras import layers


def resize_instead(model: keras.Model) -> keras.Model:
    """Returns a model whose nearest-neighbour upsampling is one resize operator.

    Keras repeats rows and columns, which TFLite tiles in float only. Other models are
    returned as they are.
    """
    if not any(_repeats(layer) for layer in model._flatten_layers()):
        return model

    def clone(layer: keras.Layer) -> keras.Layer:
        if not _repeats(layer):
            return layer.__class__.from_config(layer.get_config())
        height, width = layer.output.shape[1:3]
        return layers.Resizing(height, width, "nearest", name=layer.name)

    copy = keras.models.clone_model(model, clone_function=clone, recursive=True)
    copy.set_weights(model.get_weights())
    return copy


def _repeats(layer: Any) -> bool:
    if not isinstance(layer, layers.UpSampling2D) or layer.interpolation != "nearest":
        return False
    return layer.data_format == "channels_last" and None not in layer.output.shape[1:3]
