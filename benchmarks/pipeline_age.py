"""How old pictures are when their answer is ready, with a camera that is too fast."""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from benchmarks.pipeline_camera import playing, shown_at
from edge_runtime.errors import MeasurementError
from edge_runtime.pipeline import Pipeline
from edge_runtime.preprocess import Image
from edge_runtime.sources import Frame

FASTER = 3.0  # camera's rate over the pipeline's
LEAST_ANSWERS = 20
SETTLING = 3  # first answers, while libraries get ready
RATES = (10.0, 3000.0)
TRIAL_S = 2.0


def measure_age(
    pictures: Sequence[Image], open_pipeline: Callable[[], Pipeline], *, seconds: float
) -> dict[str, Any]:
    """Returns ages and periods of a run on a live source.

    The camera gives ``FASTER`` times as many pictures a second as the pipeline answers
    where the next picture is always there; that is tried first.

    Args:
        pictures: What the camera shows, again and again; uint8 (H, W, 3) BGR.
        open_pipeline: Returns a new pipeline, which is closed afterwards.
        seconds: How long at least, until there are enough answers.

    Returns:
        seconds, camera_fps (asked for), camera_over_pipeline (pictures that came over
        answers), answers, dropped, age_p50_ms, age_p95_ms, period_ms (mean time
        between answers), period_p95_ms; age_periods: the age's 95th percentile in
        mean periods; age_own_periods: 95th percentile of each picture's age in its own
        period, the time from the answer before to its own. The first is the larger
        where some pictures take longer than others (two faces, say); the second is
        large only where pictures wait in line.

    Raises:
        MeasurementError: The source is not live.
    """
    rate = float(np.clip(FASTER / _period_s(pictures, open_pipeline()), *RATES))
    ages, times = [], []
    pipeline = open_pipeline()
    with playing(pictures, rate) as source:
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
    pipeline.close()
    return {
        "seconds": seconds,
        "camera_fps": rate,
        "camera_over_pipeline": (len(ages) + dropped) / len(ages),
        "answers": len(ages),
        "dropped": dropped,
        **age_figures(ages[SETTLING:], times[SETTLING:]),
    }


def age_figures(ages_ms: Sequence[float], times_s: Sequence[float]) -> dict[str, float]:
    """Returns ages and periods of a run, as ``measure_age`` does.

    Args:
        ages_ms: Of each picture when its answer was ready.
        times_s: When that was. The first one's period is not known: it is left out.
    """
    periods, ages = 1000 * np.diff(times_s), np.asarray(ages_ms[1:])
    age_p50, age_p95 = np.percentile(ages, [50, 95])
    return {
        "age_p50_ms": float(age_p50),
        "age_p95_ms": float(age_p95),
        "period_ms": float(periods.mean()),
        "period_p95_ms": float(np.percentile(periods, 95)),
        "age_periods": float(age_p95 / periods.mean()),
        "age_own_periods": float(np.percentile(ages / periods, 95)),
    }


def _period_s(pictures: Sequence[Image], pipeline: Pipeline) -> float:
    """Returns the mean time of an answer where the next picture is always there.

    Of the second half: in the first one nobody may have been found yet.
    """
    started, late = time.monotonic(), 0
    for number in itertools.count():
        elapsed_s = time.monotonic() - started
        late += elapsed_s > TRIAL_S / 2
        if elapsed_s > TRIAL_S and late > 1:
            break
        image = pictures[shown_at(elapsed_s) % len(pictures)]
        pipeline.process(Frame(image, number, elapsed_s, "trial"))
    pipeline.close()
    return (elapsed_s - TRIAL_S / 2) / (late - 1)
