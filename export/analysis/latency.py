"""A short measurement of each model's latency; ``benchmarks latency`` is thorough."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import numpy as np

from edge_runtime.pipeline.tuning import time_calls
from export.convert.converted_model import ConvertedModel

SECONDS = 0.36  # of each model


def median_latency_ms(
    models: Sequence[ConvertedModel], shape: tuple[int, int, int]
) -> list[float]:
    """Returns the median time of one image through each model, one thread, in ms.

    The models are interleaved, so that other load on the machine affects all alike.

    Args:
        models: The models.
        shape: Height, width and channels of an image.
    """
    rng = np.random.default_rng(0)
    image = rng.integers(0, 256, (1, *shape), dtype=np.uint8)
    calls = [partial(converted.open().logits, image) for converted in models]
    times_ms = time_calls(calls, SECONDS)
    return [round(float(np.median(durations)), 4) for durations in times_ms]
