"""Where results go: lines of JSON, CSV, video, images, MQTT; several at once.

docs/how-to/outputs.md says what each one writes.
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
