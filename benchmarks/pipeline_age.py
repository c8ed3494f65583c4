"""How old pictures are when their answer is ready, with a camera that is too fast."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import numpy as np

from edge_runtime.errors import MeasurementError
from edge_runtime.pipeline import Pipeline
from edge_runtime.sources import open_source

FASTER = 3.0  # camera's rate over the pipeline's
LEAST_ANSWERS = 20
SETTLING = 3  # first answers, while libraries get ready
RATES = (10.0, 240.0)


def measure_age(
    clip: Path, pipeline: Pipeline, *, frame_s: float, seconds: float
) -> dict[str, Any]:
    """Returns ages and periods of a run on a live source.

    Args:
        clip: What the camera shows, again and again, in real time.
        pipeline: Answers.
        frame_s: What a frame takes it, about: the camera is ``FASTER``.
        seconds: How long at least, until there are enough answers.

    Returns:
        seconds, camera_fps, answers, dropped, age_p50_ms, age_p95_ms, period_ms (mean
        time between answers), period_p95_ms; age_periods: the age's 95th percentile
        in mean periods.

    Raises:
        MeasurementError: The source is not live.
    """
    rate = float(np.clip(FASTER / frame_s, *RATES))
    ages, times = [], []
    with open_source(f"fake:{clip}?fps={rate:.1f}") as source:
        end = time.monotonic() + seconds
        for frame in source:
            result = pipeline.process(frame)
            if result.age_ms is None:
                raise MeasurementError("expected a live source, got a file")
            ages.append(result.age_ms)
            times.append(time.monotonic())
            if times[-1] > end and len(ages) >= LEAST_ANSWERS + SETTLING:
                break
        dropped = source.dropped
    periods = 1000 * np.diff(times)[SETTLING:]
    age_p50, age_p95 = np.percentile(ages[SETTLING:], [50, 95])
    return {
        "seconds": seconds,
        "camera_fps": rate,
        "answers": len(ages),
        "dropped": dropped,
        "age_p50_ms": float(age_p50),
        "age_p95_ms": float(age_p95),
        "period_ms": float(periods.mean()),
        "period_p95_ms": float(np.percentile(periods, 95)),
        "age_periods": float(age_p95 / periods.mean()),
    }
