"""The pictures that outputs share: drawn once, by whoever asks first."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from edge_runtime.outputs import annotate as overlay
from edge_runtime.outputs.blur import RecentBoxes, blurred
from edge_runtime.outputs.window import Window
from edge_runtime.outputs.work_queue import WorkQueue
from edge_runtime.pipeline.stats import RECENT_S
from edge_runtime.preprocessing import Image
from edge_runtime.results import Box, FrameResult
from edge_runtime.sources import Frame


@dataclass(frozen=True, eq=False)
class Picture:
    """A frame with what is needed to draw on it.

    Attributes:
        frame: As it came from the source: never shown by itself.
        result: The answer for it.
        hidden: Boxes to blur; None where nothing is hidden.
        text: For the upper left corner.
    """

    frame: Frame
    result: FrameResult
    hidden: tuple[Box, ...] | None
    text: str

    def plain(self) -> Image:
        """Returns the frame without drawings, uint8, blurred where asked for."""
        if self.hidden is None:
            return self.frame.image
        return blurred(self.frame.image, self.hidden)


class FrameRenderer:
    """Makes a ``Picture`` of every answer, and draws those that somebody wants."""

    def __init__(self, *, privacy: bool, rate: bool) -> None:
        """Takes what all pictures have in common.

        Args:
            privacy: Blur faces.
            rate: They follow each other in time: write their rate into the corner, and
                blur where a face was in those just before. Else each stands alone.
        """
        self._privacy, self._recent = privacy, RecentBoxes() if rate else None
        self._rate = rate
        self._times: deque[float] = deque()
        self._lock = threading.Lock()
        self._drawn: tuple[Picture, Image] | None = None

    def picture(self, frame: Frame, result: FrameResult) -> Picture:
        """Returns an answer as a picture to be drawn; cheap, called for every frame."""
        hidden = self._hidden(result) if self._privacy else None
        return Picture(frame, result, hidden, self._text(result))

    def drawn(self, picture: Picture) -> Image:
        """Returns it with boxes and labels, uint8 (H, W, 3) BGR; not to be changed.

        Small pictures are enlarged.
        """
        with self._lock:
            if self._drawn is None or self._drawn[0] is not picture:
                image, faces = overlay.enlarged(picture.plain(), picture.result.faces)
                image = overlay.draw(image, faces, text=picture.text)
                self._drawn = picture, image
            return self._drawn[1]

    def _hidden(self, result: FrameResult) -> tuple[Box, ...]:
        if self._recent is not None:
            return self._recent.add(result)
        return tuple(face.box_xywh for face in result.faces)

    def _text(self, result: FrameResult) -> str:
        busy_ms = result.detect_ms + result.track_ms + result.classify_ms
        text = f"{busy_ms:.1f} ms"
        return f"{self._per_second():.1f} fps   {text}" if self._rate else text

    def _per_second(self) -> float:
        now = time.monotonic()
        self._times.append(now)
        # As long as the page's own figure, or the two of one page would differ.
        while now - self._times[0] > RECENT_S and len(self._times) > 2:
            self._times.popleft()
        return (len(self._times) - 1) / max(now - self._times[0], 1e-9)


class FrameSink(Protocol):
    """Wants pictures."""

    def take(self, picture: Picture) -> bool:
        """Takes one picture, to draw it or not, and returns whether to go on."""


class FrameFanout:
    """Makes one picture of each answer and gives it to all who want pictures."""

    def __init__(self, painter: FrameRenderer, takers: Sequence[FrameSink]) -> None:
        """Takes who draws and who wants."""
        self._painter, self._takers = painter, takers

    def write(self, frame: Frame, result: FrameResult) -> bool:
        """Takes one answer."""
        picture = self._painter.picture(frame, result)
        return all([taker.take(picture) for taker in self._takers])


class VideoTaker:
    """Every picture into a video or picture file (``--output``)."""

    def __init__(self, queue: WorkQueue[Picture]) -> None:
        """Takes the queue before the file."""
        self._queue = queue

    def take(self, picture: Picture) -> bool:
        """Takes one picture."""
        self._queue.put(picture, keep=bool(picture.result.events))
        return True


class WindowTaker:
    """Every picture onto the screen (``--display``), in the loop: windows want it."""

    def __init__(self, window: Window, painter: FrameRenderer) -> None:
        """Takes the window and who draws."""
        self._window, self._painter = window, painter

    def take(self, picture: Picture) -> bool:
        """Shows it and returns whether to go on."""
        return self._window.show(self._painter.drawn(picture))
