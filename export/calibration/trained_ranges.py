"""The ranges that a network was trained with, for the tensors of its exported graph.

They are known by the names of Keras layers; converters call tensors otherwise and give
what they fuse the name of one part. So a tensor is found by what is in it: on some
images it has the values of one of the network's points.
"""

from __future__ import annotations

from dataclasses import replace

import keras
import numpy as np
import numpy.typing as npt

from export.calibration.activations import ActivationReader
from train.quantization.network import points
from train.quantization.operators import find_operators
from train.quantization.ranges import MeasuredRanges, Ranges

PROBES = 4  # images; more tell apart what is equal on few
SAME = 1e-3  # share of the largest value: the order of a sum's parts differs


def with_trained_ranges(
    measured: MeasuredRanges,
    trained: Ranges,
    reader: ActivationReader,
    model: keras.Model,
    images: npt.NDArray[np.uint8],
) -> tuple[MeasuredRanges, list[str]]:
    """Returns ranges with those of the training for int8, and the layers without one.

    Without means of channels: the network has learnt with its weights rounded.

    Args:
        measured: Of the exported graph.
        trained: Ranges by the names of the network's points.
        reader: Of the exported graph.
        model: The Keras model: raw pixels in, logits out.
        images: uint8 (N, S, S, C): some of these are tried.
    """
    probes = images[np.linspace(0, len(images) - 1, PROBES).astype(int)]
    network = points(model, find_operators(model))
    expected = {
        name: np.asarray(values)
        for name, values in network.predict_on_batch(probes).items()
    }
    read = [reader.read(image) for image in probes]
    clipped, found = dict(measured.clipped), set()
    for tensor in measured.clipped:
        if tensor == reader.input:
            continue
        values = np.concatenate([one[tensor] for one in read])
        name = _nearest(values, expected)
        if name in trained:
            clipped[tensor] = trained[name]
            found.add(name)
    lost = sorted(trained.keys() - found)
    return replace(measured, clipped=clipped, means={}), lost


def _nearest(
    values: npt.NDArray[np.float32], expected: dict[str, npt.NDArray[np.float32]]
) -> str | None:
    """Returns the name of what has the same values, channels last or first; or None."""
    orders = [values, np.moveaxis(values, 1, -1)] if values.ndim == 4 else [values]
    found, smallest = None, SAME
    for name, wanted in expected.items():
        largest = float(np.abs(wanted).max()) or 1.0
        for order in orders:
            if order.squeeze().shape == wanted.squeeze().shape:
                difference = order.squeeze() - wanted.squeeze()
                share = float(np.abs(difference).max()) / largest
                if share < smallest:
                    found, smallest = name, share
    return found
