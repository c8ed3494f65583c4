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


class CollectLimits(NamedTuple):
    """Limits of a folder of collected crops.

    Attributes:
        max_crops: Beyond it the least useful crop is removed.
        max_megabytes: The same for megabytes (10**6 bytes), documents included.
        max_days: Older crops are removed, labelled ones, too.
        every_s: At most one crop is taken in so many seconds of the source.
        random_frac: Share of crops taken at random, 0..1.
    """

    max_crops: int = 2000
    max_megabytes: int = 200
    max_days: float = 30.0
    every_s: float = 10.0
    random_frac: float = 0.5
