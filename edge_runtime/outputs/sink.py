"""What every output is to the loop."""

from __future__ import annotations

from typing import Protocol

from edge_runtime.results import FrameResult
from edge_runtime.sources import Frame


class Sink(Protocol):
    """Takes one answer after the other."""

    def write(self, frame: Frame, result: FrameResult) -> bool:
        """Takes one answer and returns whether to go on (a closed window says no).

        Never blocks a live source's loop: what takes time is done in another thread,
        behind a bounded queue. A file's frames are waited for instead.
        """
