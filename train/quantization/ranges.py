"""Activation ranges: what quantization needs to know about a model's tensors."""

from __future__ import annotations

from dataclasses import dataclass, field

ActivationRange = tuple[float, float]  # the smallest and the largest value
Ranges = dict[str, ActivationRange]  # by tensor name
ChannelMeans = dict[str, list[float]]  # by tensor name, a number for each channel

PIXEL_RANGE: ActivationRange = (0.0, 255.0)


@dataclass(frozen=True)
class MeasuredRanges:
    """The activation ranges of one graph.

    Attributes:
        whole: Smallest and largest value: for int16 activations, whose steps are fine
            enough.
        clipped: The ranges with the least squared error in int8.
        means: Of each channel of what layers with weights read; empty where biases
            make up for nothing, as with ranges of a training.
    """

    whole: Ranges = field(default_factory=dict)
    clipped: Ranges = field(default_factory=dict)
    means: ChannelMeans = field(default_factory=dict)
