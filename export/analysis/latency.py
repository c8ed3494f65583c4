"""A short measurement of each model's latency; ``benchmarks latency`` is thorough."""

from __future__ import annotations

import time
from collections.abc import Sequence

import numpy as np

from export.convert.converted_model import ConvertedModel
from train.progress import progress_bar

ROUNDS = 12
BLOCK_SECONDS = 0.03
LEAST_CALLS, WARM_UP_CALLS = 3, 5


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
    backends = [converted.open() for converted in models]
    for backend in backends:
        for _ in range(WARM_UP_CALLS):
            backend.logits(image)
    times_ms: list[list[float]] = [[] for _ in backends]
    for _ in progress_bar(range(ROUNDS), "timing", unit="round"):
        for backend, durations in zip(backends, times_ms, strict=True):
            end = time.perf_counter() + BLOCK_SECONDS
            calls = 0
            while calls < LEAST_CALLS or time.perf_counter() < end:
                started = time.perf_counter()
                backend.logits(image)
                durations.append(1e3 * (time.perf_counter() - started))
                calls += 1
    return [round(float(np.median(durations)), 4) for durations in times_ms]
