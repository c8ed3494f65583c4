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
from edge_runtime.results import FrameResult
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
        large only where pictures wait in line. classified_share: of the faces, those
        that were classified in the picture they are told of; classified_age_p50_ms and
        classified_age_p95_ms: age, when a face was told, of the picture in which it was
        classified. These three are None where there was no face.

    Raises:
        MeasurementError: The source is not live.
    """
    rate = float(np.clip(FASTER / _period_s(pictures, open_pipeline()), *RATES))
    ages, times, behind = [], [], []
    pipeline = open_pipeline()
    with playing(pictures, rate) as source:
        end = time.monotonic() + seconds
        for frame in source:
            result = pipeline.process(frame)
            if result.age_ms is None:
                raise MeasurementError("expected a live source, got a file")
            ages.append(result.age_ms)
            times.append(time.monotonic())
            behind.append([1000 * one for one in _behind_s(result)])
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
        **classified_figures(ages[SETTLING:], behind[SETTLING:]),
    }


def _behind_s(result: FrameResult) -> list[float]:
    """Returns how long before the frame each face was classified, in seconds."""
    at_s = result.timestamp_s
    classified = (face.classified_s for face in result.faces)
    return [0.0 if one is None else at_s - one for one in classified]


def classified_figures(
    ages_ms: Sequence[float], behind_ms: Sequence[Sequence[float]]
) -> dict[str, float | None]:
    """Returns ages of what faces are told to be, as ``measure_age`` does.

    Args:
        ages_ms: Of each picture when its answer was ready.
        behind_ms: For each picture: how long before it each of its faces was
            classified, 0 for those that were in itself.
    """
    faces = [
        (age, ms) for age, row in zip(ages_ms, behind_ms, strict=True) for ms in row
    ]
    if not faces:
        names = ("classified_share", "classified_age_p50_ms", "classified_age_p95_ms")
        return dict.fromkeys(names)
    age_p50, age_p95 = np.percentile([age + ms for age, ms in faces], [50, 95])
    return {
        "classified_share": sum(ms == 0 for _, ms in faces) / len(faces),
        "classified_age_p50_ms": float(age_p50),
        "classified_age_p95_ms": float(age_p95),
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
