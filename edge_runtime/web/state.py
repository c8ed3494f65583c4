"""What the page, ``/api/state`` and ``/metrics`` know: fed by the loop, read by all."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from statistics import fmean, median
from typing import Any

from edge_runtime.outputs.documents import event_document, face_document, utc_now
from edge_runtime.pipeline.stats import STALE_S, Status
from edge_runtime.results import FaceResult, FrameResult
from edge_runtime.sources import Frame

MOST_EVENTS = 100


class States:
    """Keeps the newest answer, the last minutes and the last events."""

    def __init__(self, status: Status, observe: Callable[[FrameResult], None]) -> None:
        """Takes the counters of the run, and who else counts."""
        self._status, self._observe = status, observe
        self._started = time.monotonic()
        self._last_s = self._started
        self._last: FrameResult | None = None
        self._history = History()
        self._events: deque[dict[str, Any]] = deque(maxlen=MOST_EVENTS)
        self._event_count = 0
        self.board: dict[str, Any] = {}

    def write(self, frame: Frame, result: FrameResult) -> bool:
        """Takes one answer."""
        self._last, self._last_s = result, time.monotonic()
        uptime_s = self._last_s - self._started
        self._history.add(result, uptime_s)
        self._observe(result)
        for event in result.events:
            document = event_document(event, result.name, utc=utc_now())
            self._event_count += 1
            numbered = {"number": self._event_count, "uptime_s": round(uptime_s, 1)}
            self._events.append({**document, **numbered})
        return True

    @property
    def since_last_frame_s(self) -> float:
        """Seconds since the last answer, or since the start."""
        return time.monotonic() - self._last_s

    @property
    def healthy(self) -> bool:
        """Whether answers keep coming."""
        return self.since_last_frame_s < STALE_S

    def snapshot(self) -> dict[str, Any]:
        """Returns the run's counters, JSON-ready."""
        return self._status.snapshot()

    def document(self, *, since: int = -1) -> dict[str, Any]:
        """Returns all that is known, JSON-ready.

        Args:
            since: History after this second of the run.
        """
        healthy, last = self.healthy, self._last  # once: the loop goes on meanwhile
        faces = last.faces if last and healthy else ()
        return {
            **self._status.snapshot(),
            "healthy": healthy,
            "uptime_s": round(time.monotonic() - self._started, 1),
            "frame_time_s": round(last.timestamp_s, 4) if last else None,
            "faces_now": [face_document(face) for face in faces],
            "recent_events": list(self._events),
            "history": self._history.since(since),
            "board": self.board,
        }


LONGEST_S = 600


class History:
    """What was seen in each of the last ``LONGEST_S`` seconds; safe from any thread."""

    def __init__(self) -> None:
        """Starts empty."""
        self._lock = threading.Lock()
        self._points: deque[dict[str, Any]] = deque(maxlen=LONGEST_S)
        self._second = -1
        self._results: list[FrameResult] = []

    def add(self, result: FrameResult, uptime_s: float) -> None:
        """Takes one answer.

        Args:
            result: The answer.
            uptime_s: When, in seconds since the start; never runs backwards.
        """
        second = int(uptime_s)
        with self._lock:
            if second != self._second and self._results:
                self._points.append(point(self._second, self._results))
                self._results = []
            self._second = second
            self._results.append(result)

    def since(self, second: int) -> list[dict[str, Any]]:
        """Returns the complete points after a second, oldest first, JSON-ready."""
        with self._lock:
            return [one for one in self._points if one["s"] > second]


def point(second: int, results: Sequence[FrameResult]) -> dict[str, Any]:
    """Returns one second as JSON-ready values; times in ms.

    Args:
        second: Since the start.
        results: Of that second, at least one.
    """
    largest = [one.faces[0] for one in results if one.faces]
    ages = [one.age_ms for one in results if one.age_ms is not None]
    stages = [
        fmean(one.detect_ms for one in results),
        fmean(one.track_ms for one in results),
        fmean(one.classify_ms for one in results),
    ]
    return {
        "s": second,
        "frames": len(results),
        "faces": round(fmean(len(one.faces) for one in results), 2),
        "said": _said(largest[-1]) if largest else None,
        "p": _means(largest),
        "ms": [round(value, 2) for value in stages],
        "age": [round(median(ages), 1), round(max(ages), 1)] if ages else None,
    }


def _said(face: FaceResult) -> str:
    return face.decision.label if face.decision else face.label


def _means(faces: Sequence[FaceResult]) -> list[float] | None:
    """Returns the mean probability of each label, smoothed ones where there are such.

    Of the faces whose labels are the last one's: the model may have been swapped.
    """
    rows = [(face.decision or face).probabilities for face in faces]
    alike = [row for row in rows if row.keys() == rows[-1].keys()]
    columns = zip(*(row.values() for row in alike), strict=True)
    return [round(fmean(column), 3) for column in columns] or None
