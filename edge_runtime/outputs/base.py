"""What every output is to the loop."""

from __future__ import annotations

from typing import NamedTuple, Protocol

from edge_runtime.results import FrameResult
from edge_runtime.sources import Frame


class Sink(Protocol):
    """Takes one answer after the other."""

    def write(self, frame: Frame, result: FrameResult) -> bool:
        """Takes one answer and returns whether to go on (a closed window says no).

        Never blocks a live source's loop: what takes time is done in another thread,
        behind a bounded queue. A file's frames are waited for instead.
        """


class RecordLimits(NamedTuple):
    """What may be kept.

    Attributes:
        pictures: Most pictures in the folder; the oldest goes first.
        megabytes: Most megabytes (10**6 bytes) of them and their documents.
        every_s: Least time between two pictures without an event, in seconds.
    """

    pictures: int = 1000
    megabytes: int = 500
    every_s: float = 1.0
