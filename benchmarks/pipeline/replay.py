"""Shows images from memory as a camera does: at its own rate."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager

from edge_runtime.preprocessing import Image
from edge_runtime.sources.base import Clock, EndOfSource
from edge_runtime.sources.live import LiveSource


class ImageReader:
    """Reads images at a rate: all that are due, in order.

    Attributes:
        fps: Images per second.
    """

    def __init__(
        self,
        images: Sequence[Image],
        fps: float,
        clock: Clock,
        *,
        recorded_fps: float,
        endless: bool,
    ) -> None:
        """Starts now.

        Args:
            images: uint8 (H, W, 3) BGR.
            fps: Images per second to show: at another rate than ``recorded_fps`` some
                are left out or repeated, so that everything moves as fast as recorded.
            clock: Waits for the next image.
            recorded_fps: Images per second of the recording.
            endless: Begin again after the last image.
        """
        self.fps = fps
        self._images, self._clock, self._endless = images, clock, endless
        self._recorded_fps = recorded_fps
        self._started_s, self._count = clock.now(), 0

    def read(self) -> Image:
        """Waits until the next image is due and returns it.

        Raises:
            EndOfSource: There is no further image.
        """
        number, self._count = self._count, self._count + 1
        index = index_at(number / self.fps, self._recorded_fps)
        if index >= len(self._images) and not self._endless:
            raise EndOfSource
        due_s = self._started_s + number / self.fps
        self._clock.sleep(due_s - self._clock.now())
        return self._images[index % len(self._images)]

    def close(self) -> None:
        """Does nothing."""


def index_at(time_s: float, fps: float) -> int:
    """Returns the number of the image that is shown at a time since the first one."""
    return int(time_s * fps + 1e-6)


@contextmanager
def replay(
    images: Sequence[Image], fps: float, *, recorded_fps: float, endless: bool = True
) -> Iterator[LiveSource]:
    """Yields a live source, as a camera is one, that shows recorded images.

    Args:
        images: uint8 (H, W, 3) BGR.
        fps: Images per second that the camera gives.
        recorded_fps: Images per second of the recording.
        endless: Begin again after the last image.
    """

    def opened(clock: Clock) -> ImageReader:
        return ImageReader(
            images, fps, clock, recorded_fps=recorded_fps, endless=endless
        )

    with closing(LiveSource(opened, "replay")) as source:
        yield source
