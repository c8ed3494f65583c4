"""Measures how old frames are when their result is ready, with too fast a camera."""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

from benchmarks.pipeline.replay import index_at, replay
from edge_runtime.errors import MeasurementError
from edge_runtime.pipeline.base import FramePipeline
from edge_runtime.preprocessing import Image
from edge_runtime.results import FrameResult
from edge_runtime.sources import Frame

CAMERA_OVER_PIPELINE = 3.0  # the camera's rate over that of the results
LEAST_RESULTS = 20
SETTLING_RESULTS = 3  # the first ones, while libraries initialize
CAMERA_FPS_RANGE = (10.0, 3000.0)
TRIAL_S = 2.0


class RecordedResult(NamedTuple):
    """A result of a live source.

    Attributes:
        age_ms: Age of its frame when the result was ready.
        ready_s: ``time.monotonic()`` at that moment.
        behind_ms: For each face, the time from the frame in which it was classified
            to this one: 0 for those classified in this frame.
    """

    age_ms: float
    ready_s: float
    behind_ms: tuple[float, ...]


def measure_age(
    images: Sequence[Image],
    open_pipeline: Callable[[], FramePipeline[Any]],
    *,
    recorded_fps: float,
    seconds: float,
) -> dict[str, Any]:
    """Returns ages and periods of a run on a live source.

    The camera gives ``CAMERA_OVER_PIPELINE`` times as many frames a second as the
    pipeline processes when it never waits for a frame; that is measured first.

    Args:
        images: What the camera shows, again and again; uint8 (H, W, 3) BGR.
        open_pipeline: Returns a new pipeline, which is closed afterwards.
        recorded_fps: Images per second of the recording.
        seconds: Shortest duration; it goes on until there are enough results.

    Returns:
        seconds, camera_fps (requested), camera_over_pipeline (frames given over
        results), answers (results), dropped, and the figures of ``age_figures`` and
        ``classified_figures``.

    Raises:
        MeasurementError: The source is not live.
    """
    period_s = _period_s(images, open_pipeline(), recorded_fps)
    camera_fps = float(np.clip(CAMERA_OVER_PIPELINE / period_s, *CAMERA_FPS_RANGE))
    results: list[RecordedResult] = []
    pipeline = open_pipeline()
    with replay(images, camera_fps, recorded_fps=recorded_fps) as source:
        end_s = time.monotonic() + seconds
        for frame in source:
            results.append(_record(pipeline.process(frame)))
            enough = len(results) >= LEAST_RESULTS + SETTLING_RESULTS
            if enough and results[-1].ready_s > end_s:
                break
        dropped = source.dropped
    pipeline.close()
    settled = results[SETTLING_RESULTS:]
    return {
        "seconds": seconds,
        "camera_fps": camera_fps,
        "camera_over_pipeline": (len(results) + dropped) / len(results),
        "answers": len(results),
        "dropped": dropped,
        **age_figures(
            [each.age_ms for each in settled], [each.ready_s for each in settled]
        ),
        **classified_figures(settled),
    }


def age_figures(ages_ms: Sequence[float], ready_s: Sequence[float]) -> dict[str, float]:
    """Returns ages and periods of a run.

    Args:
        ages_ms: Age of each frame when its result was ready.
        ready_s: Time of that. The first result has no period and is left out.

    Returns:
        age_p50_ms, age_p95_ms, period_ms (mean time between results), period_p95_ms;
        age_periods: the age's 95th percentile in mean periods; age_own_periods: 95th
        percentile of each frame's age in its own period, the time from the result
        before to its own. The first is the larger where some frames take longer than
        others (those with two faces); the second is large only where frames queue.
    """
    periods_ms, ages = 1000 * np.diff(ready_s), np.asarray(ages_ms[1:])
    age_p50, age_p95 = np.percentile(ages, [50, 95])
    return {
        "age_p50_ms": float(age_p50),
        "age_p95_ms": float(age_p95),
        "period_ms": float(periods_ms.mean()),
        "period_p95_ms": float(np.percentile(periods_ms, 95)),
        "age_periods": float(age_p95 / periods_ms.mean()),
        "age_own_periods": float(np.percentile(ages / periods_ms, 95)),
    }


def classified_figures(results: Sequence[RecordedResult]) -> dict[str, float | None]:
    """Returns how old the labels of faces are, where not all are classified each time.

    Args:
        results: All results of a run.

    Returns:
        faceless_share: share of the frames without a face. classified_share: share of
        the faces that were classified in their own frame; classified_share_of_several:
        the same of frames with two faces or more. classified_age_p50_ms,
        classified_age_p95_ms: age of the frame in which a face was classified, when the
        face's result was ready. longest_kept_ms: longest time between the two frames.
        None where there was no such face.
    """
    faces = [(each.age_ms, ms) for each in results for ms in each.behind_ms]
    several = [
        ms for each in results if len(each.behind_ms) > 1 for ms in each.behind_ms
    ]
    ages = np.percentile([age + ms for age, ms in faces], [50, 95]) if faces else None
    return {
        "faceless_share": sum(not each.behind_ms for each in results) / len(results),
        "classified_share": _share_of_zeros([ms for _, ms in faces]),
        "classified_share_of_several": _share_of_zeros(several),
        "classified_age_p50_ms": None if ages is None else float(ages[0]),
        "classified_age_p95_ms": None if ages is None else float(ages[1]),
        "longest_kept_ms": max((ms for _, ms in faces), default=None),
    }


def _record(result: FrameResult) -> RecordedResult:
    if result.age_ms is None:
        raise MeasurementError("expected a live source, got a file")
    behind_ms = (
        0.0
        if face.classified_s is None
        else 1000 * (result.timestamp_s - face.classified_s)
        for face in result.faces
    )
    return RecordedResult(result.age_ms, time.monotonic(), tuple(behind_ms))


def _share_of_zeros(values: Sequence[float]) -> float | None:
    return sum(value == 0 for value in values) / len(values) if values else None


def _period_s(
    images: Sequence[Image], pipeline: FramePipeline[Any], recorded_fps: float
) -> float:
    """Returns the mean time of a frame where the next one is always there.

    Of the second half of the trial: in the first the detector may not be done yet.
    """
    started_s, count = time.monotonic(), 0
    for number in itertools.count():
        elapsed_s = time.monotonic() - started_s
        count += elapsed_s > TRIAL_S / 2
        if elapsed_s > TRIAL_S and count > 1:
            break
        image = images[index_at(elapsed_s, recorded_fps) % len(images)]
        pipeline.process(Frame(image, number, elapsed_s, "trial"))
    pipeline.close()
    return (elapsed_s - TRIAL_S / 2) / (count - 1)
