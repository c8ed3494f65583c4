"""Counters and timings of a run, for the web page, MQTT and the summary."""

from __future__ import annotations

import threading
import time
from collections import Counter, deque
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from edge_runtime.pipeline.words import words_in_run
from edge_runtime.results import FrameResult, Words, plural
from edge_runtime.sources import Source
from edge_runtime.version import VERSION

if TYPE_CHECKING:
    from edge_runtime.model_file.metadata import ModelSpec
    from edge_runtime.sources.region import Region

STATE_SCHEMA = "fer-edge/state/1"
RECENT_FRAMES = 300
RECENT_S = 10.0
STALE_S = 10.0  # without a frame for so long the last result means nothing,
STALE_FRAMES = 2.5  # or for as long as so many frames take: a picture a minute is well
MAX_TIMES = 10_000  # a service runs for months: medians are those of its last frames

_Moment = tuple[float, FrameResult]


class Status:
    """Counters and timings of a run; ``snapshot`` is safe in any thread.

    Memory is bounded: it keeps the results of the last ``RECENT_FRAMES`` frames and the
    durations of the last ``MAX_TIMES``.

    Attributes:
        source: The run's source.
        detector: Name of the face detector.
        regions: The only parts of the frames that are looked at; empty for all.
        frame_wh: Width and height of the last frame in pixels.
        frames: Frames so far.
        faces: Faces in them.
        classified: Those that were classified in their own frame.
        detections: Results of the detector.
        labels: Faces by label.
        events: Events by kind.
        detect_ms: Duration of each detection in ms.
        classify_ms: Duration of the classification of each frame with faces, in ms.
    """

    def __init__(
        self,
        *,
        source: Source,
        classifier: Any,
        detector: str,
        regions: Sequence[Region] = (),
    ) -> None:
        """Starts at zero, now.

        Args:
            source: Its name and counters are read at each snapshot.
            classifier: Its ``spec``, ``file`` and ``backend`` are read at each
                snapshot, so that an updated model shows.
            detector: The face detector's name.
            regions: The parts of the frames that are looked at, where not all.
        """
        self.source, self._classifier, self.detector = source, classifier, detector
        self.regions = regions
        self._lock = threading.Lock()
        self.frame_wh = (0, 0)
        self._started, self._started_unix = time.monotonic(), time.time()
        self.frames = self.faces = self.classified = self.detections = 0
        self.events: Counter[str] = Counter()
        self.labels: Counter[str] = Counter()
        self.detect_ms: deque[float] = deque(maxlen=MAX_TIMES)
        self.classify_ms: deque[float] = deque(maxlen=MAX_TIMES)
        self._recent: deque[_Moment] = deque(maxlen=RECENT_FRAMES)
        self._parts: dict[str, Callable[[], Any]] = {}

    @property
    def model_labels(self) -> tuple[str, ...]:
        """The model's labels, seen or not."""
        return tuple(self._classifier.spec.labels)

    @property
    def spec(self) -> ModelSpec:
        """What the model in use takes, and its labels."""
        spec: ModelSpec = self._classifier.spec
        return spec

    @property
    def model(self) -> dict[str, Any]:
        """Name and sha256 of the model in use; unknown parts are left out."""
        identity = model_identity(self._classifier)
        return {key: identity[key] for key in ("name", "sha256") if key in identity}

    @property
    def words(self) -> Words:
        """What is looked at."""
        return words_in_run(self._classifier.spec, self.detector)

    @property
    def looked_at_wh(self) -> tuple[int, int]:
        """Width and height of the last frame, or of its widest region, in pixels."""
        boxes = [region.box(self.frame_wh) for region in self.regions]
        return max((box[2:] for box in boxes if box), default=self.frame_wh)

    def include(self, name: str, read: Callable[[], Any]) -> None:
        """Adds a part to each snapshot: what ``read`` returns, JSON-ready."""
        # A new dict: another thread may be iterating over the old one.
        self._parts = {**self._parts, name: read}

    def has(self, name: str) -> bool:
        """Returns whether a part of this name was included."""
        return name in self._parts

    def read(self, name: str) -> Any:
        """Returns an included part by its name."""
        return self._parts[name]()

    def update(self, result: FrameResult) -> None:
        """Counts one frame."""
        moment = (time.monotonic(), result)
        with self._lock:
            self.frames += 1
            self.faces += len(result.faces)
            self.classified += result.classified
            self.detections += result.detected
            for face in result.faces:
                self.labels[face.decision.label if face.decision else face.label] += 1
            for event in result.events:
                self.events[event.kind] += 1
            if result.detected:
                self.detect_ms.append(result.detect_ms)
            if result.faces:
                self.classify_ms.append(result.classify_ms)
            self._recent.append(moment)

    @property
    def stale_s(self) -> float:
        """Seconds without a frame after which the last result means nothing."""
        return max(STALE_S, STALE_FRAMES / self.source.fps)

    @property
    def fps(self) -> float | None:
        """Frames per second over the last ``RECENT_S`` seconds; None if unknown."""
        with self._lock:
            recent = list(self._recent)
        return _recent_fps(recent, time.monotonic())

    def snapshot(self) -> dict[str, Any]:
        """Returns the state of the run, JSON-ready: ages and latencies in ms."""
        with self._lock:
            counts = {
                "frames": self.frames,
                "detections": self.detections,
                "faces": self.faces,
                "classified": self.classified,
                "labels": dict(self.labels),
                "events": dict(self.events),
            }
            recent = list(self._recent)
        now = time.monotonic()
        return {
            "schema": STATE_SCHEMA,
            "version": VERSION,
            "started_unix_s": self._started_unix,
            "uptime_s": now - self._started,
            "model": model_identity(self._classifier),
            "detector": self.detector,
            "words": _words_document(self.words),
            "source": _source_state(self.source),
            "regions": [region.text_with_name for region in self.regions],
            **counts,
            "fps": _recent_fps(recent, now),
            "since_last_frame_s": now - recent[-1][0] if recent else None,
            **_timings([result for _, result in recent]),
            **{name: read() for name, read in self._parts.items()},
        }


def model_identity(classifier: Any) -> dict[str, Any]:
    """Returns the identity of a model, JSON-ready; unknown parts are left out.

    Args:
        classifier: A ``Classifier``, or an object with at least ``spec``.
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


def _words_document(words: Words) -> dict[str, str]:
    return {
        "subject": words.subject,
        "subjects": words.subjects,
        "labels_are": words.labels_are,
        "labels_are_plural": plural(words.labels_are),
    }


def _source_state(source: Source) -> dict[str, Any]:
    return {
        "name": source.name,
        "kind": source.kind,
        "live": source.live,
        "fps": source.fps,
        "dropped": source.dropped,
        "reopened": source.reopened,
        "lost": source.lost,
        "skipped": source.skipped,
    }


def _recent_fps(recent: Sequence[_Moment], now: float) -> float | None:
    """Returns frames per second over the last seconds; None before the second."""
    times = [at for at, _ in recent if now - at <= RECENT_S]
    if len(times) < 2 or times[-1] <= times[0]:
        return None
    return (len(times) - 1) / (times[-1] - times[0])


def _timings(results: Sequence[FrameResult]) -> dict[str, Any]:
    ages = [each.age_ms for each in results if each.age_ms is not None]
    return {
        "latency_ms": {
            "detect": _percentiles(
                [each.detect_ms for each in results if each.detected]
            ),
            "track": _percentiles([each.track_ms for each in results]),
            "classify": _percentiles(
                [each.classify_ms for each in results if each.faces]
            ),
        },
        "age_ms": _percentiles(ages),
    }


def _percentiles(values: Sequence[float]) -> dict[str, float] | None:
    if not values:
        return None
    ordered = sorted(values)
    last = len(ordered) - 1
    return {
        "p50": ordered[round(0.50 * last)],
        "p95": ordered[round(0.95 * last)],
        "max": ordered[-1],
    }
