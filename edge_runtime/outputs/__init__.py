"""Where answers go: lines, tables, pictures, MQTT, a web page; several at once.

What a run opens is decided in ``arguments``; docs/outputs.md says what each writes.
"""

from edge_runtime.outputs.documents import (
    EVENT_SCHEMA,
    FRAME_SCHEMA,
    event_document,
    frame_document,
)
from edge_runtime.outputs.sink import Sink
from edge_runtime.outputs.summary import Summary
from edge_runtime.outputs.video import (
    VIDEO_CODECS,
    ImageWriter,
    PictureFile,
    VideoFile,
    check_output,
    fitted,
    open_output,
)
from edge_runtime.outputs.window import Window

__all__ = [
    "EVENT_SCHEMA",
    "FRAME_SCHEMA",
    "VIDEO_CODECS",
    "ImageWriter",
    "PictureFile",
    "Sink",
    "Summary",
    "VideoFile",
    "Window",
    "check_output",
    "event_document",
    "fitted",
    "frame_document",
    "open_output",
]
