"""Live sources: a thread takes every picture, the loop gets the newest one."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing

from edge_runtime.errors import SourceError
from edge_runtime.preprocess import Image
from edge_runtime.sources.clock import RealClock
from edge_runtime.sources.frames import Frame, Kind
from edge_runtime.sources.newest import Newest
from edge_runtime.sources.settings import CameraSettings
from edge_runtime.sources.supervisor import OPEN_S, OpenReader, Supervisor

# Called a few times a second while no frame comes; returns whether to go on waiting.
Waiting = Callable[[], bool]

_SLICE_S = 0.2
_CLOSE_S = 0.5


def wait_on() -> bool:
    """Goes on waiting for a frame as long as it takes."""
    return True


class LiveSource:
    """A camera or stream: the newest frame is yielded, those before it are dropped.

    A thread reads the device, so that frames never queue up in a driver. A call that
    hangs in the device cannot be ended from outside: its thread is left behind (a
    daemon, which gives the device back when the call returns and does not keep the
    process alive) and another one opens the device again.
    """

    kind: Kind = "camera"
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
            waiting: Called while no frame comes; False ends the iteration.

        Raises:
            SourceError: It cannot be opened, or gives no frame.
        """
        self.name, self._every, self._waiting = name, every, waiting
        self._supervisor = Supervisor(open_reader, name, settings or CameraSettings())
        self._newest = Newest()
        self._count, self._first_s = 0, 0.0
        self._start(after_s=0.0)
        try:
            self._await_first()
        except BaseException:
            self.close()
            raise

    @property
    def fps(self) -> float:
        """Frames taken per second, as far as the camera says."""
        return self._supervisor.fps / self._every

    @property
    def skipped(self) -> int:
        """Pictures that were missed or not usable."""
        return self._supervisor.skipped

    @property
    def dropped(self) -> int:
        """Frames passed over because a newer one was there."""
        return self._newest.dropped

    @property
    def reopened(self) -> int:
        """How often it came back after a freeze or a loss."""
        return self._supervisor.recovery.reopened

    def __iter__(self) -> Iterator[Frame]:
        """Yields the newest frame each time; raises SourceError when it is given up."""
        while True:
            frame = self._newest.take(_SLICE_S)
            if frame is not None:
                yield frame
            elif self._newest.finished or not self._waiting():
                return
            else:
                self._leave_a_hanging_call()

    def close(self) -> None:
        """Gives the device back, or leaves a thread that hangs in it behind."""
        self._clock.stop()
        self._thread.join(_CLOSE_S)

    def _start(self, after_s: float) -> None:
        self._clock = RealClock()
        self._thread = threading.Thread(
            target=self._grab,
            args=(self._clock, after_s),
            name=f"grab {self.name}",
            daemon=True,
        )
        self._thread.start()

    def _await_first(self) -> None:
        until = time.monotonic() + OPEN_S
        while not self._newest.wait(_SLICE_S):
            if not self._waiting():
                return
            if time.monotonic() > until:
                raise SourceError(
                    f"expected a picture from {self.name!r}, got none within"
                    f" {OPEN_S:.0f} s: check that the camera or stream runs"
                )

    def _leave_a_hanging_call(self) -> None:
        now = self._clock.now()
        if now <= self._clock.deadline_s:
            return
        self._clock.stop()
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
