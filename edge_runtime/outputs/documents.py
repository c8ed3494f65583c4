"""Frames, faces and events as JSON documents, faces as rows of CSV."""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from typing import Any

from edge_runtime.outputs.append_file import AppendedFile, Stdout
from edge_runtime.results import Decision, Drift, Event, FaceResult, FrameResult
from edge_runtime.untrusted import spreadsheet_cell

FRAME_SCHEMA = "fer-edge/frame/4"
EVENT_SCHEMA = "fer-edge/event/1"
DRIFT_SCHEMA = "fer-edge/drift/1"
EVENT_START = f'{{"schema": "{EVENT_SCHEMA}"'  # of each line of an event file

CSV_COLUMNS = (
    *("frame", "time_s", "source", "track", "x", "y", "width", "height", "score"),
    *("label", "confidence", "decision", "decision_confidence", "age_ms"),
    "classified_s",
)

TimedEvents = tuple[FrameResult, str | None]  # with the time of day in UTC


def frame_document(result: FrameResult) -> dict[str, Any]:
    """Returns the result of a frame, JSON-ready; times in ms and s."""
    return {
        "schema": FRAME_SCHEMA,
        "frame": result.index,
        "time_s": round(result.timestamp_s, 4),
        "source": result.name,
        "subject": result.words.subject,
        "labels_are": result.words.labels_are,
        "age_ms": rounded(result.age_ms, 3),
        "detected": result.detected,
        result.words.things: [face_document(face) for face in result.faces],
        "events": [_event(event) for event in result.events],
        **({"drift": _drift(result.drift)} if result.drift else {}),
        "latency_ms": {
            "detect": round(result.detect_ms, 3),
            "track": round(result.track_ms, 3),
            "classify": round(result.classify_ms, 3),
        },
    }


def face_document(face: FaceResult) -> dict[str, Any]:
    """Returns the result of one face, JSON-ready."""
    return {
        "track": face.track_id,
        "box": list(face.box_xywh),
        "score": round(face.score, 4),
        "label": face.label,
        "confidence": round(face.confidence, 6),
        "probabilities": _probabilities(face.probabilities),
        "decision": _decision(face.decision),
        "classified_s": rounded(face.classified_s, 4),
        **_region(face.region),
    }


def event_document(event: Event, source: str, *, utc: str | None) -> dict[str, Any]:
    """Returns an event, JSON-ready; ``utc`` is its time of day, None in files."""
    head = {"schema": EVENT_SCHEMA, **_event(event), "source": source}
    return head if utc is None else {**head, "utc": utc}


def drift_document(drift: Drift, source: str, *, utc: str | None) -> dict[str, Any]:
    """Returns a change of the drift, JSON-ready; ``utc`` as for an event."""
    head = {"schema": DRIFT_SCHEMA, **_drift(drift), "source": source}
    return head if utc is None else {**head, "utc": utc}


def utc_now() -> str:
    """Returns the time of day, such as ``2026-11-22T18:03:11.482Z``."""
    text = datetime.now(UTC).isoformat(timespec="milliseconds")
    return text.replace("+00:00", "Z")


def _event(event: Event) -> dict[str, Any]:
    return {
        "event": event.kind,
        "track": event.track_id,
        "time_s": round(event.timestamp_s, 4),
        "label": event.label,
        "previous": event.previous,
        "confidence": round(event.confidence, 6),
        **_region(event.region),
    }


def _drift(drift: Drift) -> dict[str, Any]:
    return {
        "drift": "ON" if drift.quantities else "OFF",
        "time_s": round(drift.timestamp_s, 4),
        "quantities": list(drift.quantities),
        "reasons": list(drift.reasons),
    }


def _region(name: str | None) -> dict[str, str]:
    """Returns the key of what is in a region with a name, and nothing elsewhere."""
    return {} if name is None else {"region": name}


def _decision(decision: Decision | None) -> dict[str, Any] | None:
    if decision is None:
        return None
    return {
        "label": decision.label,
        "confidence": round(decision.confidence, 6),
        "probabilities": _probabilities(decision.probabilities),
        "since_s": round(decision.since_s, 4),
    }


def _probabilities(probabilities: dict[str, float]) -> dict[str, float]:
    return {label: round(p, 6) for label, p in probabilities.items()}


def rounded(value: float | None, digits: int) -> float | None:
    """Returns a value rounded to so many decimal places; None for None."""
    return None if value is None else round(value, digits)


def write_frame(out: Stdout, result: FrameResult) -> None:
    """Writes a frame's JSON document (``--json``)."""
    out.write(json.dumps(frame_document(result)))


def select_events(*, live: bool) -> Callable[[FrameResult], TimedEvents | None]:
    """Returns a function that selects frames with events.

    It adds the time of day to those of a live source; a file's have none.
    """

    def select(result: FrameResult) -> TimedEvents | None:
        return (result, utc_now() if live else None) if result.events else None

    return select


def write_events(out: Stdout | AppendedFile, timed: TimedEvents) -> None:
    """Writes the JSON documents of a frame's events, all at once (``--events``)."""
    result, utc = timed
    documents = [event_document(event, result.name, utc=utc) for event in result.events]
    out.write("\n".join(json.dumps(document) for document in documents))


def select_faces(result: FrameResult) -> FrameResult | None:
    """Returns the result if there is a face in it, else None."""
    return result if result.faces else None


def write_rows(
    out: AppendedFile,
    labels: Iterable[str],
    result: FrameResult,
    *,
    regions: bool = False,
) -> None:
    """Writes the CSV rows of a frame's faces, at least one, all at once (``--csv``)."""
    rows = (csv_row(result, face, labels, regions=regions) for face in result.faces)
    out.write("\n".join(rows))


def csv_header(labels: Iterable[str], *, regions: bool = False) -> str:
    """Returns the first line of a file: the columns, then one for each label."""
    return _csv_line([*CSV_COLUMNS, *(("region",) if regions else ()), *labels])


def csv_row(
    result: FrameResult,
    face: FaceResult,
    labels: Iterable[str],
    *,
    regions: bool = False,
) -> str:
    """Returns one face as a line; a field without a value is empty.

    Args:
        result: Of the frame.
        face: One of its faces.
        labels: The model's, in order.
        regions: There are regions with names, and a column for them.
    """
    decision = face.decision
    probabilities = [face.probabilities.get(label) for label in labels]
    return _csv_line(
        [
            *(result.index, round(result.timestamp_s, 4), result.name),
            *(face.track_id, *face.box_xywh, round(face.score, 4)),
            *(face.label, round(face.confidence, 6)),
            *(decision and decision.label, decision and round(decision.confidence, 6)),
            rounded(result.age_ms, 3),
            rounded(face.classified_s, 4),
            *((face.region,) if regions else ()),
            *(rounded(p, 6) for p in probabilities),
        ]
    )


def _csv_line(fields: Iterable[object]) -> str:
    import csv  # few runs need it, and each import delays the first label

    text = io.StringIO()
    cells = [
        spreadsheet_cell(field) if isinstance(field, str) else field for field in fields
    ]
    csv.writer(text, lineterminator="").writerow(cells)
    return text.getvalue()
