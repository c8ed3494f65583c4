"""Where results go: lines of JSON, CSV, video, images, MQTT; several at once.

docs/how-to/outputs.md says what each one writes.
"""

from edge_runtime.outputs.documents import event_document, frame_document

__all__ = ["event_document", "frame_document"]
