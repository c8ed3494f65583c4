"""Live sources: a thread reads every frame, the loop gets the newest one."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import closing
from functools import partial

from edge_runtime.errors import SourceError
from edge_runtime.preprocessing import Image
from edge_runtime.sources.base import (
    CameraSettings,
    Clock,
    Frame,
    KeepWaiting,
    wait_forever,
)
from edge_runtime.sources.supervisor import (
    OPEN_TIMEOUT_S,
    OpenReader,
    SupervisedSource,
)
from edge_runtime.utils.workers import WorkerPool

STUCK_S = 60.0  # without a frame, while a call hangs in the device
_POLL_S = 0.2
_CLOSE_S = 0.3  # of the second in which a whole run ends


class LiveSource(SupervisedSource):
    """A camera or stream: yields the newest frame and drops those before it.

    A thread reads the device, so that frames never queue up in a driver. A call that
    hangs in the device cannot be ended from outside: its thread is abandoned, and
    another one opens the device again. An abandoned thread is a daemon: it does not
    keep the process alive; once its call returns, it closes the device and is used
    again. A device that only one thread may open stays lost until then: see ``stuck``.
    """

    live = True

    def __init__(
        self,
        open_reader: OpenReader,
        name: str,
        *,
        settings: CameraSettings | None = None,
        every: int = 1,
        keep_waiting: KeepWaiting = wait_forever,
    ) -> None:
        """Opens the device and waits for the first frame.

        Args:
            open_reader: Opens the device; called again after each loss.
            name: For messages and frames; without a password.
            settings: Timeouts.
            every: Yield every n-th frame only.
            keep_waiting: Called with ``stuck`` while there is no frame; False ends the
                iteration.

        Raises:
            SourceError: It cannot be opened, or delivers no frame.
        """
        super().__init__(open_reader, name, settings=settings, every=every)
        self._keep_waiting = keep_waiting
        self._latest = LatestFrame()
        self._count, self._start_s = 0, 0.0
        self._workers = WorkerPool(f"grab {name}")
        self._abandoned: list[threading.Event] = []  # set when their call returns
        self._start(pause_s=0.0)
        try:
            self._await_first(max(OPEN_TIMEOUT_S, self._settings.stall_s))
        except BaseException:
            self.close()
            raise

    @property
    def dropped(self) -> int:
        """Frames that were dropped for a newer one."""
        return self._latest.dropped + self.passed_over

    @property
    def stuck(self) -> bool:
        """Whether a call hangs in the device and there was no frame for ``STUCK_S``.

        Only the return of that call, or a new process, can help then.
        """
        self._abandoned = [done for done in self._abandoned if not done.is_set()]
        without_s = time.monotonic() - self._latest.put_at_s
        return bool(self._abandoned) and without_s > STUCK_S

    def __iter__(self) -> Iterator[Frame]:
        """Yields the newest frame each time; raises ``SourceError`` if it gives up."""
        while True:
            frame = self._latest.get(_POLL_S)
            if frame is not None:
                yield frame
            elif self._latest.finished or not self._keep_waiting(self.stuck):
                return
            else:
                self._abandon_hanging_call()

    def close(self) -> None:
        """Closes the device, or abandons a thread that hangs in it."""
        self._clock.stop()
        self._workers.shutdown()
        self._done.wait(_CLOSE_S)

    def _start(self, pause_s: float) -> None:
        self._clock = Clock()
        self._done = self._workers.call(partial(self._grab, self._clock, pause_s))

    def _await_first(self, timeout_s: float) -> None:
        deadline_s = time.monotonic() + timeout_s
        while not self._latest.wait(_POLL_S):
            if not self._keep_waiting(False):
                return
            if time.monotonic() > deadline_s:
                raise SourceError(
                    f"expected a frame from {self.name!r}, got none within"
                    f" {timeout_s:.0f} s: check that the camera or stream runs"
                )

    def _abandon_hanging_call(self) -> None:
        now_s = self._clock.now()
        if now_s <= self._clock.deadline_s:
            return
        self._clock.stop()
        self._abandoned.append(self._done)
        reason = f"no frame for {now_s - self._latest.put_at_s:.1f} s"
        self._start(self._recovery.lost(reason, now_s))

    def _grab(self, clock: Clock, pause_s: float) -> None:
        """Runs in a thread: reads frames until the source ends or the clock stops."""
        failure: Exception | None = None
        clock.sleep(pause_s)
        try:
            with closing(self._images(clock)) as images:
                for image, at_s in images:
                    if not clock.running:
                        return
                    self._put(image, at_s)
        except Exception as error:  # of any kind: it is raised in the loop
            failure = error
        if clock.running:
            self._latest.finish(failure)

    def _put(self, image: Image, at_s: float) -> None:
        if self._count == 0:
            self._start_s = at_s
        index, self._count = self._count, self._count + 1
        if index % self._every == 0:
            time_s = at_s - self._start_s
            taken_s = at_s - self.late_s
            self._latest.put(Frame(image, index, time_s, self.name, taken_s))


class LatestFrame:
    """A queue that holds only the newest frame.

    Attributes:
        dropped: Frames that were replaced before ``get`` returned them.
        put_at_s: ``time.monotonic()`` of the last ``put``, or of the construction.
        finished: There are no more frames, and ``get`` has returned the last one.
    """

    def __init__(self) -> None:
        self.dropped = 0
        self.put_at_s = time.monotonic()
        self.finished = False
        self._frame: Frame | None = None
        self._failure: Exception | None = None
        self._ended = False
        self._changed = threading.Condition()

    def put(self, frame: Frame) -> None:
        """Replaces the frame."""
        with self._changed:
            self.dropped += self._frame is not None
            self._frame = frame
            self.put_at_s = time.monotonic()
            self._changed.notify_all()

    def finish(self, failure: Exception | None) -> None:
        """Notes the end of the source, and the error that caused it."""
        with self._changed:
            self._failure, self._ended = failure, True
            self._changed.notify_all()

    def wait(self, timeout_s: float) -> bool:
        """Returns whether there is a frame, or an end, within a time.

        Raises:
            Exception: The error given to ``finish``, if there was no frame.
        """
        with self._changed:
            self._changed.wait_for(self._ready, timeout_s)
            if self._frame is None and self._failure is not None:
                raise self._failure
            return self._ready()

    def get(self, timeout_s: float) -> Frame | None:
        """Removes and returns the newest frame; None if there is none in time.

        Raises:
            Exception: The error given to ``finish``, after the last frame.
        """
        with self._changed:
            self._changed.wait_for(self._ready, timeout_s)
            frame, self._frame = self._frame, None
            if frame is None and self._ended:
                self.finished = True
                if self._failure is not None:
                    raise self._failure
            return frame

    def _ready(self) -> bool:
        return self._frame is not None or self._ended
