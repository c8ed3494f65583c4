"""Frames from cameras, streams, files and a fake camera; see docs/sources.md."""

from edge_runtime.sources.frames import FALLBACK_FPS, Frame, Kind, Source, usable
from edge_runtime.sources.opening import open_source
from edge_runtime.sources.pictures import (
    PICTURE_SUFFIXES,
    PictureSource,
    read_picture,
)
from edge_runtime.sources.settings import CameraSettings

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
