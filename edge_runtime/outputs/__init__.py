"""Where answers go: lines, tables, pictures, MQTT, a web page; several at once.

What a run opens is decided in ``arguments``; docs/outputs.md says what each writes.
"""

from edge_runtime.outputs.base import Sink
from edge_runtime.outputs.documents import (
    EVENT_SCHEMA,
    FRAME_SCHEMA,
    event_document,
    frame_document,
)

__all__ = [
    "EVENT_SCHEMA",
    "FRAME_SCHEMA",
    "Sink",
    "event_document",
    "frame_document",
]
