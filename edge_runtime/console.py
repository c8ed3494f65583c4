"""What a run says to a person: answers or events, a progress count, a summary."""

from __future__ import annotations

import argparse
import shlex
import sys
import time

from edge_runtime.outputs.summary import Summary
from edge_runtime.results import Event, FaceResult, FrameResult
from edge_runtime.sources import Source

PROGRESS_EVERY_S = 0.1


class Console:
    """Talks on stdout, unless that belongs to JSON.

    A line for each picture; of a camera one for each event, or the log of a service
    would grow by thirty lines a second; of a video only the summary. On a terminal the
    newest answer is shown meanwhile.
    """

    def __init__(self, args: argparse.Namespace, source: Source) -> None:
        """Starts its clock."""
        self._args, self._source = args, source
        self._silent = args.json or args.events == "-"
        self._summary = Summary()
        self._started = self._shown = time.perf_counter()
        self._width = 0  # of the progress line that is on the terminal
        self._terminal = sys.stdout.isatty()

    def take(self, result: FrameResult) -> None:
        """Counts one answer and says it, where somebody wants to read it."""
        self._summary.add(result)
        if self._silent:
            return
        if self._source.kind == "pictures":
            print(line(result), flush=True)
            return
        if self._source.kind == "camera":
            for event in result.events:
                self._clear()
                print(event_line(event), flush=True)
        if self._terminal:
            self._show(result)

    def finish(self) -> None:
        """Prints the summary and what to do next."""
        if self._silent:
            return
        self._clear()
        seconds = max(time.perf_counter() - self._started, 1e-9)
        print("\n" + self._summary.table(seconds, self._source.skipped))
        print(_next(self._args))

    def _show(self, result: FrameResult) -> None:
        now = time.perf_counter()
        if now - self._shown < PROGRESS_EVERY_S:
            return
        self._shown = now
        of = f"/{self._source.frame_count}" if self._source.frame_count else ""
        text = f"frame {self._summary.frames}{of}  {_found(result)}"[:79]
        print("\r" + text.ljust(self._width), end="", flush=True)
        self._width = len(text)

    def _clear(self) -> None:
        if self._width:
            print("\r" + " " * self._width + "\r", end="")
            self._width = 0


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
    return f"#{face.track_id} {said.label} {100 * said.confidence:.0f} %"


def _next(args: argparse.Namespace) -> str:
    again = f"python -m edge_runtime run {args.model or ''}".rstrip()
    how = " --faces none" if args.faces == "none" else ""
    first = f"  {again} --source {shlex.quote(args.source)}{how} --output annotated.mp4"
    if args.output:
        first = f"  look at {args.output}"
    check = f"  python -m edge_runtime check {args.model or ''}".rstrip()
    return f"\nnext:\n{first}\n{check}"
