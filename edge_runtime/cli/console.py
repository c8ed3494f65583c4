"""What a run says to a person: answers or events, a progress count, a summary."""

from __future__ import annotations

import argparse
import shlex
import sys
import time
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, NamedTuple

from edge_runtime.outputs.append_file import Stdout
from edge_runtime.outputs.work_queue import QueueCapacity, WorkQueue
from edge_runtime.pipeline.stats import Status
from edge_runtime.results import Event, FaceResult, FrameResult
from edge_runtime.sources import CameraSettings, Frame, Source
from edge_runtime.utils.invocation import invocation
from edge_runtime.utils.signals import StopRequest

PROGRESS_EVERY_S = 0.1

CLOSE_S = 0.5

# Outputs whose reader wants all of it; a page's wants the newest.
KEEPING = ("json", "events", "csv", "output", "record", "mqtt")


class Console:
    """Prints results on stdout, unless that belongs to JSON (then ``silent``).

    A line for each picture; of a camera or video one for each event, or the log of a
    service would grow by thirty lines a second. On a terminal the newest answer is
    shown meanwhile. A camera never waits for a terminal that stands still (Ctrl-S).
    """

    def __init__(
        self, args: argparse.Namespace, status: Status, stop: StopRequest
    ) -> None:
        """Starts its clock."""
        self._args, self._status, self._stop = args, status, stop
        self._source = source = status.source
        self._started = self._shown = time.perf_counter()
        self._terminal = sys.stdout.isatty()
        self._queue: WorkQueue[_Said] | None = None
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
        """Prints one result, if there is anything to say."""
        said = self._said(result)
        if self._queue is not None and (said.lines or said.progress):
            self._queue.put(said, event=bool(said.lines))
        return True

    def finish(
        self, outputs: Mapping[str, Mapping[str, Any]], *, broken: bool = False
    ) -> None:
        """Prints the summary, hints, and what to do next.

        Args:
            outputs: What each wrote and dropped, by its name.
            broken: An error follows: it says what to do, and there is no next step.
        """
        if self._queue is not None:
            last = []
            if self._status.frames or not broken:
                seconds = max(time.perf_counter() - self._started, 1e-9)
                last = ["", *summary_table(self._status, seconds).splitlines()]
            if not broken:
                last += _next(self._args, self._source).splitlines()
            self._queue.put(_Said(tuple(last)), event=True)
            self._close(self._queue)
        for loss in _losses(outputs):
            print(loss, file=sys.stderr)
        if not broken:
            for hint in self._hints():
                print(hint, file=sys.stderr)

    def _close(self, queue: WorkQueue[_Said]) -> None:
        """Waits until all is said, or as long as a camera or the end allows."""
        queue.stop()
        while not queue.wait(CLOSE_S):
            if self._source.live or self._stop.signal is not None:
                return
        queue.check()

    def _hints(self) -> Iterator[str]:
        """Yields what somebody may not have expected, one line each."""
        status, args = self._status, self._args
        pictures = self._source.kind == "pictures"
        nobody = status.frames and not status.labels
        if nobody and args.faces != "none":
            yield (
                "no face was found: where each picture shows what is to be classified"
                " and nothing else, give --faces none"
            )
        if pictures and args.events:
            yield "--events told nothing: faces come and go in videos, not in pictures"
        name = self._source.name
        if asked := _asked_in_vain(args, self._source):
            own = "; it has ?size= and ?fps=" if name.startswith("fake:") else ""
            yield f"{', '.join(asked)} had no effect: {name} is no camera to ask{own}"
        if args.serve and not self._source.live:
            yield (
                f"the page ended with the last frame of {self._source.name}: it stays"
                " for a camera, a stream or fake:scene"
            )

    def _said(self, result: FrameResult) -> _Said:
        if self._source.kind == "pictures":
            return _Said((line(result),))
        lines = tuple(map(event_line, result.events))
        return _Said(lines, self._progress(result) if self._terminal else "")

    def _progress(self, result: FrameResult) -> str:
        now = time.perf_counter()
        if now - self._shown < PROGRESS_EVERY_S:
            return ""
        self._shown = now
        of = f"/{self._source.frame_count}" if self._source.frame_count else ""
        return f"frame {self._status.frames}{of}  {_found(result)}"[:79]


class _Said(NamedTuple):
    """Lines that stay, and one below them that the next thing said replaces."""

    lines: tuple[str, ...]
    progress: str = ""


def _asked_in_vain(args: argparse.Namespace, source: Source) -> list[str]:
    """Returns the flags for a camera that were given to something else."""
    settings, found = CameraSettings(), []
    if source.kind != "camera" or source.name.startswith("fake:"):
        found += [f"--{name}" for name in ("size", "fps") if getattr(args, name)]
    if source.kind != "camera":
        watched = {
            "--stall-after": args.stall_after != settings.stall_s,
            "--frozen-after": args.frozen_after != settings.frozen_s,
            "--reopen-limit": args.reopen_limit != settings.reopen_limit,
        }
        found += [flag for flag, given in watched.items() if given]
    return found


class _Screen:
    """Writes what is said on stdout."""

    def __init__(self) -> None:
        self._out = Stdout()
        self._width = 0  # of the progress line that is on the terminal

    def write(self, said: _Said) -> None:
        text = ""
        if self._width and (said.lines or not said.progress):
            text = "\r" + " " * self._width + "\r"
            self._width = 0
        text += "".join(f"{one}\n" for one in said.lines)
        if said.progress:
            text += "\r" + said.progress.ljust(self._width)
            self._width = len(said.progress)
        self._out.write(text, end="")


def line(result: FrameResult) -> str:
    """Returns one frame's answer as text."""
    return (
        f"{result.name}  frame {result.index}  {result.timestamp_s:.2f} s"
        f"  {_found(result)}"
        f"  (detect {result.detect_ms:.1f} ms, classify {result.classify_ms:.1f} ms)"
    )


def event_line(event: Event) -> str:
    """Returns an event as text."""
    happened = {
        "face_appeared": f"appeared: {event.label}",
        "expression_changed": f"changed: {event.previous} to {event.label}",
        "face_left": f"left: was {event.label}",
    }
    percent = round(100 * event.confidence)
    said = happened[event.kind]
    return f"{event.timestamp_s:8.2f} s  face #{event.track_id} {said} ({percent} %)"


def _found(result: FrameResult) -> str:
    return ", ".join(_said(face) for face in result.faces) or "no face"


def _said(face: FaceResult) -> str:
    if face.decision is None:
        return f"{face.label} {100 * face.confidence:.0f} %"
    said = face.decision
    share = said.probabilities.get(said.label)  # none of "uncertain"
    percent = "" if share is None else f" {100 * share:.0f} %"
    return f"#{face.track_id} {said.label}{percent}"


def _losses(outputs: Mapping[str, Mapping[str, Any]]) -> Iterator[str]:
    """Yields a line for each output that was to keep all and did not."""
    for name, counts in outputs.items():
        frames, events = (counts.get(f"dropped_{one}") for one in ("frames", "events"))
        if name in KEEPING and (frames or events):
            because = f": {counts['error']}" if counts.get("error") else ""
            yield (
                f"--{name}: {frames} frames without an event and {events} with one were"
                f" not written{because}"
            )


def _next(args: argparse.Namespace, of: Source) -> str:
    model = f" {shlex.quote(str(args.model))}" if args.model else ""
    again = f"{invocation()} run{model}"
    how = f" --faces {args.faces}" if args.faces != "auto" else ""
    if args.detector_model and args.faces in ("auto", "yunet"):
        how += f" --detector-model {shlex.quote(str(args.detector_model))}"
    if args.privacy == "blur":
        how += " --privacy blur"  # or what is typed next would keep what this one hid
    # An address may hold a password, and this goes into logs; a pipe is over.
    hidden = "://" in args.source or args.source == "-"
    source = "SOURCE" if hidden else shlex.quote(args.source)
    kind = "png" if of.kind == "pictures" and of.frame_count == 1 else "mp4"
    first = f"  {again} --source {source}{how} --output annotated.{kind}"
    if args.output:
        first = f"  look at {args.output}"
    check = f"  {invocation()} check{model}"
    return f"\nnext:\n{first}\n{check}"


def summary_table(status: Status, seconds: float) -> str:
    """Returns the counts and medians of a run as a table.

    Args:
        status: The run's.
        seconds: Its duration.
    """
    source, faces = status.source, status.faces
    lost_frames = [
        f"{count} {what}"
        for count, what in (
            (source.skipped, "unreadable"),
            (source.dropped, "passed over for newer ones"),
        )
        if count
    ]
    beside = f" ({', '.join(lost_frames)})" if lost_frames else ""
    rows = [("frames", f"{status.frames}{beside}")]
    if source.reopened:
        often = "once" if source.reopened == 1 else f"{source.reopened} times"
        rows.append(("lost and back", often))
    kept = faces - status.classified
    also = f"  ({kept} with an earlier answer: they take turns)" if kept else ""
    rows += [("faces", f"{faces}{also}")]
    rows += [
        (f"  {label}", f"{count}  ({100 * count / faces:.0f} %)")
        for label, count in status.labels.most_common()
    ]
    rows += [
        (kind.replace("_", " "), str(count)) for kind, count in status.events.items()
    ]
    rows += [
        ("detect", _median_text(status.detect_ms, "a frame it ran on")),
        ("classify", _median_text(status.classify_ms, "a frame with faces")),
        ("rate", f"{status.frames / seconds:.1f} frames/s" if seconds else "-"),
    ]
    width = max(len(name) for name, _ in rows)
    return "\n".join(f"{name:<{width}}  {value}" for name, value in rows)


def _median_text(values_ms: Iterable[float], per: str) -> str:
    ordered = sorted(values_ms)  # the statistics module takes 6 ms to import
    return f"{ordered[len(ordered) // 2]:.2f} ms {per} (median)" if ordered else "-"
