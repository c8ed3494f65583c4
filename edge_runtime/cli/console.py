"""What a run prints for a person: results or events, progress, a summary, hints."""

from __future__ import annotations

import argparse
import shlex
import sys
import time
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, NamedTuple

from edge_runtime.cli.given import GIVEN_NAMES, NAMES_IN_RUN
from edge_runtime.detection.base import YUNET_INSTALL, WholeImage
from edge_runtime.detection.boxes import detect_width_px
from edge_runtime.detection.factory import smallest_face_px
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
from edge_runtime.sources import CameraSettings, Frame, Source
from edge_runtime.untrusted import one_line
from edge_runtime.utils.argparser import as_typed, invocation
from edge_runtime.utils.signals import StopRequest
from edge_runtime.utils.text_table import align

PROGRESS_EVERY_S = 0.1
CLOSE_S = 0.5
WIDER = 4  # times the detector's width, for small faces
# Outputs whose reader needs all of it; a page's needs the newest.
COMPLETE_OUTPUTS = ("json", "events", "csv", "output", "record", "mqtt")


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
                lines += _next_steps(self._args, self._source).splitlines()
            self._queue.put(_Message(tuple(lines)), event=True)
            self._close(self._queue)
        for loss in _losses(outputs):
            print(one_line(loss), file=sys.stderr)
        if not broken:
            for hint in self._hints():
                print(one_line(hint), file=sys.stderr)

    def _close(self, queue: WorkQueue[_Message]) -> None:
        """Waits until all is printed; not for long after a camera or a signal."""
        queue.stop()
        while not queue.wait(CLOSE_S):
            if self._source.live or self._stop.signal is not None:
                return
        queue.check()

    def _hints(self) -> Iterator[str]:
        """Yields what may be unexpected, one line each."""
        status, args, source = self._status, self._args, self._source
        if status.frames and not status.labels and args.faces != "none":
            for hint in self._face_hints():
                yield f"no face was found: {hint}"
        if source.kind == "pictures" and args.events:
            yield "--events is empty: faces come and go in videos, not in pictures"
        if flags := _flags_without_effect(args, source):
            fake = source.name.startswith("fake:")
            instead = "; use ?size= and ?fps= in its name" if fake else ""
            yield (
                f"{', '.join(flags)} had no effect: {source.name} is not such a camera"
                f"{instead}"
            )
        if args.serve and not source.live:
            yield (
                f"the page ended with the last frame of {source.name}: it stays for a"
                " camera, a stream or fake:scene"
            )

    def _face_hints(self) -> Iterator[str]:
        """Yields what helps where no face was found in frames of the last one's size.

        A frame that is not larger than what the detector sees may be a face as a whole,
        and a model with labels of its own may be one for whole pictures.
        """
        from edge_runtime.model_file.released import are_released_labels

        width, height = frame_wh = self._status.looked_at_wh
        detector = self._status.detector
        shrunk_to = detect_width_px(self._args.detect_width, width)
        if width <= shrunk_to or not are_released_labels(self._status.model_labels):
            yield (
                "where each picture shows only what is to be classified, give --faces"
                " none"
            )
        if width > shrunk_to:
            side = smallest_face_px(detector, shrunk_to, frame_wh)
            wider = min(width, WIDER * shrunk_to)
            what = "regions" if self._status.regions else "frames"
            other = "" if detector == "yunet" else f", or YuNet: {YUNET_INSTALL}"
            yield (
                f"in {what} of {width}x{height} at --detect-width {shrunk_to} faces"
                f" below about {side} pixels are missed: try --detect-width {wider}"
                f"{other}"
            )

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


def _flags_without_effect(args: argparse.Namespace, source: Source) -> list[str]:
    """Returns the flags for a camera that were given with another source."""
    default, flags = CameraSettings(), []
    if source.kind != "camera" or source.name.startswith("fake:"):
        flags += [f"--{name}" for name in ("size", "fps") if getattr(args, name)]
    if source.kind != "camera":
        given = {
            "--stall-after": args.stall_after != default.stall_s,
            "--frozen-after": args.frozen_after != default.frozen_s,
            "--reopen-limit": args.reopen_limit != default.reopen_limit,
        }
        flags += [flag for flag in given if given[flag]]
    return flags


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


def _losses(outputs: Mapping[str, Mapping[str, Any]]) -> Iterator[str]:
    """Yields a line for each output that should be complete and is not."""
    for name in COMPLETE_OUTPUTS:
        counts = outputs.get(name, {})
        frames, events = counts.get("dropped_frames"), counts.get("dropped_events")
        if frames or events:
            reason = f": {counts['error']}" if counts.get("error") else ""
            yield (
                f"--{name}: {frames} frames without an event and {events} with one were"
                f" not written{reason}"
            )


def _next_steps(args: argparse.Namespace, source: Source) -> str:
    model = f" {shlex.quote(str(args.model))}" if args.model else ""
    model += as_typed(args.words, NAMES_IN_RUN if args.output else GIVEN_NAMES)
    check = f"\n  {invocation()} check{model}"
    if args.output:
        return f"\nnext:\n  look at {args.output}{check}"
    flags = f" --faces {args.faces}" if args.faces != "auto" else ""
    if args.detector_model and args.faces in ("auto", "yunet"):
        flags += f" --detector-model {shlex.quote(str(args.detector_model))}"
    if args.privacy == "blur":
        flags += " --privacy blur"  # else the next run would keep what this one hid
    values = vars(args)
    flags += f" --rotate {values['rotate']}" if values.get("rotate") else ""
    flags += " --mirror" if values.get("hflip") else ""
    flags += "".join(f" --roi {shlex.quote(text)}" for text in values.get("roi", ()))
    if values.get("collect"):
        folder = shlex.quote(str(values["collect"]))
        check = f"\n  {invocation()} collect export {folder} dataset.zip{check}"
    # An address may hold a password, and this goes into logs; a pipe has ended.
    hidden = "://" in args.source or args.source == "-"
    name = "SOURCE" if hidden else shlex.quote(args.source)
    suffix = "png" if source.kind == "pictures" and source.frame_count == 1 else "mp4"
    run = f"{invocation()} run{model} --source {name}{flags}"
    return f"\nnext:\n  {run} --output annotated.{suffix}{check}"


def summary_table(status: Status, seconds: float) -> str:
    """Returns the counts and medians of a run of so many seconds as a table."""
    source, faces, words = status.source, status.faces, status.words
    counts = {
        "unreadable": source.skipped,
        "passed over for newer ones": source.dropped,
    }
    lost = ", ".join(f"{count} {name}" for name, count in counts.items() if count)
    rows = [("frames", f"{status.frames} ({lost})" if lost else f"{status.frames}")]
    if source.reopened:
        times = "once" if source.reopened == 1 else f"{source.reopened} times"
        rows.append(("lost and back", times))
    whole = status.detector == WholeImage.name
    kept = faces - status.classified
    turns = f"  ({kept} with an earlier answer: they take turns)" if kept else ""
    rows += [
        ("classified" if whole else words.subjects, f"{faces}{turns}"),
        *(
            (f"  {label}", f"{count}  ({100 * count / faces:.0f} %)")
            for label, count in status.labels.most_common()
        ),
    ]
    if whole:
        changed = status.words.event_kinds[1]
        changes = status.events.get(changed)
        what = "label" if words == FACE_WORDS else words.labels_are
        rows += [(f"{what} changed", f"{changes}")] if changes else []
    else:
        rows += [(_kind_text(kind, words), f"{n}") for kind, n in status.events.items()]
        rows.append(("detect", _median_text(status.detect_ms, "per detection")))
    per = "per frame" if whole else f"per frame with {words.subjects}"
    rows += [
        ("classify", _median_text(status.classify_ms, per)),
        ("rate", f"{status.frames / seconds:.1f} frames/s" if seconds else "-"),
    ]
    return align(rows, left=2)


def _kind_text(kind: str, words: Words) -> str:
    """Returns a kind of event for people, such as ``bottle appeared``."""
    what = words.labels_are if kind.endswith("changed") else words.subject
    return f"{what} {kind.rpartition('_')[2]}"


def _median_text(values_ms: Iterable[float], unit: str) -> str:
    ordered = sorted(values_ms)  # the statistics module takes 6 ms to import
    return f"{ordered[len(ordered) // 2]:.2f} ms {unit} (median)" if ordered else "-"
