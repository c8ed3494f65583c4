"""Frames, faces and events as JSON documents, the same for every output."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from edge_runtime.results import Decision, Event, FaceResult, FrameResult

FRAME_SCHEMA = "fer-edge/frame/3"
EVENT_SCHEMA = "fer-edge/event/1"


def frame_document(result: FrameResult) -> dict[str, Any]:
    """Returns the result of a frame, JSON-ready; times in ms and s."""
    return {
        "schema": FRAME_SCHEMA,
        "frame": result.index,
        "time_s": round(result.timestamp_s, 4),
        "source": result.name,
        "age_ms": rounded(result.age_ms, 3),
        "detected": result.detected,
        "faces": [face_document(face) for face in result.faces],
        "events": [_event(event) for event in result.events],
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
    }


def event_document(event: Event, source: str, *, utc: str | None) -> dict[str, Any]:
    """Returns an event, JSON-ready.

    Args:
        event: The event.
        source: The frame's name.
        utc: Its time of day; None for files, whose events have none.
    """
    head = {"schema": EVENT_SCHEMA, **_event(event), "source": source}
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
    }


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
