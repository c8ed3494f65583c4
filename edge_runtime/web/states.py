"""What the page, ``/api/state`` and ``/metrics`` know: fed by the loop, read by all."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable
from typing import Any

from edge_runtime.outputs.documents import event_document, face_document, utc_now
from edge_runtime.results import FrameResult
from edge_runtime.sources import Frame
from edge_runtime.status import STALE_S, Status
from edge_runtime.web.history import History

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
