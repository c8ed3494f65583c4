"""Frames from cameras, streams, files and a fake camera; see docs/how-to/sources.md."""

from edge_runtime.sources.base import (
    FALLBACK_FPS,
    CameraSettings,
    Frame,
    Kind,
    Source,
    usable,
)
from edge_runtime.sources.factory import open_source
from edge_runtime.sources.images import (
    PICTURE_SUFFIXES,
    PictureSource,
    read_picture,
)

__all__ = [
    "FALLBACK_FPS",
    "PICTURE_SUFFIXES",
    "CameraSettings",
    "Frame",
    "Kind",
    "PictureSource",
    "Source",
    "open_source",
    "read_picture",
    "usable",
]
