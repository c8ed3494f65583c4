"""``--log tensorboard``: event files in the run folder, without TensorFlow.

They are written at once, not by a thread of the library: on a full disk such a thread
ends, and the training would wait for it for ever.
"""

from __future__ import annotations

import shlex
import struct
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from edge_runtime.untrusted import open_regular
from train.run.folder import EVENTS, RunFolder
from train.tracking.tracker import Outcome, Parameters, Row

TAGS = {
    "loss": "loss/training",
    "val_loss": "loss/validation",
    "accuracy": "accuracy/training",
    "val_accuracy": "accuracy/validation",
    "val_macro_f1": "macro_f1/validation",
}
COMPARED = ("accuracy/validation", "loss/validation")  # in the table of HPARAMS
PICTURES = {"confusion_matrix": "confusion_matrix.png"}
MAX_FRAME_BYTES = 64 * 2**20
HEADER = struct.Struct("<Q4x")  # of a frame: length of its event, a checksum


class TensorBoardLog:
    """Event files of a run; see ``train.tracking.tracker.RunTracker``."""

    name = "TensorBoard"

    def __init__(self, run: RunFolder, parameters: Parameters) -> None:
        """Takes the run's folder and its configuration; nothing is written yet."""
        self._run, self._parameters = run, parameters
        self._writer: Any = None
        self._written: set[tuple[str, int]] = set()

    def begin(self) -> str:
        """Returns the command that shows the runs."""
        self._written = set(read_points(self._run.path))
        return f"tensorboard --logdir {shlex.quote(str(self._run.path.parent))}"

    def write(self, history: Sequence[Row]) -> None:
        """Writes the scalars of the epochs that are not there yet."""
        from tensorboardX import summary

        points = [
            (TAGS.get(name, name), int(row["epoch"]), value)
            for row in history
            for name, value in row.items()
            if name != "epoch"
        ]
        self._add(
            [(tag, step, summary.scalar(tag, value)) for tag, step, value in points]
        )

    def finish(self, outcome: Outcome) -> None:
        """Writes the final figures and the confusion matrix, and closes the file."""
        from tensorboardX import summary

        last = [
            (name, outcome.step, summary.scalar(name, value))
            for name, value in outcome.figures.items()
        ]
        for tag, file in PICTURES.items():
            path = self._run.path / file
            if outcome.figures and path.is_file():
                last.append((tag, outcome.step, _picture(tag, path.read_bytes())))
        try:
            self._add(last)
        finally:
            self._close()

    def _add(self, points: Sequence[tuple[str, int, Any]]) -> None:
        """Writes the summaries whose points are not there yet, by tag and step."""
        missing = [point for point in points if point[:2] not in self._written]
        if not missing:
            return
        try:
            if self._writer is None:
                self._open()
            for _, step, value in missing:
                self._event(value, step)
            self._writer.flush()
        except OSError:
            self._close()
            self._written = set(read_points(self._run.path))  # a part may be there
            raise
        self._written.update(point[:2] for point in missing)

    def _open(self) -> None:
        """Opens a new file, which begins with the parameters."""
        from tensorboardX import summary
        from tensorboardX.event_file_writer import EventsWriter

        # No two files have one name: the library would empty the older one.
        self._writer = EventsWriter(
            str(self._run.path / "events"), f".{time.time_ns()}"
        )
        if self._written:
            return
        metrics = dict.fromkeys(COMPARED, 0.0)
        experiment, session, _ = summary.hparams(dict(self._parameters), metrics)
        for each in (experiment, session, summary.text("run", self._table())):
            self._event(each, 0)

    def _event(self, value: Any, step: int) -> None:
        from tensorboardX.proto.event_pb2 import Event

        self._writer.write_event(Event(wall_time=time.time(), step=step, summary=value))

    def _table(self) -> str:
        rows = {"run folder": str(self._run.path.resolve()), **self._parameters}
        lines = [f"| {name} | {value} |" for name, value in rows.items()]
        return "\n".join(["| | |", "|---|---|", *lines])

    def _close(self) -> None:
        writer, self._writer = self._writer, None
        if writer is not None:
            writer.close()


def read_points(folder: Path) -> Iterator[tuple[str, int]]:
    """Yields tag and step of every point in a folder's event files.

    A frame that was cut off, as by a full disk or a kill, ends its file.
    """
    from google.protobuf.message import DecodeError
    from tensorboardX.proto.event_pb2 import Event

    for path in sorted(folder.glob(EVENTS)):
        with open_regular(path) as file:
            while len(header := file.read(HEADER.size)) == HEADER.size:
                (length,) = HEADER.unpack(header)
                if length > MAX_FRAME_BYTES:
                    break
                data = file.read(length)
                if len(data) < length or len(file.read(4)) < 4:
                    break
                try:
                    event = Event.FromString(data)
                except DecodeError:
                    break
                for value in event.summary.value:
                    yield value.tag, event.step


def _picture(tag: str, png: bytes) -> Any:
    """Returns the summary of a PNG."""
    from tensorboardX.proto.summary_pb2 import Summary

    width, height = struct.unpack(">II", png[16:24])
    image = Summary.Image(
        height=height, width=width, colorspace=3, encoded_image_string=png
    )
    return Summary(value=[Summary.Value(tag=tag, image=image)])
