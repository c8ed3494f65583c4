"""What all pipelines have in common."""

from __future__ import annotations

from typing import Protocol, TypeVar

from edge_runtime.results import FrameResult
from edge_runtime.sources import Frame


class Tracked(Protocol):
    """A frame in which what is to be classified was found."""

    @property
    def frame(self) -> Frame:
        """The frame."""


AnyTracked = TypeVar("AnyTracked", bound=Tracked)


class FramePipeline(Protocol[AnyTracked]):
    """Returns the result of each frame of a source, in order."""

    def close(self) -> None:
        """Ends its threads."""

    def process(self, frame: Frame) -> FrameResult:
        """Returns the result of the next frame."""

    def detect_and_track(self, frame: Frame) -> AnyTracked:
        """Returns the next frame with what was found in it."""

    def classify(self, tracked: AnyTracked) -> FrameResult:
        """Returns the result of the frame that was tracked next."""
