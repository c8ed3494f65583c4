"""Frames from cameras, streams, files and a fake camera; see docs/how-to/sources.md."""

from edge_runtime.sources.base import CameraSettings, Frame, Source
from edge_runtime.sources.factory import open_source
from edge_runtime.sources.images import ImageSource, read_image

__all__ = [
    "CameraSettings",
    "Frame",
    "ImageSource",
    "Source",
    "open_source",
    "read_image",
]
