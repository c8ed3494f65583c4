"""State of the run for the page, ``/api/state`` and ``/metrics``."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from statistics import fmean, median
from typing import Any

from edge_runtime.outputs.documents import event_document, face_document, utc_now
from edge_runtime.pipeline.stats import Status
from edge_runtime.results import FrameResult
from edge_runtime.sources import Frame

MAX_EVENTS = 100
MAX_HISTORY_S = 600


class PageState:
    """A ``Sink`` that keeps the newest result, the last minutes and the last events.

    Attributes:
        board: Temperature and so on, as read last.
    """

    def __init__(
        self,
        status: Status,
        observe: Callable[[FrameResult], None],
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Starts now, without results; ``observe`` is called with each of them."""
        self._status, self._observe, self._clock = status, observe, clock
        self._started = clock()
        self._last_s = self._started
        self._last: FrameResult | None = None
        self._history = History()
        self._events: deque[dict[str, Any]] = deque(maxlen=MAX_EVENTS)
        self._event_count = 0
        self.board: dict[str, Any] = {}

    def write(self, frame: Frame, result: FrameResult) -> bool:
        """Adds one result; returns True."""
        self._last, self._last_s = result, self._clock()
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
        """Seconds since the last result, or since the start."""
        return self._clock() - self._last_s

    @property
    def healthy(self) -> bool:
        """Whether the last result is recent."""
        return self.since_last_frame_s < self._status.stale_s

    def document(self, *, since: int = -1) -> dict[str, Any]:
        """Returns the state, JSON-ready, with the history after second ``since``."""
        healthy, last = self.healthy, self._last  # read once: the loop goes on
        faces = last.faces if last and healthy else ()
        return {
            **self._status.snapshot(),
            "healthy": healthy,
            "uptime_s": round(self._clock() - self._started, 1),
            "frame_time_s": round(last.timestamp_s, 4) if last else None,
            "faces_now": [face_document(face) for face in faces],
            "recent_events": list(self._events),
            "history": self._history.since(since),
            "board": self.board,
        }


class History:
    """Summaries of the last ``MAX_HISTORY_S`` seconds; safe in any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._points: deque[dict[str, Any]] = deque(maxlen=MAX_HISTORY_S)
        self._second = -1
        self._results: list[FrameResult] = []

    def add(self, result: FrameResult, uptime_s: float) -> None:
        """Adds one result; ``uptime_s`` never decreases."""
        second = int(uptime_s)
        with self._lock:
            if second != self._second and self._results:
                self._points.append(summarize(self._second, self._results))
                self._results = []
            self._second = second
            self._results.append(result)

    def since(self, second: int) -> list[dict[str, Any]]:
        """Returns the complete seconds after one, oldest first, JSON-ready."""
        with self._lock:
            return [point for point in self._points if point["s"] > second]


def summarize(second: int, results: Sequence[FrameResult]) -> dict[str, Any]:
    """Returns the summary of one second with at least one result; times in ms."""
    largest = [result.faces[0] for result in results if result.faces]
    shown = [face.decision or face for face in largest]
    ages = [result.age_ms for result in results if result.age_ms is not None]
    stages = [
        fmean(result.detect_ms for result in results),
        fmean(result.track_ms for result in results),
        fmean(result.classify_ms for result in results),
    ]
    return {
        "s": second,
        "frames": len(results),
        "faces": round(fmean(len(result.faces) for result in results), 2),
        "said": shown[-1].label if shown else None,
        "p": _mean_probabilities([each.probabilities for each in shown]),
        "ms": [round(value, 2) for value in stages],
        "age": [round(median(ages), 1), round(max(ages), 1)] if ages else None,
    }


def _mean_probabilities(rows: Sequence[dict[str, float]]) -> list[float] | None:
    """Returns the mean of each label, for rows with the labels of the last one.

    An updated model may have other labels.
    """
    same_labels = [row for row in rows if row.keys() == rows[-1].keys()]
    columns = zip(*(row.values() for row in same_labels), strict=True)
    return [round(fmean(column), 3) for column in columns] or None
