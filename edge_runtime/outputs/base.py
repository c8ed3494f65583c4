"""The interface of every output."""

from __future__ import annotations

from typing import NamedTuple, Protocol

from edge_runtime.results import FrameResult
from edge_runtime.sources import Frame


class Sink(Protocol):
    """An output: takes the result of one frame after the other."""

    def write(self, frame: Frame, result: FrameResult) -> bool:
        """Takes one result; returns False to end the run (a closed window).

        It never blocks the loop of a live source: slow work is done in another thread,
        behind a bounded queue. The frames of a file wait for it instead.
        """


class RecordLimits(NamedTuple):
    """Limits of a folder of recorded frames.

    Attributes:
        max_images: Beyond it the oldest image is removed.
        max_megabytes: The same for megabytes (10**6 bytes), documents included.
        min_interval_s: Least time between two images without an event, in seconds.
    """

    max_images: int = 1000
    max_megabytes: int = 500
    min_interval_s: float = 1.0
