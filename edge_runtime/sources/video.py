"""Video files: every frame that can be decoded, in order, without waiting."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np

from edge_runtime.errors import SourceError
from edge_runtime.preprocessing import Image
from edge_runtime.sources.base import Frame, Kind, usable
from edge_runtime.sources.opencv import fps_of, quiet_opencv, size_of, turn_upright
from edge_runtime.utils.pictures import too_many_pixels
from edge_runtime.utils.stderr import suppress_stderr

logger = logging.getLogger(__name__)

# OpenCV reports a damaged frame as it reports the end. Attempts after the end take
# microseconds.
MAX_UNREADABLE, MAX_UNREADABLE_S = 500, 10.0  # in a row
# Length and rate promise a number of frames; fewer by this part are worth a line.
SHORTFALL_FRAC, SHORTFALL_FRAMES = 0.01, 2
# Mere frames, as  rpicam-vid -o clip.h264  writes them.
TIMELESS = frozenset((".h264", ".264", ".h265", ".265", ".hevc", ".mjpeg", ".mjpg"))
MOST_POSITION_S = 1e9  # OpenCV 4.11 says -4e17 where there is none
MAX_PEAK_FPS = 60.0
VARIABLE_RATIO = 1.2  # times are rounded: less is a constant rate


class VideoSource:
    """A video in OpenCV's ``VideoCapture``."""

    kind: Kind = "video"
    live = False
    lost = None

    def __init__(self, capture: cv2.VideoCapture, name: str, every: int = 1) -> None:
        """Takes an open capture and reads its first frame.

        Raises:
            SourceError: It has no frame.
        """
        self.name, self.skipped, self.dropped, self.reopened = name, 0, 0, 0
        self._capture, self._every = capture, every
        self._native_fps = fps_of(capture)
        self.fps = self._native_fps / every
        self._promised = 0
        if self._native_fps == capture.get(cv2.CAP_PROP_FPS):  # else it was made of it
            self._promised = max(0, int(capture.get(cv2.CAP_PROP_FRAME_COUNT)))
        self.frame_count = math.ceil(self._promised / every) or None
        self._count = 0  # frames so far, unreadable ones included
        self._timeline = _Timeline(self._native_fps)
        with suppress_stderr():
            self._first = self._next(1)
        if self._first is None:
            capture.release()
            way_out = "play it in a video player, or copy it again"
            if "://" in name:
                way_out = "its server may not send parts of it: download it first"
            raise SourceError(f"{name!r} opens but has no frame: {way_out}")

    def __iter__(self) -> Iterator[Frame]:
        """Yields its frames until it ends; unreadable ones are counted."""
        frame, self._first = self._first, None
        while frame is not None:
            yield frame
            frame = self._next(self._every)
        self._report()

    @property
    def peak_fps(self) -> float:
        """Frames per second where they are closest; needs a moment to find out."""
        fastest = None if "://" in self.name else _fastest_fps(self.name)
        if fastest is None or fastest < VARIABLE_RATIO * self._native_fps:
            return self.fps
        return fastest / self._every

    def close(self) -> None:
        """Closes the file."""
        self._capture.release()

    def _next(self, step: int) -> Frame | None:
        """Returns the frame so many frames on, or the next one that is readable."""
        target, image = self._count + step, None
        while image is None:
            if not self._grab():
                return None
            if self._count >= target:  # else retrieving, which converts, is needless
                image = self._retrieve()
                self.skipped += image is None
        name = self.name if "://" in self.name else Path(self.name).name
        return Frame(image, self._count - 1, self._timeline.now_s, name)

    def _grab(self) -> bool:
        """Moves to the next frame that can be decoded; False at the end."""
        give_up_s = time.monotonic() + MAX_UNREADABLE_S  # a server may be gone
        for unreadable in range(MAX_UNREADABLE):
            if time.monotonic() > give_up_s:
                break
            try:
                grabbed = self._capture.grab()
            except cv2.error as error:
                logger.debug("%s: %s", self.name, error)
                grabbed = False
            if grabbed:
                self.skipped += unreadable
                self._count += unreadable + 1
                self._timeline.move(
                    self._capture.get(cv2.CAP_PROP_POS_MSEC) / 1000, self._count - 1
                )
                return True
        return False

    def _retrieve(self) -> Image | None:
        try:
            return usable(self._capture.retrieve()[1])
        except cv2.error as error:
            logger.debug("%s: %s", self.name, error)
            return None

    def _report(self) -> None:
        """Logs, at the end, what could not be read."""
        if self.skipped:
            frames = "1 frame" if self.skipped == 1 else f"{self.skipped} frames"
            logger.warning(
                "%s: %s could not be decoded: the file is damaged", self.name, frames
            )
        missing = self._promised - self._count
        if missing > max(SHORTFALL_FRAMES, SHORTFALL_FRAC * self._promised):
            logger.warning(
                "%s: its header promises %d frames, it ends after %d: it is cut off or"
                " damaged, was trimmed, or its rate varies",
                self.name,
                self._promised,
                self._count,
            )


class _Timeline:
    """The times of a video's frames: the container's own, which may be far apart.

    Attributes:
        now_s: Time of the present frame in seconds, 0 for the first; it only grows.
    """

    def __init__(self, fps: float) -> None:
        """Takes the average rate, for what has no times or times that jump back."""
        self._interval_s = 1 / fps
        self._offset_s: float | None = None
        self.now_s = 0.0

    def move(self, position_s: float, index: int) -> None:
        """Moves to a frame.

        Args:
            position_s: The container's time of it; 0, huge or not finite: none.
            index: Its number, from 0.
        """
        if not abs(position_s) < MOST_POSITION_S:
            position_s = 0.0
        if self._offset_s is None:
            # Frames before the first readable one took their time, too.
            self.now_s = index * self._interval_s
            self._offset_s = self.now_s - position_s
            return
        if position_s + self._offset_s <= self.now_s:
            self._offset_s = self.now_s + self._interval_s - position_s
        self.now_s = position_s + self._offset_s


def _fastest_fps(path: str) -> float | None:
    """Returns the rate of the fastest twentieth of a video; None if unknown."""
    # Packets without decoding: a hundred thousand a second.
    name, as_packets = str(Path(path).absolute()), [cv2.CAP_PROP_FORMAT, -1]
    with suppress_stderr():
        packets = cv2.VideoCapture(name, cv2.CAP_FFMPEG, as_packets)
    try:
        times_ms = []
        while packets.grab():
            times_ms.append(packets.get(cv2.CAP_PROP_POS_MSEC))
    except cv2.error:
        return None
    finally:
        packets.release()
    intervals_ms = np.diff(np.unique(np.round(times_ms)))
    if not intervals_ms.size:
        return None
    return min(MAX_PEAK_FPS, 1000 / float(np.quantile(intervals_ms, 0.05)))


def warn_if_timeless(path: Path, fps: float) -> None:
    """Logs that the times of a video are made of a rate that nobody has given."""
    if path.suffix.lower() in TIMELESS:
        logger.warning(
            "%s: such a file has no times, %g frames a second are assumed: give it"
            " some, as with  ffmpeg -framerate 30 -i IN -c copy out.mp4",
            path.name,
            fps,
        )


def open_video(path: Path) -> cv2.VideoCapture:
    """Returns an open video file.

    Raises:
        SourceError: OpenCV cannot read it.
    """
    quiet_opencv()  # FFmpeg writes a line for each damaged frame
    with suppress_stderr():
        # Absolute: FFmpeg takes what is before a colon for a protocol.
        name = str(path.absolute())
        capture = cv2.VideoCapture(name, cv2.CAP_FFMPEG)
        if not capture.isOpened():
            # An OpenCV built for a board may have GStreamer and no FFmpeg.
            capture = cv2.VideoCapture(name)
    if capture.isOpened():
        if reason := too_many_pixels(size_of(capture)):
            capture.release()
            raise SourceError(f"{str(path)!r}: {reason} a frame: make it smaller")
        turn_upright(capture)
        return capture
    from edge_runtime.sources.unreadable_video import why_no_video  # after a mistake

    raise SourceError(
        f"expected a video, an image or a folder of images, got {str(path)!r},"
        f" which OpenCV cannot read: {why_no_video(path)}"
    )
