"""The outputs that show pictures, fed with one ``Picture`` a frame."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from edge_runtime.outputs.painter import Painter, Picture
from edge_runtime.outputs.queued import Queued
from edge_runtime.outputs.window import Window
from edge_runtime.results import FrameResult
from edge_runtime.sources import Frame


class PictureTaker(Protocol):
    """Wants pictures."""

    def take(self, picture: Picture) -> bool:
        """Takes one picture, to draw it or not, and returns whether to go on."""


class Pictures:
    """Makes one picture of each answer and gives it to all who want pictures."""

    def __init__(self, painter: Painter, takers: Sequence[PictureTaker]) -> None:
        """Takes who draws and who wants."""
        self._painter, self._takers = painter, takers

    def write(self, frame: Frame, result: FrameResult) -> bool:
        """Takes one answer."""
        picture = self._painter.picture(frame, result)
        return all([taker.take(picture) for taker in self._takers])


class VideoTaker:
    """Every picture into a video or picture file (``--output``)."""

    def __init__(self, queue: Queued[Picture]) -> None:
        """Takes the queue before the file."""
        self._queue = queue

    def take(self, picture: Picture) -> bool:
        """Takes one picture."""
        self._queue.put(picture, keep=bool(picture.result.events))
        return True


class WindowTaker:
    """Every picture onto the screen (``--display``), in the loop: windows want it."""

    def __init__(self, window: Window, painter: Painter) -> None:
        """Takes the window and who draws."""
        self._window, self._painter = window, painter

    def take(self, picture: Picture) -> bool:
        """Shows it and returns whether to go on."""
        return self._window.show(self._painter.drawn(picture))
