"""What the timing harness adds to the time of a call."""

import time

import numpy as np
import pytest

from benchmarks.common.timing import repeat
from benchmarks.latency import measure as latency
from edge_runtime import Classifier


def test_harness_adds_at_most_two_percent_to_a_bare_loop(tiny_float_path):
    """A bare loop and the harness take turns on one call; the quietest tenth counts.

    Where other programs left too few quiet moments there are more turns: what the
    harness adds itself stays in the quietest tenth of any number of them.
    """
    call = latency.one_image(Classifier.load(tiny_float_path))
    repeat(call, 100, 0)
    bare, harness = [], []
    for _ in range(6):
        for _ in range(150):
            started = time.perf_counter()
            for _ in range(20):
                call()
            bare.append((time.perf_counter() - started) / 20 * 1e3)
            harness.append(float(np.mean(repeat(call, 20, 0))))
        added = np.percentile(harness, 10) / np.percentile(bare, 10)
        if added <= 1.02:
            return
    pytest.fail(f"the harness takes {added:.3f} times as long as a bare loop")
