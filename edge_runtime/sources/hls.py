"""Live video in pieces of some seconds (HLS, RFC 8216).

FFmpeg has a piece at once and then nothing until there is the next one: without a pace
its frames come in bursts, and in between the stream seems lost.
"""

from __future__ import annotations

from typing import Any

import cv2

from edge_runtime.sources.base import CameraSettings, Clock
from edge_runtime.sources.opencv import CaptureReader, open_stream

MOST_EARLY_S = 60.0  # more is another time: the sender began anew


class PacedReader:
    """A stream whose frames wait for their own times."""

    def __init__(self, reader: CaptureReader, clock: Clock) -> None:
        """Takes an open stream, and what to wait with."""
        self.fps = reader.fps
        self._reader, self._clock = reader, clock
        self._offset_s = 0.0

    def read(self) -> Any:
        """Returns the next image when its time has come; else as ``CaptureReader``."""
        image = self._reader.read()
        at_s = self._reader.capture.get(cv2.CAP_PROP_POS_MSEC) / 1000
        early_s = at_s + self._offset_s - self._clock.now()
        if 0 <= early_s <= MOST_EARLY_S:
            self._clock.deadline_s += early_s  # waiting is no hanging
            self._clock.sleep(early_s)
        else:  # the first one, a late one, or another beginning
            self._offset_s = self._clock.now() - at_s
        return image

    def close(self) -> None:
        """Closes the connection."""
        self._reader.close()


def open_playlist(
    url: str, settings: CameraSettings, clock: Clock
) -> PacedReader | None:
    """Returns an open stream; None if its playlist has an end: it is a file.

    Raises:
        SourceError: It does not open.
    """
    reader = open_stream(url, settings)
    if reader.frame_count:
        reader.close()
        return None
    return PacedReader(reader, clock)
