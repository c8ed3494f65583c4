"""Pictures from a camera that may freeze, vanish and come back."""

from __future__ import annotations

import math
from collections.abc import Callable, Generator, Iterator

from edge_runtime.errors import SourceError
from edge_runtime.preprocess import Image
from edge_runtime.sources.clock import Clock
from edge_runtime.sources.frames import (
    FALLBACK_FPS,
    EndOfSource,
    Kind,
    Reader,
    usable,
)
from edge_runtime.sources.recovery import Recovery
from edge_runtime.sources.settings import CameraSettings
from edge_runtime.sources.watch import PictureWatch

OpenReader = Callable[[Clock], Reader]

# A camera may miss a frame (a loose cable, a mode change) and come back.
MOST_MISSED_FRAMES = 30
_MISS_PAUSE_S = 0.01
# Opening, and the first picture: a stream may have to wait for a key frame.
OPEN_S = 15.0


class Supervised:
    """What a supervised camera is and tells; frames are the business of each kind."""

    kind: Kind = "camera"

    def __init__(
        self,
        open_reader: OpenReader,
        name: str,
        *,
        settings: CameraSettings | None,
        every: int,
    ) -> None:
        """Opens nothing yet."""
        self.name, self._every = name, every
        self._supervisor = Supervisor(open_reader, name, settings or CameraSettings())

    @property
    def fps(self) -> float:
        """Frames taken per second of its time, as far as the camera says."""
        return self._supervisor.fps / self._every

    @property
    def skipped(self) -> int:
        """Pictures that were missed or not usable."""
        return self._supervisor.skipped

    @property
    def reopened(self) -> int:
        """How often it came back after a freeze or a loss."""
        return self._supervisor.recovery.reopened


class Supervisor:
    """Opens a camera, reads it, and opens it again whenever it is lost or frozen.

    Attributes:
        name: What messages call it.
        recovery: Counts the losses.
        fps: Pictures per second, as the camera says; 25 before it is open.
        skipped: Pictures that were missed or not usable, each followed by a good one.
    """

    def __init__(
        self, open_reader: OpenReader, name: str, settings: CameraSettings
    ) -> None:
        """Takes what opens the camera; opens nothing yet."""
        self.name, self.fps, self.skipped = name, FALLBACK_FPS, 0
        self.recovery = Recovery(name, settings.reopen_limit)
        self._open_reader, self._settings = open_reader, settings
        self._watch = PictureWatch(name, settings.frozen_s)

    def pictures(self, clock: Clock) -> Generator[tuple[Image, float], None, None]:
        """Yields pictures, each with the time at which it came, until the clock ends.

        Args:
            clock: Time by which it waits; its deadline is set around each call into
                the device, which may hang.

        Raises:
            SourceError: It cannot be opened in the first place, or was lost too often.
        """
        while clock.going:
            try:
                yield from self._until_lost(clock)
            except EndOfSource:
                return
            except SourceError as error:
                clock.deadline_s = math.inf
                if not clock.going:
                    return
                if not self.recovery.proved:
                    raise
                clock.sleep(self.recovery.lost(str(error), clock.now()))

    def _until_lost(self, clock: Clock) -> Iterator[tuple[Image, float]]:
        clock.deadline_s = clock.now() + OPEN_S
        reader = self._open_reader(clock)
        try:
            self.fps = reader.fps
            self._watch.start(clock.now())
            for image in self._usable_pictures(reader, clock):
                now = clock.now()
                self.recovery.delivered(now)
                yield image, now
                self._watch.look(image, now)
        finally:
            clock.deadline_s = clock.now() + OPEN_S  # closing may hang, too
            reader.close()
            clock.deadline_s = math.inf

    def _usable_pictures(self, reader: Reader, clock: Clock) -> Iterator[Image]:
        missed, until_s = 0, clock.now() + max(OPEN_S, self._settings.stall_s)
        while True:
            clock.deadline_s = until_s
            image = usable(reader.read())
            clock.deadline_s = math.inf
            if not clock.going:
                return
            if image is not None:
                self.skipped += missed
                yield image
                missed, until_s = 0, clock.now() + self._settings.stall_s
                continue
            missed += 1
            if missed >= MOST_MISSED_FRAMES or clock.now() >= until_s:
                raise SourceError("gives no usable picture: is its cable loose?")
            clock.sleep(_MISS_PAUSE_S)
