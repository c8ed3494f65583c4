"""A short look at how long each file takes; ``benchmarks latency`` looks longer."""

from __future__ import annotations

import time
from collections.abc import Sequence

import numpy as np

from export.package import ConvertedModel, open_draft
from train.progress import progress_bar

ROUNDS = 12
BLOCK_SECONDS = 0.03
LEAST_CALLS, WARM_UP_CALLS = 3, 5


def median_ms(
    drafts: Sequence[ConvertedModel], shape: tuple[int, int, int]
) -> list[float]:
    """Returns the median time of one image through each model, one thread, in ms.

    They take turns, so that what else the machine does is unfair to none.

    Args:
        drafts: The models.
        shape: Height, width and channels of an image.
    """
    rng = np.random.default_rng(0)
    image = rng.integers(0, 256, (1, *shape), dtype=np.uint8)
    backends = [open_draft(draft) for draft in drafts]
    for backend in backends:
        for _ in range(WARM_UP_CALLS):
            backend.logits(image)
    times: list[list[float]] = [[] for _ in backends]
    for _ in progress_bar(range(ROUNDS), "timing", unit="round"):
        for backend, row in zip(backends, times, strict=True):
            end = time.perf_counter() + BLOCK_SECONDS
            calls = 0
            while calls < LEAST_CALLS or time.perf_counter() < end:
                started = time.perf_counter()
                backend.logits(image)
                row.append(1e3 * (time.perf_counter() - started))
                calls += 1
    return [round(float(np.median(row)), 4) for row in times]
