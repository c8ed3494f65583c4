"""The network whose features tell images apart: pretrained, or the released one."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from edge_runtime.preprocessing import Colour, Fit
from train.networks import pretrained
from train.networks.backend import start_keras
from train.options.defaults import PRETRAINED_SIZE_PX

if TYPE_CHECKING:
    import keras

PHOTO_ARCH = "efficientnet_lite0"
RELEASED = "fer2013"  # for small grey pictures
BATCH = 32


@dataclass(frozen=True)
class FeatureNetwork:
    """A network without its last layer.

    Attributes:
        name: For people.
        size_px: Side of its square input in pixels.
        colour: Of its input.
        fit: How images become square.
        model: Takes raw pixels and returns features.
    """

    name: str
    size_px: int
    colour: Colour
    fit: Fit
    model: keras.Model

    def features(self, images: npt.NDArray[np.uint8]) -> npt.NDArray[np.float16]:
        """Returns float16 (N, F) features of uint8 (N, S, S, C) images, 0..255."""
        features = self.model.predict(images, batch_size=BATCH, verbose=0)
        return np.asarray(features, np.float16)


def open_network(
    *, large: bool, colour: bool, threads: int | None = None
) -> FeatureNetwork | None:
    """Returns the network that suits the images; None where its weights are missing.

    Args:
        large: Most images are above 64 pixels.
        colour: Some are in colour.
        threads: CPU threads; None for the backend's default.
    """
    if large or colour:
        if not pretrained.is_installed(PHOTO_ARCH):
            return None
        start_keras(threads)
        return _photo_network()
    start_keras(threads)
    return _released_network()


def _photo_network() -> FeatureNetwork:
    from train.networks.architectures import build_model

    side = PRETRAINED_SIZE_PX[PHOTO_ARCH]
    model = build_model(PHOTO_ARCH, size_px=side, channels=3, classes=2)
    pretrained.load_weights(model, PHOTO_ARCH, pretrained.IMAGENET)
    name = f"{PHOTO_ARCH}, {pretrained.TRAINED_ON}"
    return FeatureNetwork(name, side, "rgb", "crop", _without_head(model))


def _released_network() -> FeatureNetwork:
    import keras

    from train.run.folder import find_model

    model = keras.models.load_model(find_model(RELEASED), compile=False, safe_mode=True)
    side = int(model.inputs[0].shape[1])
    name = f"the released {RELEASED}"
    return FeatureNetwork(name, side, "grey", "crop", _without_head(model))


def _without_head(model: keras.Model) -> keras.Model:
    import keras

    return keras.Model(model.inputs[0], model.layers[-1].input)
