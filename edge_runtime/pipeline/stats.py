"""How a run is doing: counted by the loop, read by pages and meters elsewhere."""

from __future__ import annotations

import threading
import time
from collections import Counter, deque
from collections.abc import Callable, Sequence
from typing import Any

from edge_runtime.results import FrameResult
from edge_runtime.sources import Source
from edge_runtime.version import VERSION

STATE_SCHEMA = "fer-edge/state/1"
RECENT_FRAMES = 300
RECENT_S = 10.0
STALE_S = 10.0  # without a frame for so long nobody knows who is there

_Moment = tuple[float, FrameResult]


class Status:
    """Counters and recent timings of a run; safe to read from any thread.

    Memory is bounded: timings are those of the last ``RECENT_FRAMES`` frames.
    """

    def __init__(self, *, source: Source, classifier: Any, detector: str) -> None:
        """Starts at zero, now.

        Args:
            source: Its name and what it dropped are read at each snapshot.
            classifier: Its ``spec``, ``file`` and ``backend`` are read at each
                snapshot, so that a model swapped in meanwhile shows.
            detector: The face detector's name.
        """
        self._source, self._classifier, self._detector = source, classifier, detector
        self._lock = threading.Lock()
        self._started, self._started_unix = time.monotonic(), time.time()
        self._frames = self._faces = self._classified = self._detections = 0
        self._events: Counter[str] = Counter()
        self._labels: Counter[str] = Counter()
        self._recent: deque[_Moment] = deque(maxlen=RECENT_FRAMES)
        self._parts: dict[str, Callable[[], Any]] = {}

    def include(self, name: str, read: Callable[[], Any]) -> None:
        """Has each snapshot contain what ``read`` returns, JSON-ready, under a name."""
        # Another one, not a longer one: a page may be going through it just now.
        self._parts = {**self._parts, name: read}

    def read(self, name: str) -> Any:
        """Returns what a snapshot would contain under an included name."""
        return self._parts[name]()

    def update(self, result: FrameResult) -> None:
        """Counts one answered frame."""
        moment = (time.monotonic(), result)
        with self._lock:
            self._frames += 1
            self._faces += len(result.faces)
            self._classified += result.classified
            self._detections += result.detected
            for face in result.faces:
                self._labels[face.decision.label if face.decision else face.label] += 1
            for event in result.events:
                self._events[event.kind] += 1
            self._recent.append(moment)

    def snapshot(self) -> dict[str, Any]:
        """Returns all of it, JSON-ready: ages and latencies in ms, times in s."""
        with self._lock:
            counted = {
                "frames": self._frames,
                "detections": self._detections,
                "faces": self._faces,
                "classified": self._classified,
                "labels": dict(self._labels),
                "events": dict(self._events),
            }
            recent = list(self._recent)
        now = time.monotonic()
        return {
            "schema": STATE_SCHEMA,
            "version": VERSION,
            "started_unix_s": self._started_unix,
            "uptime_s": now - self._started,
            "model": model_identity(self._classifier),
            "detector": self._detector,
            "source": _source_state(self._source),
            **counted,
            "fps": _recent_fps(recent, now),
            "since_last_frame_s": now - recent[-1][0] if recent else None,
            **_timings([result for _, result in recent]),
            **{name: read() for name, read in self._parts.items()},
        }


def model_identity(classifier: Any) -> dict[str, Any]:
    """Returns which model answers, JSON-ready; what is not known is left out.

    Args:
        classifier: A ``Classifier`` or what stands for one: ``spec`` at least.
    """
    spec = classifier.spec
    identity: dict[str, Any] = {"labels": list(spec.labels)}
    identity |= {"architecture": spec.architecture, "format": spec.format}
    file = getattr(classifier, "file", None)
    if file is not None:
        identity |= {"name": file.name, "size_bytes": file.size}
        identity |= {"sha256": file.sha256}
    backend = getattr(classifier, "backend", None)
    if backend is not None:
        identity |= {"backend": backend.name, "backend_version": backend.version}
    return identity


def _source_state(source: Source) -> dict[str, Any]:
    return {
        "name": source.name,
        "kind": source.kind,
        "live": source.live,
        "fps": source.fps,
        "dropped": source.dropped,
        "reopened": source.reopened,
        "skipped": source.skipped,
    }


def _recent_fps(recent: Sequence[_Moment], now: float) -> float | None:
    """Returns answered frames per second over the last seconds; None before two."""
    times = [at for at, _ in recent if now - at <= RECENT_S]
    if len(times) < 2 or times[-1] <= times[0]:
        return None
    return (len(times) - 1) / (times[-1] - times[0])


def _timings(results: Sequence[FrameResult]) -> dict[str, Any]:
    ages = [one.age_ms for one in results if one.age_ms is not None]
    return {
        "latency_ms": {
            "detect": _percentiles([one.detect_ms for one in results if one.detected]),
            "track": _percentiles([one.track_ms for one in results]),
            "classify": _percentiles([one.classify_ms for one in results if one.faces]),
        },
        "age_ms": _percentiles(ages),
    }


def _percentiles(values: Sequence[float]) -> dict[str, float] | None:
    if not values:
        return None
    ordered = sorted(values)
    at = len(ordered) - 1
    return {
        "p50": ordered[round(0.50 * at)],
        "p95": ordered[round(0.95 * at)],
        "max": ordered[-1],
    }
