"""A source without a thread: every picture, in order, whoever takes how long."""

from __future__ import annotations

from collections.abc import Iterator

from edge_runtime.errors import SourceError
from edge_runtime.preprocessing import Image
from edge_runtime.sources.base import CameraSettings, Frame
from edge_runtime.sources.clock import VirtualClock
from edge_runtime.sources.supervisor import OpenReader, Supervised


class SequentialSource(Supervised):
    """A camera on virtual time: watched over like a live one, the same every time."""

    live = False
    dropped = 0

    def __init__(
        self,
        open_reader: OpenReader,
        name: str,
        *,
        settings: CameraSettings | None = None,
        every: int = 1,
        frame_count: int | None = None,
    ) -> None:
        """Opens it and reads its first picture.

        Args:
            open_reader: Opens it; called again after each loss.
            name: What messages and frames call it.
            settings: How long faults are borne, in virtual time.
            every: Take each n-th picture only.
            frame_count: Frames it will yield, where that is known.

        Raises:
            SourceError: It cannot be opened, or gives no picture.
        """
        super().__init__(open_reader, name, settings=settings, every=every)
        self.frame_count = frame_count
        self._pictures = self._supervisor.pictures(VirtualClock())
        first = next(self._pictures, None)
        if first is None:
            raise SourceError(f"expected pictures from {name!r}, got none")
        self._first: tuple[Image, float] = first

    def __iter__(self) -> Iterator[Frame]:
        """Yields all of its frames."""
        started_s = self._first[1]
        for index, (image, at_s) in enumerate(self._all()):
            if index % self._every == 0:
                yield Frame(image, index, round(at_s - started_s, 6), self.name)

    def close(self) -> None:
        """Closes it."""
        self._pictures.close()

    def _all(self) -> Iterator[tuple[Image, float]]:
        yield self._first
        yield from self._pictures
