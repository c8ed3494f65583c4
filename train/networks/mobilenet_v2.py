"""MobileNetV2 in four widths, with the weights of ``keras.applications``.

After Sandler et al., "MobileNetV2: Inverted residuals and linear bottlenecks" (2018).
Same-padded, without the padding layers of ``keras.applications``: the same answers with
less to do on the device.
"""

from __future__ import annotations

from collections.abc import Callable

import keras
import numpy as np
from keras import layers

from edge_runtime.errors import RunError
from train.networks.blocks import Tensor
from train.networks.inverted_residual import Stage, chain, pooled_features, rounded

WIDTHS = {
    "mobilenet_v2": 1.0,
    "mobilenet_v2_075": 0.75,
    "mobilenet_v2_050": 0.5,
    "mobilenet_v2_035": 0.35,
}
_HEAD = 1280
# Table 2 of the paper: blocks, kernel, stride, expansion, channels.
_STAGES = (
    Stage(1, 3, 1, 1, 16),
    Stage(2, 3, 2, 6, 24),
    Stage(3, 3, 2, 6, 32),
    Stage(4, 3, 2, 6, 64),
    Stage(3, 3, 1, 6, 96),
    Stage(3, 3, 2, 6, 160),
    Stage(1, 3, 1, 6, 320),
)


def features(name: str) -> Callable[[Tensor], Tensor]:
    """Returns the function from pixels in [0, 1] to the 1,280 features of a width.

    Args:
        name: One of ``WIDTHS``.
    """

    def build(x: Tensor) -> Tensor:
        x = layers.Rescaling(2.0, offset=-1.0)(x)  # the weights want [-1, 1]
        stem, width = rounded(32 * WIDTHS[name]), WIDTHS[name]
        stages = [s._replace(channels=rounded(s.channels * width)) for s in _STAGES]
        blocks = list(chain(stages, stem))
        return pooled_features(x, blocks, stem=stem, head=_HEAD, momentum=0.999)

    return build


def load_keras_weights(model: keras.Model, name: str, weights: str) -> None:
    """Gives a network built with ``features`` the weights of ``keras.applications``.

    The last layer keeps its own. A network for grey images gets the stem's sum over the
    colours: its answers are those for the grey image in all three channels.

    Args:
        model: The network.
        name: One of ``WIDTHS``.
        weights: ``"imagenet"``, which Keras downloads once, or an ``.h5`` file of
            ``keras.applications.MobileNetV2`` without its last layer.

    Raises:
        RunError: They cannot be had, or are of another network.
    """
    try:
        source = keras.applications.MobileNetV2(
            input_shape=(224, 224, 3),
            alpha=WIDTHS[name],
            include_top=False,
            weights=weights,
        )
    except Exception as error:  # Keras raises bare Exceptions, HDF5 several kinds
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise RunError(
            f"cannot load the weights {weights!r} of {name}: {reason[:200]}; name their"
            " file without the last layer (no_top) with --pretrained FILE, or choose"
            " --pretrained none"
        ) from error
    own = [layer for layer in model.layers[:-1] if layer.weights]
    theirs = [layer for layer in source.layers if layer.weights]
    for layer, other in zip(own, theirs, strict=True):
        values = other.get_weights()
        if layer.name == "stem" and model.input_shape[-1] == 1:
            values = [np.sum(values[0], axis=2, keepdims=True)]
        layer.set_weights(values)
