"""What a run prints for a person: results or events, progress, and its summary."""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Mapping
from typing import Any, NamedTuple

from edge_runtime.cli.summary import hints, losses, next_steps, summary_table
from edge_runtime.detection.base import WholeImage
from edge_runtime.outputs.append_file import Stdout
from edge_runtime.outputs.work_queue import QueueCapacity, WorkQueue
from edge_runtime.pipeline.stats import Status
from edge_runtime.results import (
    FACE_WORDS,
    Event,
    FaceResult,
    FrameResult,
    Words,
)
from edge_runtime.sources import Frame
from edge_runtime.untrusted import one_line
from edge_runtime.utils.signals import StopRequest

PROGRESS_EVERY_S = 0.1
CLOSE_S = 0.5


class Console:
    """Prints results on stdout, unless that belongs to JSON (then ``silent``).

    One line for each picture. For a camera or video one line for each event, or the log
    of a service would grow by thirty lines per second; a terminal also shows the newest
    result. A camera never waits for a terminal that is stopped (Ctrl-S).
    """

    def __init__(
        self, args: argparse.Namespace, status: Status, stop: StopRequest
    ) -> None:
        """Starts its clock."""
        self._args, self._status, self._stop = args, status, stop
        self._source = source = status.source
        self._started_s = self._progress_s = time.perf_counter()
        self._terminal = sys.stdout is not None and sys.stdout.isatty()
        self._whole = status.detector == WholeImage.name
        self._queue: WorkQueue[_Message] | None = None
        if not (args.json or args.events == "-"):
            self._queue = WorkQueue(
                "stdout",
                _Screen().write,
                capacity=QueueCapacity(frames=1),
                lossless=not source.live,
                stop=stop,
            )

    @property
    def silent(self) -> bool:
        """Whether stdout belongs to JSON."""
        return self._queue is None

    def write(self, frame: Frame, result: FrameResult) -> bool:
        """Prints one result, where there is something to print."""
        message = self._message(result)
        if self._queue is not None and (message.lines or message.progress):
            self._queue.put(message, event=bool(message.lines))
        return True

    def finish(
        self, outputs: Mapping[str, Mapping[str, Any]], *, broken: bool = False
    ) -> None:
        """Prints the summary, hints, and the next commands.

        Where the source or a pipe is broken, the error message says what to do.
        """
        if self._queue is not None:
            lines = []
            if self._status.frames or not broken:
                seconds = max(time.perf_counter() - self._started_s, 1e-9)
                lines = ["", *summary_table(self._status, seconds).splitlines()]
            if not broken:
                lines += next_steps(self._args, self._source).splitlines()
            self._queue.put(_Message(tuple(lines)), event=True)
            self._close(self._queue)
        for loss in losses(outputs):
            print(one_line(loss), file=sys.stderr)
        if not broken:
            for hint in hints(self._args, self._status):
                print(one_line(hint), file=sys.stderr)

    def _close(self, queue: WorkQueue[_Message]) -> None:
        """Waits until all is printed; not for long after a camera or a signal."""
        queue.stop()
        while not queue.wait(CLOSE_S):
            if self._source.live or self._stop.signal is not None:
                return
        queue.check()

    def _message(self, result: FrameResult) -> _Message:
        if self._source.kind == "pictures":
            return _Message((result_line(result, self._status.words),))
        lines = tuple(
            event_line(one, whole=self._whole, words=self._status.words)
            for one in result.events
        )
        return _Message(lines, self._progress(result) if self._terminal else "")

    def _progress(self, result: FrameResult) -> str:
        now_s = time.perf_counter()
        if now_s - self._progress_s < PROGRESS_EVERY_S:
            return ""
        self._progress_s = now_s
        total = f"/{self._source.frame_count}" if self._source.frame_count else ""
        faces = _faces_text(result, self._status.words)
        return f"frame {self._status.frames}{total}  {faces}"[:79]


class _Message(NamedTuple):
    """Lines that stay, and a progress line that the next message replaces."""

    lines: tuple[str, ...]
    progress: str = ""


class _Screen:
    """Writes messages on stdout."""

    def __init__(self) -> None:
        self._out = Stdout()
        self._width = 0  # of the progress line that is on the terminal

    def write(self, message: _Message) -> None:
        text = ""
        if self._width and (message.lines or not message.progress):
            text = "\r" + " " * self._width + "\r"
            self._width = 0
        text += "".join(f"{line}\n" for line in message.lines)
        if message.progress:
            text += "\r" + message.progress.ljust(self._width)
            self._width = len(message.progress)
        self._out.write(text, end="")


def result_line(result: FrameResult, words: Words = FACE_WORDS) -> str:
    """Returns the result of one frame as text."""
    return (
        f"{one_line(result.name)}  frame {result.index}  {result.timestamp_s:.2f} s"
        f"  {_faces_text(result, words)}"
        f"  (detect {result.detect_ms:.1f} ms, classify {result.classify_ms:.1f} ms)"
    )


def event_line(event: Event, *, whole: bool = False, words: Words = FACE_WORDS) -> str:
    """Returns an event as text.

    Args:
        event: What happened.
        whole: Whole frames are classified (``--faces none``): no face is named.
        words: What the model looks at.
    """
    percent = round(100 * event.confidence)
    where = f"{event.region}: " if event.region else ""
    at = f"{event.timestamp_s:8.2f} s"
    if whole:
        before = f"{event.previous} to " if event.previous else ""
        return f"{at}  {where}{before}{event.label} ({percent} %)"
    text = {
        "appeared": f"appeared: {event.label}",
        "changed": f"changed: {event.previous} to {event.label}",
        "left": f"left: was {event.label}",
    }[event.kind.rpartition("_")[2]]
    return f"{at}  {where}{words.subject} #{event.track_id} {text} ({percent} %)"


def _faces_text(result: FrameResult, words: Words) -> str:
    return ", ".join(map(_face_text, result.faces)) or f"no {words.subject}"


def _face_text(face: FaceResult) -> str:
    where = f"{face.region}: " if face.region else ""
    if face.decision is None:
        return f"{where}{face.label} {100 * face.confidence:.0f} %"
    label = face.decision.label
    probability = face.decision.probabilities.get(label)  # "uncertain" has none
    percent = "" if probability is None else f" {100 * probability:.0f} %"
    return f"{where}#{face.track_id} {label}{percent}"
