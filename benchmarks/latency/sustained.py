"""Measures latency without a pause for minutes: a hot board slows down.

The ranking of passively cooled devices in the first minute need not be that after half
an hour. The models are interleaved; percentiles of short windows are kept.
"""

from __future__ import annotations

import time
from collections.abc import Sequence

import numpy as np

from benchmarks.common.conditions import ROOT, take_sample
from benchmarks.common.documents import Document
from benchmarks.common.timing import Call, repeat
from benchmarks.latency.measure import Variant, one_image
from edge_runtime.errors import MeasurementError
from edge_runtime.utils.stderr import progress_counter

FIRST_SECONDS = 60.0
MOST_WINDOWS = 240
FEWEST_WINDOWS = 6
WINDOW_SECONDS = 0.25  # at the shortest


def measure_sustained(
    variants: Sequence[Variant], seconds: float, *, threads: int = 1
) -> list[Document]:
    """Returns the latency of every variant at first and in the steady state.

    First is the first minute, at most a tenth of the time; the steady state is the last
    third. Each has at least one window.

    Args:
        variants: The models, run in rotation.
        seconds: Duration of the whole measurement.
        threads: CPU threads of each.

    Returns:
        JSON-ready rows; the keys are in the latency document.

    Raises:
        MeasurementError: The time is too short.
    """
    calls = [one_image(variant.open(threads)) for variant in variants]
    window = max(WINDOW_SECONDS, seconds / MOST_WINDOWS / len(calls))
    if seconds < FEWEST_WINDOWS * window * len(calls):
        least = FEWEST_WINDOWS * WINDOW_SECONDS * len(calls)
        raise MeasurementError(
            f"expected --sustained of at least {least:.0f} s for {len(calls)} models,"
            f" got {seconds:g} s"
        )
    rows: list[list[Document]] = [[] for _ in calls]
    started = time.monotonic()
    with progress_counter(round(seconds), "sustained", unit="s") as step:
        while time.monotonic() - started < seconds:
            before = time.monotonic()
            for call, row in zip(calls, rows, strict=True):
                row.append(_window(call, window, started))
            step(round(time.monotonic() - before))
    return [
        _summary(variant.name, threads, seconds, row)
        for variant, row in zip(variants, rows, strict=True)
    ]


def _window(call: Call, window: float, started: float) -> Document:
    at_s = time.monotonic() - started
    p50, p99 = np.percentile(np.asarray(repeat(call, 1, window)), [50, 99])
    sample = take_sample(ROOT)
    return {
        "at_s": at_s,
        "p50": float(p50),
        "p99": float(p99),
        "temperature_c": sample.temperature_c,
        "frequency_mhz": sample.frequency_mhz,
    }


def _summary(
    name: str, threads: int, seconds: float, windows: list[Document]
) -> Document:
    first_s = min(FIRST_SECONDS, seconds / 10)
    # The first window of the last model may begin later than that, and the last window
    # of a slow one before the last third.
    first = [window["p50"] for window in windows if window["at_s"] <= first_s]
    steady = [window["p50"] for window in windows if window["at_s"] >= seconds * 2 / 3]
    first_p50 = float(np.median(first or [windows[0]["p50"]]))
    steady_p50 = float(np.median(steady or [windows[-1]["p50"]]))
    return {
        "model": name,
        "threads": threads,
        "seconds": seconds,
        "first_seconds": first_s,
        "first_p50_ms": first_p50,
        "steady_p50_ms": steady_p50,
        "steady_to_first": steady_p50 / first_p50,
        "windows": windows,
    }
