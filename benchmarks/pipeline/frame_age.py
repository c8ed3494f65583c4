"""How old pictures are when their answer is ready, with a camera that is too fast."""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

from benchmarks.pipeline.clip import playing, shown_at
from edge_runtime.errors import MeasurementError
from edge_runtime.pipeline.pipeline import Pipeline
from edge_runtime.preprocessing import Image
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
        answers), answers, dropped, and what ``age_figures`` and ``classified_figures``
        return.

    Raises:
        MeasurementError: The source is not live.
    """
    rate = float(np.clip(FASTER / _period_s(pictures, open_pipeline()), *RATES))
    told: list[RecordedFrame] = []
    pipeline = open_pipeline()
    with playing(pictures, rate) as source:
        end = time.monotonic() + seconds
        for frame in source:
            told.append(_told(pipeline.process(frame)))
            if told[-1].at_s > end and len(told) >= LEAST_ANSWERS + SETTLING:
                break
        dropped = source.dropped
    pipeline.close()
    settled = told[SETTLING:]
    return {
        "seconds": seconds,
        "camera_fps": rate,
        "camera_over_pipeline": (len(told) + dropped) / len(told),
        "answers": len(told),
        "dropped": dropped,
        **age_figures([one.age_ms for one in settled], [one.at_s for one in settled]),
        **classified_figures(settled),
    }


class RecordedFrame(NamedTuple):
    """An answer of a live source.

    Attributes:
        age_ms: Of its picture when the answer was ready.
        at_s: When that was.
        behind_ms: How long before this picture each of its faces was classified: 0 for
            those that were in itself.
    """

    age_ms: float
    at_s: float
    behind_ms: tuple[float, ...]


def _told(result: FrameResult) -> RecordedFrame:
    if result.age_ms is None:
        raise MeasurementError("expected a live source, got a file")
    now_s = result.timestamp_s
    behind_ms = (
        0.0 if face.classified_s is None else 1000 * (now_s - face.classified_s)
        for face in result.faces
    )
    return RecordedFrame(result.age_ms, time.monotonic(), tuple(behind_ms))


def age_figures(ages_ms: Sequence[float], times_s: Sequence[float]) -> dict[str, float]:
    """Returns ages and periods of a run.

    Args:
        ages_ms: Of each picture when its answer was ready.
        times_s: When that was. The first one's period is not known: it is left out.

    Returns:
        age_p50_ms, age_p95_ms, period_ms (mean time between answers), period_p95_ms;
        age_periods: the age's 95th percentile in mean periods; age_own_periods: 95th
        percentile of each picture's age in its own period, the time from the answer
        before to its own. The first is the larger where some pictures take longer than
        others (two faces, say); the second is large only where pictures wait in line.
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


def classified_figures(told: Sequence[RecordedFrame]) -> dict[str, float | None]:
    """Returns how old what is said about faces is, where they take turns.

    Args:
        told: All answers of a run.

    Returns:
        faceless_share: of the pictures, those without a face. classified_share: of the
        faces, those that were classified in the picture they are told of;
        classified_share_of_several: the same of pictures with two faces or more.
        classified_age_p50_ms, classified_age_p95_ms: age, when a face was told, of the
        picture in which it was classified. longest_kept_ms: from that picture to the
        latest one that the answer was kept in. None where there was no such face.
    """
    faces = [(one.age_ms, ms) for one in told for ms in one.behind_ms]
    several = [ms for one in told if len(one.behind_ms) > 1 for ms in one.behind_ms]
    ages = np.percentile([age + ms for age, ms in faces], [50, 95]) if faces else None
    return {
        "faceless_share": sum(not one.behind_ms for one in told) / len(told),
        "classified_share": _share_of_zeros([ms for _, ms in faces]),
        "classified_share_of_several": _share_of_zeros(several),
        "classified_age_p50_ms": None if ages is None else float(ages[0]),
        "classified_age_p95_ms": None if ages is None else float(ages[1]),
        "longest_kept_ms": max((ms for _, ms in faces), default=None),
    }


def _share_of_zeros(values: Sequence[float]) -> float | None:
    return sum(value == 0 for value in values) / len(values) if values else None


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
