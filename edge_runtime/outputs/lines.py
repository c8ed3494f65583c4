"""Answers and events as lines of JSON, faces as rows of CSV."""

from __future__ import annotations

import io
import json
from collections.abc import Iterable

from edge_runtime.outputs.documents import (
    event_document,
    frame_document,
    rounded,
    utc_now,
)
from edge_runtime.outputs.queued import Queued, Room
from edge_runtime.outputs.text_files import LineWriter
from edge_runtime.results import FaceResult, FrameResult
from edge_runtime.sources import Frame, Source

LINE_ROOM = Room(frames=64)
CSV_COLUMNS = (
    *("frame", "time_s", "source", "track", "x", "y", "width", "height", "score"),
    *("label", "confidence", "decision", "decision_confidence", "age_ms"),
    "classified_s",
)


class FrameLines:
    """One JSON document a frame (``--json``)."""

    def __init__(self, queue: Queued[FrameResult]) -> None:
        """Takes the queue before the writer."""
        self._queue = queue

    def write(self, frame: Frame, result: FrameResult) -> bool:
        """Takes one answer."""
        self._queue.put(result, keep=bool(result.events))
        return True


class EventLines:
    """One JSON document an event (``--events``)."""

    def __init__(self, queue: Queued[tuple[FrameResult, str | None]], source: Source):
        """Takes the queue before the writer, and whether events have a clock's time."""
        self._queue, self._live = queue, source.live

    def write(self, frame: Frame, result: FrameResult) -> bool:
        """Takes one answer; passes it on if something happened in it."""
        if result.events:
            utc = utc_now() if self._live else None
            self._queue.put((result, utc), keep=True)
        return True


class FaceRows:
    """One row of CSV a face (``--csv``)."""

    def __init__(self, queue: Queued[FrameResult]) -> None:
        """Takes the queue before the writer."""
        self._queue = queue

    def write(self, frame: Frame, result: FrameResult) -> bool:
        """Takes one answer; passes it on if there is a face in it."""
        if result.faces:
            self._queue.put(result, keep=bool(result.events))
        return True


def write_frame(out: LineWriter, result: FrameResult) -> None:
    """Writes a frame's document."""
    out.write(json.dumps(frame_document(result)))


def write_events(out: LineWriter, item: tuple[FrameResult, str | None]) -> None:
    """Writes the documents of a frame's events, all at once."""
    result, utc = item
    documents = [event_document(one, result.name, utc=utc) for one in result.events]
    out.write("\n".join(json.dumps(document) for document in documents))


def write_rows(out: LineWriter, labels: Iterable[str], result: FrameResult) -> None:
    """Writes the rows of a frame's faces, all at once.

    Args:
        out: Where to.
        labels: The model's, one column each.
        result: With at least one face.
    """
    rows = [csv_row(result, face, labels) for face in result.faces]
    out.write("\n".join(rows))


def csv_header(labels: Iterable[str]) -> str:
    """Returns the first line of a file: the columns, then one for each label."""
    return _joined([*CSV_COLUMNS, *labels])


def csv_row(result: FrameResult, face: FaceResult, labels: Iterable[str]) -> str:
    """Returns one face as a line; an empty field where there is no such value."""
    decision = face.decision
    probabilities = [face.probabilities.get(label) for label in labels]
    return _joined(
        [
            *(result.index, round(result.timestamp_s, 4), result.name),
            *(face.track_id, *face.box_xywh, round(face.score, 4)),
            *(face.label, round(face.confidence, 6)),
            *(decision and decision.label, decision and round(decision.confidence, 6)),
            rounded(result.age_ms, 3),
            rounded(face.classified_s, 4),
            *(None if p is None else round(p, 6) for p in probabilities),
        ]
    )


def _joined(fields: Iterable[object]) -> str:
    import csv  # few want it, and each import delays the first label

    text = io.StringIO()
    csv.writer(text, lineterminator="").writerow(fields)
    return text.getvalue()
