"""A camera without a thread: every frame, in order, on virtual time."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import chain

from edge_runtime.errors import SourceError
from edge_runtime.sources.base import CameraSettings, Frame, VirtualClock
from edge_runtime.sources.supervisor import OpenReader, SupervisedSource


class SequentialSource(SupervisedSource):
    """A camera on virtual time, supervised as a live one; every run is the same."""

    live = False
    dropped = 0

    def __init__(
        self,
        open_reader: OpenReader,
        name: str,
        *,
        settings: CameraSettings | None = None,
        every: int = 1,
    ) -> None:
        """Opens the camera and reads its first frame; timeouts are in virtual time.

        Raises:
            SourceError: It cannot be opened, or delivers no frame.
        """
        super().__init__(open_reader, name, settings=settings, every=every)
        self._reading = self._images(VirtualClock())
        try:
            self._first = next(self._reading)
        except StopIteration:
            raise SourceError(f"expected frames from {name!r}, got none") from None

    def __iter__(self) -> Iterator[Frame]:
        """Yields all of its frames."""
        start_s = self._first[1]
        images = chain((self._first,), self._reading)
        for index, (image, at_s) in enumerate(images):
            if index % self._every == 0:
                yield Frame(image, index, round(at_s - start_s, 6), self.name)

    def close(self) -> None:
        """Closes the camera."""
        self._reading.close()
