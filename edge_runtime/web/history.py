"""The last minutes, one point a second, for charts that are full when they open."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Sequence
from statistics import fmean, median
from typing import Any

from edge_runtime.results import FaceResult, FrameResult

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
