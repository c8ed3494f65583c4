"""Which threads, library and detector width a board should use for a model."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from benchmarks.common.documents import Document
from benchmarks.common.timing import Call, Protocol, Timings, time_interleaved
from benchmarks.latency.measure import FACE_PX, Variant
from edge_runtime import Classifier
from edge_runtime.detection.base import FaceDetector
from edge_runtime.detection.factory import open_detector
from edge_runtime.errors import FerEdgeError, GateError, MissingDependencyError
from edge_runtime.inference.backends import OF_KIND
from edge_runtime.pipeline.still import classify_still
from edge_runtime.pipeline.tuning import TuningResult
from edge_runtime.sources import Frame

MOST_FRAMES = 30
PROTOCOL = Protocol(
    name="tune",
    runs=60,
    seconds=0.5,
    windows=4,
    window_seconds=0.1,
    block_runs=5,
    block_seconds=0.05,
    most_seconds=2.0,
)


@dataclass(frozen=True)
class Target:
    """What is asked for; None asks for nothing.

    Attributes:
        max_latency_ms: At most so long for nine of ten frames.
        min_fps: At least so many frames a second, by the median.
    """

    max_latency_ms: float | None = None
    min_fps: float | None = None

    def met_by(self, p50: float, p90: float) -> bool:
        """Returns whether such times in ms meet it."""
        slow = self.max_latency_ms is not None and p90 > self.max_latency_ms
        rare = self.min_fps is not None and 1e3 / p50 < self.min_fps
        return not slow and not rare


@dataclass(frozen=True)
class Detection:
    """A detector at some widths, and the frames it is timed on.

    Attributes:
        frames: As a source gives them.
        widths_px: Widths that are tried.
        faces: As ``open_detector`` takes it.
        model: Its model file, where it needs one.
    """

    frames: Sequence[Frame]
    widths_px: Sequence[int]
    faces: str = "auto"
    model: Path | None = None


def measure_choices(
    path: Path,
    *,
    threads: Sequence[int] | None = None,
    detection: Detection | None = None,
    labels: Sequence[str] | None = None,
    protocol: Protocol = PROTOCOL,
) -> list[Document]:
    """Returns how long every setting takes, timed in turns, JSON-ready.

    Without detection a face crop of 96 x 96 is classified; with it each frame is
    searched for faces and all of them are classified.

    Args:
        path: The model file.
        threads: CPU thread counts; by default 1, 2, 4 as far as there are cores.
        detection: Where faces come from, or None.
        labels: Class names, for a file without metadata.
        protocol: How long is measured.

    Raises:
        ModelError: The file is missing, damaged or no such classifier.
        MissingDependencyError: No library for it is installed.
    """
    counts = threads or [n for n in (1, 2, 4) if n <= (os.cpu_count() or 1)]
    choices, calls = [], []
    for classifier, choice in _settings(path, counts, labels):
        for one, call in _calls(classifier, choice, detection):
            choices.append(one)
            calls.append(call)
    timings = time_interleaved(calls, protocol)
    return [_row(one, timing) for one, timing in zip(choices, timings, strict=True)]


def choose(rows: Sequence[Document], target: Target) -> Document:
    """Returns the row to use.

    Of those that meet the target: the widest detection, then the fewest threads (other
    work wants cores too), then the fastest. Without a target: the fastest.

    Raises:
        GateError: None meets it.
    """
    if target == Target():
        return min(rows, key=lambda row: float(row["p50_ms"]))
    good = [row for row in rows if target.met_by(row["p50_ms"], row["p90_ms"])]
    if not good:
        best = min(rows, key=lambda row: float(row["p90_ms"]))
        raise GateError(
            f"expected {_asked(target)}, the fastest setting ({best['threads']}"
            f" thread(s), {best['backend']}) has p50 {best['p50_ms']:.2f} and p90"
            f" {best['p90_ms']:.2f} ms: ask for less, or take a smaller network"
        )
    return min(
        good,
        key=lambda row: (-(row["detect_width"] or 0), row["threads"], row["p50_ms"]),
    )


def _asked(target: Target) -> str:
    asked = []
    if target.max_latency_ms is not None:
        asked.append(f"at most {target.max_latency_ms:g} ms (p90)")
    if target.min_fps is not None:
        asked.append(f"at least {target.min_fps:g} frames/s")
    return " and ".join(asked)


def _settings(
    path: Path, threads: Sequence[int], labels: Sequence[str] | None
) -> list[tuple[Classifier, TuningResult]]:
    kind = "onnx" if path.suffix.lower() == ".onnx" else "tflite"
    found = []
    for backend in OF_KIND[kind]:
        try:
            for count in threads:
                opened = Variant(path, path.name, backend, labels).open(count)
                found.append((opened, TuningResult(count, backend)))
        except MissingDependencyError:
            continue
    if not found:
        Variant(path, path.name, "auto", labels).open(1)  # says what to install
    return found


def _calls(
    classifier: Classifier, choice: TuningResult, detection: Detection | None
) -> list[tuple[TuningResult, Call]]:
    if detection is None:
        rng = np.random.default_rng(0)
        face = rng.integers(0, 256, (FACE_PX, FACE_PX, 3), dtype=np.uint8)
        return [(choice, lambda: classifier.predict(face))]
    found: list[tuple[TuningResult, Call]] = []
    for width in detection.widths_px:
        detector = open_detector(detection.faces, detection.model, width_px=width)
        call = _FrameByFrame(classifier, detector, detection.frames)
        found.append((TuningResult(choice.threads, choice.backend, width), call))
    return found


class _FrameByFrame:
    """Takes the next frame each time it is called, and starts again at the end."""

    def __init__(
        self, classifier: Classifier, detector: FaceDetector, frames: Sequence[Frame]
    ) -> None:
        if not frames:
            raise FerEdgeError("expected frames to detect faces in, got none")
        self._classifier, self._detector, self._frames = classifier, detector, frames
        self._next = 0

    def __call__(self) -> None:
        frame = self._frames[self._next % len(self._frames)]
        self._next += 1
        classify_still(frame, self._detector, self._classifier)


def _row(choice: TuningResult, timings: Timings) -> Document:
    times = timings.percentiles()
    return {
        "threads": choice.threads,
        "backend": choice.backend,
        "detect_width": choice.detect_width,
        "p50_ms": times["p50"],
        "p90_ms": times["p90"],
        "runs": times["runs"],
    }
