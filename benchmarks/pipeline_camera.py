"""A camera that shows a clip from memory: no time goes into decoding it.

People move in it as fast as in the clip, whatever the camera's rate, as far as it can
keep that up.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path

from benchmarks.pipeline_clip import FPS
from edge_runtime.preprocess import Image
from edge_runtime.sources import open_source
from edge_runtime.sources.clock import Clock
from edge_runtime.sources.frames import EndOfSource
from edge_runtime.sources.live import LiveSource


class PlayedClip:
    """A reader that gives pictures at a rate, all that are due, in order.

    Attributes:
        fps: Pictures per second.
    """

    def __init__(
        self, pictures: Sequence[Image], fps: float, clock: Clock, *, endless: bool
    ) -> None:
        """Starts now.

        Args:
            pictures: The clip's, uint8 (H, W, 3) BGR, ``FPS`` of which last a second.
            fps: How many a second to give.
            clock: By which it waits.
            endless: Begin again at the end.
        """
        self.fps = fps
        self._pictures, self._clock, self._endless = pictures, clock, endless
        self._started_s, self._count = clock.now(), 0

    def read(self) -> Image:
        """Waits until the next picture is due and returns it.

        Raises:
            EndOfSource: That was the last one.
        """
        number, self._count = self._count, self._count + 1
        shown = shown_at(number / self.fps)
        if shown >= len(self._pictures) and not self._endless:
            raise EndOfSource
        due_s = self._started_s + number / self.fps
        self._clock.sleep(due_s - self._clock.now())
        return self._pictures[shown % len(self._pictures)]

    def close(self) -> None:
        """Does nothing."""


def shown_at(at_s: float) -> int:
    """Returns the number of the clip's picture at a time since its beginning."""
    return int(at_s * FPS + 1e-6)


@contextmanager
def playing(
    pictures: Sequence[Image], fps: float, *, endless: bool = True
) -> Iterator[LiveSource]:
    """Yields a live source, as a camera is one, that shows a clip.

    Args:
        pictures: The clip's, uint8 (H, W, 3) BGR, ``FPS`` of which last a second.
        fps: Pictures the camera gives per second.
        endless: Begin again at the end.
    """

    def opened(clock: Clock) -> PlayedClip:
        return PlayedClip(pictures, fps, clock, endless=endless)

    with closing(LiveSource(opened, "clip")) as source:
        yield source


def pictures_of(clip: Path) -> list[Image]:
    """Returns all pictures of a video: 0.9 MB each at 640x480."""
    with open_source(str(clip)) as source:
        return [frame.image for frame in source]
