"""Pictures from a camera that may freeze, vanish and come back."""

from __future__ import annotations

import logging
import math
from collections import deque
from collections.abc import Callable, Generator, Iterator

from edge_runtime.errors import SourceError
from edge_runtime.preprocessing import Image
from edge_runtime.sources.base import (
    FALLBACK_FPS,
    CameraSettings,
    EndOfSource,
    Kind,
    Reader,
    usable,
)
from edge_runtime.sources.clock import Clock
from edge_runtime.sources.freeze_detection import FreezeDetector

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
        self._watch = FreezeDetector(name, settings.frozen_s)

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


logger = logging.getLogger(__name__)

FIRST_WAIT_S = 0.25

MOST_WAIT_S = 2.0

# Delivering for so long, a camera counts as well again.
STEADY_S = 10.0

WINDOW_S = 600.0


class Recovery:
    """Counts losses: waits longer after each, gives up after too many (a breaker).

    It says two things only, however often it tries: that the camera is lost, and that
    it is back.
    """

    def __init__(self, name: str, limit: int) -> None:
        """Takes the camera's name, for the log, and the limit; 0 for none.

        Args:
            name: What the log calls it.
            limit: Failures within ``WINDOW_S`` after which it is given up.
        """
        self._name, self._limit = name, limit
        self._failures: deque[float] = deque(maxlen=max(1, limit))
        self._tries = 0
        self._lost_at: float | None = None
        self._back_at: float | None = None
        self.reopened = 0

    @property
    def proved(self) -> bool:
        """Whether it has ever delivered."""
        return self._back_at is not None

    def delivered(self, now_s: float) -> None:
        """Notes a picture."""
        if self._back_at is None:
            self._back_at = now_s
        if self._lost_at is None:
            return
        logger.warning(
            "%s: pictures again after %.1f s", self._name, now_s - self._lost_at
        )
        self._back_at, self._lost_at = now_s, None
        self.reopened += 1

    def lost(self, reason: str, now_s: float) -> float:
        """Notes a loss or a failed opening and returns how many seconds to wait.

        Raises:
            SourceError: There were too many.
        """
        if self._lost_at is None:
            logger.warning("%s: %s: opening it again", self._name, reason)
            self._lost_at = now_s
            if self._back_at is not None and now_s - self._back_at >= STEADY_S:
                self._tries = 0
        else:
            logger.debug("%s: %s", self._name, reason)
        self._failures.append(now_s)
        self._check_limit(reason, now_s)
        self._tries += 1
        return min(MOST_WAIT_S, FIRST_WAIT_S * 2.0 ** min(self._tries - 1, 10))

    def _check_limit(self, reason: str, now_s: float) -> None:
        full = self._limit > 0 and len(self._failures) == self._limit
        if full and now_s - self._failures[0] <= WINDOW_S:
            raise SourceError(
                f"{self._name!r} was lost {self._limit} times within"
                f" {now_s - self._failures[0]:.0f} s, at last: {reason}: check its"
                " cable, power and network, or raise --reopen-limit"
            )
