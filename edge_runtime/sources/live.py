"""Live sources: a thread takes every picture, the loop gets the newest one."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import closing
from functools import partial

from edge_runtime.errors import SourceError
from edge_runtime.preprocessing import Image
from edge_runtime.sources.base import CameraSettings, Frame, Waiting, wait_on
from edge_runtime.sources.clock import RealClock
from edge_runtime.sources.supervisor import OPEN_S, OpenReader, Supervised
from edge_runtime.utils.workers import WorkerPool

# Without a frame for so long, while a thread that was left behind is still in a call.
STUCK_S = 60.0

_SLICE_S = 0.2

_CLOSE_S = 0.3  # all that ends has a second together


class LiveSource(Supervised):
    """A camera or stream: the newest frame is yielded, those before it are dropped.

    A thread reads the device, so that frames never queue up in a driver. A call that
    hangs in the device cannot be ended from outside: its thread is left behind (a
    daemon, which gives the device back when the call returns and does not keep the
    process alive) and another one opens the device again; the one left behind is used
    again once its call has returned. A device that only one may open stays lost until
    then, or until the process ends: see ``stuck``.
    """

    live = True
    frame_count: int | None = None

    def __init__(
        self,
        open_reader: OpenReader,
        name: str,
        *,
        settings: CameraSettings | None = None,
        every: int = 1,
        waiting: Waiting = wait_on,
    ) -> None:
        """Opens it and waits for the first frame.

        Args:
            open_reader: Opens the device; called again after each loss.
            name: What messages and frames call it; without a password.
            settings: How long faults are borne.
            every: Take each n-th frame only.
            waiting: Called while no frame comes, with ``stuck``; False ends the
                iteration.

        Raises:
            SourceError: It cannot be opened, or gives no frame.
        """
        super().__init__(open_reader, name, settings=settings, every=every)
        self._waiting = waiting
        self._newest = LatestFrame()
        self._count, self._first_s = 0, 0.0
        self._crew = WorkerPool(f"grab {name}")
        self._left: list[threading.Event] = []  # unset: behind, in a call that hangs
        self._start(after_s=0.0)
        try:
            self._await_first(max(OPEN_S, (settings or CameraSettings()).stall_s))
        except BaseException:
            self.close()
            raise

    @property
    def dropped(self) -> int:
        """Frames passed over because a newer one was there."""
        return self._newest.dropped

    @property
    def stuck(self) -> bool:
        """Whether a call hangs in the device and no frame came for ``STUCK_S``.

        Nothing in this process can help then but that the call returns.
        """
        self._left = [one for one in self._left if not one.is_set()]
        without_s = time.monotonic() - self._newest.put_at_s
        return bool(self._left) and without_s > STUCK_S

    def __iter__(self) -> Iterator[Frame]:
        """Yields the newest frame each time; raises SourceError when it is given up."""
        while True:
            frame = self._newest.take(_SLICE_S)
            if frame is not None:
                yield frame
            elif self._newest.finished or not self._waiting(self.stuck):
                return
            else:
                self._leave_a_hanging_call()

    def close(self) -> None:
        """Gives the device back, or leaves a thread that hangs in it behind."""
        self._clock.stop()
        self._crew.shutdown()
        self._grabbed.wait(_CLOSE_S)

    def _start(self, after_s: float) -> None:
        self._clock = RealClock()
        self._grabbed = self._crew.call(partial(self._grab, self._clock, after_s))

    def _await_first(self, limit_s: float) -> None:
        until = time.monotonic() + limit_s
        while not self._newest.wait(_SLICE_S):
            if not self._waiting(False):
                return
            if time.monotonic() > until:
                raise SourceError(
                    f"expected a picture from {self.name!r}, got none within"
                    f" {limit_s:.0f} s: check that the camera or stream runs"
                )

    def _leave_a_hanging_call(self) -> None:
        now = self._clock.now()
        if now <= self._clock.deadline_s:
            return
        self._clock.stop()
        self._left.append(self._grabbed)
        stall_s = now - self._newest.put_at_s
        self._start(
            self._supervisor.recovery.lost(f"no picture for {stall_s:.1f} s", now)
        )

    def _grab(self, clock: RealClock, after_s: float) -> None:
        """Hands frames on until the source or the clock ends (in a thread)."""
        failure: Exception | None = None
        clock.sleep(after_s)
        try:
            with closing(self._supervisor.pictures(clock)) as pictures:
                for image, at_s in pictures:
                    if not clock.going:
                        return
                    self._hand_on(image, at_s)
        except Exception as error:  # whatever it is, the loop must hear of it
            failure = error
        if clock.going:
            self._newest.finish(failure)

    def _hand_on(self, image: Image, at_s: float) -> None:
        if self._count == 0:
            self._first_s = at_s
        index, self._count = self._count, self._count + 1
        if index % self._every == 0:
            since_s = at_s - self._first_s
            self._newest.put(Frame(image, index, since_s, self.name, at_s))


class LatestFrame:
    """Holds one frame at most.

    Attributes:
        dropped: Frames that were replaced before anybody took them.
        put_at_s: ``time.monotonic()`` of the last one, or of the making.
        finished: No more will come, and the last one was taken.
    """

    def __init__(self) -> None:
        """Starts empty."""
        self.dropped = 0
        self.put_at_s = time.monotonic()
        self.finished = False
        self._frame: Frame | None = None
        self._failure: Exception | None = None
        self._over = False
        self._changed = threading.Condition()

    def put(self, frame: Frame) -> None:
        """Replaces what is there."""
        with self._changed:
            self.dropped += self._frame is not None
            self._frame = frame
            self.put_at_s = time.monotonic()
            self._changed.notify_all()

    def finish(self, failure: Exception | None) -> None:
        """Says that no more will come, and why if that is a fault."""
        with self._changed:
            self._failure, self._over = failure, True
            self._changed.notify_all()

    def wait(self, timeout_s: float) -> bool:
        """Returns whether there is a frame, or an end, within a time.

        Raises:
            Exception: What ``finish`` was given, when nothing ever came before it.
        """
        with self._changed:
            self._changed.wait_for(self._ready, timeout_s)
            if self._frame is None and self._failure is not None:
                raise self._failure
            return self._ready()

    def take(self, timeout_s: float) -> Frame | None:
        """Returns the newest frame; None where none came in time, or none will.

        Raises:
            Exception: What ``finish`` was given, after the last frame.
        """
        with self._changed:
            self._changed.wait_for(self._ready, timeout_s)
            frame, self._frame = self._frame, None
            if frame is None and self._over:
                self.finished = True
                if self._failure is not None:
                    raise self._failure
            return frame

    def _ready(self) -> bool:
        return self._frame is not None or self._over
