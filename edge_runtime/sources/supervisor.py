"""Reads a camera and reopens it after a freeze or a loss."""

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
    Clock,
    EndOfSource,
    Kind,
    Reader,
    usable,
)
from edge_runtime.sources.freeze_detection import FreezeDetector

logger = logging.getLogger(__name__)

OpenReader = Callable[[Clock], Reader]

OPEN_TIMEOUT_S = 15.0  # to the first frame: a stream may wait for a key frame
# A read that should have timed out by itself has this part of it
# longer. Then its thread is
# abandoned, which holds a camera that can be opened only once.
HANGING_FRAC, MAX_HANGING_S = 0.25, 0.5
MAX_MISSED_FRAMES = 30  # in a row (a loose cable, a mode change)
_MISSED_PAUSE_S = 0.01

FIRST_PAUSE_S, MAX_PAUSE_S = 0.25, 2.0  # before reopening; doubled after each failure
LATE_S = 2.0
STEADY_S = 10.0  # after so long without a loss the pause is short again
WINDOW_S = 600.0  # in which ``reopen_limit`` counts failures


class SupervisedSource:
    """Base of cameras that are reopened when they are lost or frozen.

    Attributes:
        name: For messages and frames.
        skipped: Frames that were missed or invalid, each followed by a good one.
        passed_over: Frames that a reader left out for a newer one.
        late_s: Seconds by which the last frame was late when it came.
    """

    kind: Kind = "camera"
    frame_count: int | None = None

    def __init__(
        self,
        open_reader: OpenReader,
        name: str,
        *,
        settings: CameraSettings | None = None,
        every: int = 1,
    ) -> None:
        self.name, self.skipped, self.passed_over = name, 0, 0
        self.late_s, self._told_late = 0.0, False
        self._open_reader, self._every = open_reader, every
        self._settings = settings or CameraSettings()
        self._camera_fps = FALLBACK_FPS
        self._recovery = Recovery(name, self._settings.reopen_limit)
        self._freeze_detector = FreezeDetector(name, self._settings.frozen_s)

    @property
    def fps(self) -> float:
        """Frames per second that it yields, as far as the camera says."""
        return self._camera_fps / self._every

    @property
    def peak_fps(self) -> float:
        """The same: a camera's rate does not vary by much."""
        return self.fps

    @property
    def lost(self) -> str | None:
        """Why it is lost at present."""
        return self._recovery.reason

    @property
    def reopened(self) -> int:
        """How often it was back after a freeze or a loss."""
        return self._recovery.reopened

    def _images(self, clock: Clock) -> Generator[tuple[Image, float], None, None]:
        """Yields images, each with its time of arrival, until the clock is stopped.

        Args:
            clock: For waiting. Its deadline is set during each call into the device,
                which may hang.

        Raises:
            SourceError: It cannot be opened at first, or was lost too often.
        """
        while clock.running:
            try:
                yield from self._until_lost(clock)
            except EndOfSource:
                return
            except SourceError as error:
                clock.deadline_s = math.inf
                if not clock.running:
                    return
                if not self._recovery.ever_delivered:
                    raise self._without_a_frame(error) from error
                clock.sleep(self._recovery.lost(str(error), clock.now()))

    def _without_a_frame(self, error: SourceError) -> SourceError:
        """Returns an error as a sentence; that of a reader is the mere reason."""
        if type(error) is not SourceError or str(error).startswith("expected"):
            return error
        return SourceError(f"expected frames from {self.name!r}, got none: {error}")

    def _until_lost(self, clock: Clock) -> Iterator[tuple[Image, float]]:
        patience_s = max(OPEN_TIMEOUT_S, self._settings.stall_s + MAX_HANGING_S)
        clock.deadline_s = clock.now() + patience_s
        reader = self._open_reader(clock)
        try:
            self._camera_fps = reader.fps
            polled = getattr(reader, "polled", False)
            self._freeze_detector.start(clock.now(), polled=polled)
            for image in self._valid_images(reader, clock):
                now_s = clock.now()
                self._recovery.delivered(now_s)
                yield image, now_s
                self._freeze_detector.check(image, now_s)
        finally:
            clock.deadline_s = clock.now() + OPEN_TIMEOUT_S  # closing may hang, too
            reader.close()
            clock.deadline_s = math.inf

    def _valid_images(self, reader: Reader, clock: Clock) -> Iterator[Image]:
        stall_s = self._settings.stall_s
        missed, deadline_s = 0, clock.now() + max(OPEN_TIMEOUT_S, stall_s)
        while True:
            clock.deadline_s = deadline_s + min(HANGING_FRAC * stall_s, MAX_HANGING_S)
            image = usable(reader.read())
            self.passed_over += getattr(reader, "passed_over", 0)
            self._note_lateness(getattr(reader, "late_s", 0.0))
            clock.deadline_s = math.inf
            if not clock.running:
                return
            if image is not None:
                self.skipped += missed
                yield image
                missed, deadline_s = 0, clock.now() + stall_s
                continue
            missed += 1
            if missed >= MAX_MISSED_FRAMES or clock.now() >= deadline_s:
                reason = getattr(reader, "invalid", "is its cable loose?")
                raise SourceError(f"no valid frame: {reason}")
            clock.sleep(_MISSED_PAUSE_S)

    def _note_lateness(self, late_s: float) -> None:
        """Notes how late a frame is, and logs it once where that is much."""
        self.late_s = late_s
        if late_s > LATE_S and not self._told_late:
            self._told_late = True
            logger.warning(
                "%s: its frames come %.1f s late: they take this processor, or the"
                " network, too long: choose a smaller stream or a lower rate in the"
                " camera",
                self.name,
                late_s,
            )


class Recovery:
    """Counts losses: the pauses grow, and after too many it gives up (circuit breaker).

    However often it tries, it logs two things only: that the camera is lost, and that
    it is back.

    Attributes:
        reopened: How often the camera was back.
        reason: Why it is lost; None while it is not.
    """

    def __init__(self, name: str, limit: int) -> None:
        """Starts without a loss; ``limit`` failures are too many, 0 for no limit."""
        self._name, self._limit = name, limit
        self._failures: deque[float] = deque(maxlen=max(1, limit))
        self._tries = 0
        self._lost_at_s: float | None = None
        self._back_at_s: float | None = None
        self.reopened = 0
        self.reason: str | None = None

    @property
    def ever_delivered(self) -> bool:
        """Whether the camera has delivered a frame."""
        return self._back_at_s is not None

    def delivered(self, now_s: float) -> None:
        """Notes a frame."""
        if self._back_at_s is None:
            self._back_at_s = now_s
        if self._lost_at_s is None:
            return
        lost_for_s = now_s - self._lost_at_s
        logger.warning("%s: frames again after %.1f s", self._name, lost_for_s)
        self._back_at_s, self._lost_at_s, self.reason = now_s, None, None
        self.reopened += 1

    def lost(self, reason: str, now_s: float) -> float:
        """Notes a loss or a failed opening; returns how many seconds to wait.

        Raises:
            SourceError: There were too many.
        """
        self.reason = reason
        if self._lost_at_s is None:
            logger.warning("%s: %s: opening it again", self._name, reason)
            self._lost_at_s = now_s
            if self._back_at_s is not None and now_s - self._back_at_s >= STEADY_S:
                self._tries = 0
        else:
            logger.debug("%s: %s", self._name, reason)
        self._failures.append(now_s)
        self._check_limit(reason, now_s)
        self._tries += 1
        return min(MAX_PAUSE_S, FIRST_PAUSE_S * 2.0 ** min(self._tries - 1, 10))

    def _check_limit(self, reason: str, now_s: float) -> None:
        at_limit = self._limit > 0 and len(self._failures) == self._limit
        if at_limit and now_s - self._failures[0] <= WINDOW_S:
            raise SourceError(
                f"{self._name!r} was lost {self._limit} times within"
                f" {now_s - self._failures[0]:.0f} s, at last: {reason}: check its"
                " cable, power and network, or raise --reopen-limit"
            )
