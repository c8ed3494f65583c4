"""What quantization needs to know about the activations of a converted model."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import numpy.typing as npt

from edge_runtime.utils.stderr import progress_bar
from export.calibration.activations import ActivationReader
from train.quantization.measure import measure
from train.quantization.ranges import PIXEL_RANGE, ChannelMeans, MeasuredRanges

MOST_CHANNELS = 4096


def measure_ranges(
    reader: ActivationReader, images: npt.NDArray[np.uint8]
) -> MeasuredRanges:
    """Returns the ranges of every activation over the images, and channels' means.

    The input's range is always [0, 255]: then its scale is 1, and quantizing a pixel
    loses nothing.

    Args:
        reader: Of the float32 model.
        images: uint8 (N, S, S, C), raw pixels.
    """
    fixed = {reader.input: PIXEL_RANGE}
    measured = measure(reader.read, images, fixed=fixed, unclipped=[reader.output])
    return replace(measured, means=_channel_means(reader, images))


def _channel_means(
    reader: ActivationReader, images: npt.NDArray[np.uint8]
) -> ChannelMeans:
    """Returns the means over images and places, with five digits.

    Left out are those of more than ``MOST_CHANNELS``: places of a flattened image.
    """
    sums: dict[str, npt.NDArray[np.float64]] = {}
    for image in progress_bar(images, "measuring means", unit="image"):
        activations = reader.read(image)
        for name in reader.weighted & activations.keys():
            values = np.moveaxis(activations[name], reader.channel_axis, -1)
            if values.shape[-1] > MOST_CHANNELS:
                continue
            others = tuple(range(values.ndim - 1))
            mean = values.mean(axis=others, dtype=np.float64)
            sums[name] = sums[name] + mean if name in sums else mean
    return {
        name: [float(f"{value:.5g}") for value in sums[name] / len(images)]
        for name in sorted(sums)
    }
