"""Times a model with every setting of threads, library and detector width."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import cycle
from pathlib import Path
from typing import NamedTuple

import numpy as np

from edge_runtime.detection.base import FaceDetector
from edge_runtime.errors import GateError, MissingDependencyError
from edge_runtime.inference.backends import BACKENDS_BY_KIND
from edge_runtime.inference.classifier import Classifier
from edge_runtime.model_file.metadata import NOTHING_GIVEN, Given
from edge_runtime.pipeline.still import classify_still
from edge_runtime.sources import Frame

FACE_PX = 96
WARMUP_RUNS = 5
MIN_RUNS = 60  # of each setting
MIN_SECONDS = 2.0
BLOCK_SECONDS = 0.05  # one setting's share of a round


class Setting(NamedTuple):
    """How a run uses the board, and how long one frame (or one face) then takes.

    Attributes:
        threads: CPU threads of the network.
        backend: Inference library.
        detect_width: Width in pixels that frames are shrunk to for the detector; None
            where no detector ran.
        p50_ms: Median time in milliseconds.
        p90_ms: Time of nine in ten.
        runs: Number of times it was measured.
    """

    threads: int
    backend: str
    detect_width: int | None
    p50_ms: float
    p90_ms: float
    runs: int


def time_settings(
    model: Path,
    threads: Sequence[int],
    *,
    frames: Sequence[Frame] = (),
    detectors: Mapping[int, FaceDetector] | None = None,
    given: Given = NOTHING_GIVEN,
    seconds: float = MIN_SECONDS,
) -> list[Setting]:
    """Returns the time of every setting, measured in turn on a possibly noisy machine.

    Without detectors one face crop of 96 x 96 pixels is classified; with them, each
    frame is searched for faces and all of them are classified.

    Args:
        model: The model file.
        threads: CPU thread counts to try.
        frames: As a source gives them, for the detectors.
        detectors: Detectors to try, by their width in pixels.
        given: What the user says of a file without metadata.
        seconds: Least time spent on each setting.

    Raises:
        ModelError: The file is missing, damaged or no such classifier.
        MissingDependencyError: No library for it is installed.
    """
    settings, calls = [], []
    for classifier, count in _classifiers(model, threads, given):
        for width, call in _calls(classifier, frames, detectors or {}):
            settings.append((count, classifier.backend.name, width))
            calls.append(call)
    timed = []
    for setting, times_ms in zip(settings, time_calls(calls, seconds), strict=True):
        p50_ms, p90_ms = map(float, np.percentile(times_ms, (50, 90)))
        timed.append(Setting(*setting, p50_ms, p90_ms, len(times_ms)))
    return timed


def _classifiers(
    path: Path, threads: Sequence[int], given: Given
) -> Iterator[tuple[Classifier, int]]:
    found = False
    for backend in BACKENDS_BY_KIND[
        "onnx" if path.suffix.lower() == ".onnx" else "tflite"
    ]:
        try:
            for count in threads:
                yield (
                    Classifier.load(
                        path, num_threads=count, backend=backend, **given._asdict()
                    ),
                    count,
                )
                found = True
        except MissingDependencyError:
            continue
    if not found:
        Classifier.load(path, **given._asdict())  # its error says what to install


def _calls(
    classifier: Classifier,
    frames: Sequence[Frame],
    detectors: Mapping[int, FaceDetector],
) -> list[tuple[int | None, Callable[[], object]]]:
    if not detectors:
        shape = (FACE_PX, FACE_PX, 3)
        face = np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)
        return [(None, lambda: classifier.predict(face))]

    def call(detector: FaceDetector) -> Callable[[], object]:
        endless = cycle(frames)
        return lambda: classify_still(next(endless), detector, classifier)

    return [(width, call(detector)) for width, detector in detectors.items()]


def time_calls(
    calls: Sequence[Callable[[], object]], seconds: float
) -> list[list[float]]:
    """Returns the milliseconds of every run of each call.

    A short block of each call in turn: what slows the machine slows all of them.

    Args:
        calls: The calls.
        seconds: Least time spent on each, with at least ``MIN_RUNS`` runs.
    """
    clock = time.perf_counter
    times_ms: list[list[float]] = [[] for _ in calls]
    for call in calls:
        for _ in range(WARMUP_RUNS):
            call()
    while any(
        len(times) < MIN_RUNS or sum(times) < 1e3 * seconds for times in times_ms
    ):
        for call, times in zip(calls, times_ms, strict=True):
            block_end = clock() + min(BLOCK_SECONDS, seconds)
            end = 0.0
            while end < block_end:
                start = clock()
                call()
                end = clock()
                times.append(1e3 * (end - start))
    return times_ms


def choose(
    settings: Sequence[Setting],
    *,
    max_latency_ms: float | None = None,
    min_fps: float | None = None,
) -> Setting:
    """Returns the setting to use.

    Of those that are fast enough: the widest detection, then the fewest threads (other
    programs need cores too), then the fastest. Without a limit: the fastest.

    Args:
        settings: As they were measured.
        max_latency_ms: Longest time of nine in ten frames.
        min_fps: Least frames per second, by the median.

    Raises:
        GateError: None is fast enough.
    """
    good, limits = list(settings), []
    if max_latency_ms is not None:
        good = [setting for setting in good if setting.p90_ms <= max_latency_ms]
        limits.append(f"at most {max_latency_ms:g} ms (p90)")
    if min_fps is not None:
        good = [setting for setting in good if 1e3 / setting.p50_ms >= min_fps]
        limits.append(f"at least {min_fps:g} frames/s")
    if not limits:
        return min(good, key=lambda setting: setting.p50_ms)
    if not good:
        best = min(settings, key=lambda setting: setting.p90_ms)
        raise GateError(
            f"expected {' and '.join(limits)}; the fastest setting ({best.threads}"
            f" thread(s), {best.backend}) has p50 {best.p50_ms:.2f} and p90"
            f" {best.p90_ms:.2f} ms: require less, or use a smaller network"
        )
    return min(
        good,
        key=lambda setting: (
            -(setting.detect_width or 0),
            setting.threads,
            setting.p50_ms,
        ),
    )
