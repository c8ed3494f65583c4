"""Answers and events as lines of JSON, faces as rows of CSV."""

from __future__ import annotations

import errno
import io
import json
import os
import stat
import sys
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import Protocol

from edge_runtime.errors import OutputError
from edge_runtime.outputs.documents import (
    EVENT_SCHEMA,
    event_document,
    frame_document,
    rounded,
    utc_now,
)
from edge_runtime.outputs.work_queue import QueueCapacity, WorkQueue
from edge_runtime.results import FaceResult, FrameResult
from edge_runtime.sources import Frame, Source

LINE_ROOM = QueueCapacity(frames=64)

CSV_COLUMNS = (
    *("frame", "time_s", "source", "track", "x", "y", "width", "height", "score"),
    *("label", "confidence", "decision", "decision_confidence", "age_ms"),
    "classified_s",
)


class FrameLines:
    """One JSON document a frame (``--json``)."""

    def __init__(self, queue: WorkQueue[FrameResult]) -> None:
        """Takes the queue before the writer."""
        self._queue = queue

    def write(self, frame: Frame, result: FrameResult) -> bool:
        """Takes one answer."""
        self._queue.put(result, keep=bool(result.events))
        return True


class EventLines:
    """One JSON document an event (``--events``)."""

    def __init__(
        self, queue: WorkQueue[tuple[FrameResult, str | None]], source: Source
    ):
        """Takes the queue before the writer, and whether events have a clock's time."""
        self._queue, self._live = queue, source.live

    def write(self, frame: Frame, result: FrameResult) -> bool:
        """Takes one answer; passes it on if something happened in it."""
        if result.events:
            utc = utc_now() if self._live else None
            self._queue.put((result, utc), keep=True)
        return True


class FaceRows:
    """One row of CSV a face (``--csv``)."""

    def __init__(self, queue: WorkQueue[FrameResult]) -> None:
        """Takes the queue before the writer."""
        self._queue = queue

    def write(self, frame: Frame, result: FrameResult) -> bool:
        """Takes one answer; passes it on if there is a face in it."""
        if result.faces:
            self._queue.put(result, keep=bool(result.events))
        return True


def write_frame(out: LineWriter, result: FrameResult) -> None:
    """Writes a frame's document."""
    out.write(json.dumps(frame_document(result)))


def write_events(out: LineWriter, item: tuple[FrameResult, str | None]) -> None:
    """Writes the documents of a frame's events, all at once."""
    result, utc = item
    documents = [event_document(one, result.name, utc=utc) for one in result.events]
    out.write("\n".join(json.dumps(document) for document in documents))


def write_rows(out: LineWriter, labels: Iterable[str], result: FrameResult) -> None:
    """Writes the rows of a frame's faces, all at once.

    Args:
        out: Where to.
        labels: The model's, one column each.
        result: With at least one face.
    """
    rows = [csv_row(result, face, labels) for face in result.faces]
    out.write("\n".join(rows))


def csv_header(labels: Iterable[str]) -> str:
    """Returns the first line of a file: the columns, then one for each label."""
    return _joined([*CSV_COLUMNS, *labels])


def csv_row(result: FrameResult, face: FaceResult, labels: Iterable[str]) -> str:
    """Returns one face as a line; an empty field where there is no such value."""
    decision = face.decision
    probabilities = [face.probabilities.get(label) for label in labels]
    return _joined(
        [
            *(result.index, round(result.timestamp_s, 4), result.name),
            *(face.track_id, *face.box_xywh, round(face.score, 4)),
            *(face.label, round(face.confidence, 6)),
            *(decision and decision.label, decision and round(decision.confidence, 6)),
            rounded(result.age_ms, 3),
            rounded(face.classified_s, 4),
            *(None if p is None else round(p, 6) for p in probabilities),
        ]
    )


def _joined(fields: Iterable[object]) -> str:
    import csv  # few want it, and each import delays the first label

    text = io.StringIO()
    csv.writer(text, lineterminator="").writerow(fields)
    return text.getvalue()


EVENT_START = f'{{"schema": "{EVENT_SCHEMA}"'


class LineWriter(Protocol):
    """Takes lines of text."""

    def write(self, line: str) -> None:
        """Writes one line, without its end, so that a reader has it at once."""


class Stdout:
    """Standard output, without Python's buffer and its lock.

    A thread that waits in a full pipe would hold that lock, and Python could not end.
    """

    def __init__(self) -> None:
        """Takes what stdout is now."""
        self._stream = sys.stdout
        try:
            sys.stdout.flush()
            self._descriptor: int | None = sys.stdout.fileno()
        except OSError:  # a test or a notebook put another object there
            self._descriptor = None

    def write(self, line: str, end: str = "\n") -> None:
        """Writes one line.

        Args:
            line: The line.
            end: What comes behind it.

        Raises:
            BrokenPipeError: Nobody reads it any more.
        """
        if self._descriptor is None:
            print(line, file=self._stream, end=end, flush=True)
        else:
            _write_all(self._descriptor, line + end)


class AppendedFile:
    """A file that grows at its end, and is opened anew when it was moved away.

    ``logrotate`` may move or truncate it at any time. When the disk is full the part
    of a line that was written is taken back, so that a line is whole or absent.
    """

    def __init__(
        self,
        path: Path,
        *,
        start: str,
        header: str = "",
        replace: bool = False,
        patient: bool = False,
    ) -> None:
        """Opens or makes it.

        Args:
            path: Its folder must exist.
            start: What an older file must begin with.
            header: First line of a new file.
            replace: Empty an older file first.
            patient: A disk that is full now is no reason to refuse: ``write`` raises
                until there is room.

        Raises:
            OutputError: It cannot be written, or begins otherwise.
        """
        self._path, self._header = path, header
        self._descriptor, self._regular = -1, False
        try:
            self._open(os.O_TRUNC if replace else 0)
            self._check_start(start)
            self._begin_line()
        except OSError as error:
            if patient and error.errno in (errno.ENOSPC, errno.EDQUOT):
                return  # no room for the header: the first line brings it, or raises
            raise OutputError(
                f"cannot write {str(path)!r}: {error.strerror}"
            ) from error

    def write(self, line: str) -> None:
        """Writes one line.

        Raises:
            OSError: It cannot be written now; nothing of it was.
        """
        if self._moved():
            self.close()
            self._open()
            self._begin_line()
        elif self._regular and not os.fstat(self._descriptor).st_size:  # truncated
            self._begin_line()
        self._write_whole(line)

    def close(self) -> None:
        """Closes it."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
        self._descriptor = -1

    def _open(self, more_flags: int = 0) -> None:
        flags = os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | more_flags
        self._descriptor = os.open(self._path, flags, 0o666)
        self._regular = stat.S_ISREG(os.fstat(self._descriptor).st_mode)

    def _begin_line(self) -> None:
        """Writes the header of an empty file; ends a line that was cut off."""
        size = os.fstat(self._descriptor).st_size
        try:
            if not size and self._header:
                self._write_whole(self._header)
            elif size and os.pread(self._descriptor, 1, size - 1) != b"\n":
                self._write_whole("")  # a process or the power ended in it
        except OSError:
            self.close()  # else the next line would come without a header
            raise

    def _write_whole(self, line: str) -> None:
        size = os.fstat(self._descriptor).st_size
        try:
            _write_all(self._descriptor, f"{line}\n")
        except OSError:
            with suppress(OSError):
                os.ftruncate(self._descriptor, size)
            raise

    def _check_start(self, start: str) -> None:
        if not self._regular:
            return  # such as a named pipe
        expected = _encoded(start)
        found = os.pread(self._descriptor, len(expected), 0)
        if found and found != expected:
            self.close()
            raise OutputError(
                f"expected {str(self._path)!r} to be new or to begin with {start!r},"
                " as what is added to it: give --force to replace it, or another name"
            )

    def _moved(self) -> bool:
        if self._descriptor < 0:
            return True
        try:
            there = self._path.stat()
        except FileNotFoundError:
            return True
        here = os.fstat(self._descriptor)
        return (there.st_dev, there.st_ino) != (here.st_dev, here.st_ino)


def _encoded(text: str) -> bytes:
    """Returns UTF-8; what of a file's name is no text is escaped, as in JSON."""
    return text.encode(errors="backslashreplace")


def _write_all(descriptor: int, text: str) -> None:
    data = memoryview(_encoded(text))
    while data:
        data = data[os.write(descriptor, data) :]
