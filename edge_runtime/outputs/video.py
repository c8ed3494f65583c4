"""Annotated frames in a video or image file, which appears when it is complete."""

from __future__ import annotations

import shutil
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path

import cv2
import numpy as np

from edge_runtime.errors import OutputError
from edge_runtime.preprocessing import Image
from edge_runtime.sources import Source
from edge_runtime.utils.files import PRIVATE_MODE, real_path, replacing
from edge_runtime.utils.picture_kinds import SUFFIXES
from edge_runtime.utils.stderr import suppress_stderr

VIDEO_CODECS = {".mp4": "mp4v", ".avi": "MJPG"}
SPARE_BYTES = 32 * 2**20  # left free on the disk for other programs
MAX_LIVE_FPS = 30.0  # dropped frames are filled with copies, each of them encoded
# An outage of an hour does not add an hour of copies; a file may hold a picture longer.
MAX_HOLD_S, MAX_FILE_HOLD_S = 2.0, 60.0
_FRAMES_PER_SPACE_CHECK = 30
_PROBE_WH = (64, 64)

# Takes a uint8 (H, W, 3) BGR image, and its time in the source; see ``VideoFile``.
WriteFrame = Callable[[Image, float | None], None]


def check_output(path: Path, source: str, *, force: bool) -> None:
    """Checks the path of ``--output`` before anything is opened.

    Raises:
        OutputError: An unknown file type, an existing file without ``force``, or the
            source itself.
    """
    suffix = path.suffix.lower()
    # Of a GIF many frames are expected, and one is written.
    is_image = suffix in SUFFIXES - {".gif"} and cv2.haveImageWriter(suffix)
    if suffix not in VIDEO_CODECS and not is_image:
        raise OutputError(
            f"expected an --output ending in {', '.join(VIDEO_CODECS)}, .png or .jpg,"
            f" got {str(path)!r}"
        )
    if path.is_dir():
        raise OutputError(f"expected a file to write, got the folder {str(path)!r}")
    if real_path(path) == real_path(source):
        raise OutputError(f"--output and --source are the same file: {str(path)!r}")
    if path.exists() and not force:
        raise OutputError(
            f"{str(path)!r} exists: give --force to replace it, or another name"
        )


@contextmanager
def open_output(path: Path, source: Source) -> Iterator[WriteFrame]:
    """Yields a function that writes to a file, which appears when it is complete.

    Args:
        path: ``.mp4`` or ``.avi``; ``.png`` or ``.jpg`` for a single image.
        source: Where the frames come from.

    Raises:
        OutputError: The folder or this OpenCV cannot write it, or there was no frame.
    """
    if path.suffix.lower() in VIDEO_CODECS:
        fps = min(source.fps, MAX_LIVE_FPS) if source.live else source.peak_fps
        max_hold_s = MAX_FILE_HOLD_S if source.kind == "video" else MAX_HOLD_S
        with _open_video(path, fps, max_hold_s) as write:
            yield write
    elif source.kind == "pictures" and source.frame_count == 1:
        with replacing(path, mode=PRIVATE_MODE) as temporary:
            yield partial(_write_image, temporary)
            _check_written(temporary.stat().st_size, path)
    else:
        raise OutputError(
            f"expected --output out.mp4 for more than one frame, got {str(path)!r}"
        )


@contextmanager
def _open_video(path: Path, fps: float, max_hold_s: float) -> Iterator[WriteFrame]:
    with suppress(_NothingWritten), replacing(path, mode=PRIVATE_MODE) as temporary:
        _make_video(temporary, fps, _PROBE_WH).release()  # fails early if at all
        writer = VideoFile(temporary, fps, max_hold_s=max_hold_s)
        try:
            yield writer.write
        finally:
            writer.close()
        if writer.failed and writer.count == 0:
            raise _NothingWritten
        _check_written(writer.count, path)
        _check_complete(temporary, path)


def _check_written(size: int, path: Path) -> None:
    if size == 0:
        raise OutputError(f"no frame was processed: {str(path)!r} was not written")


def _check_complete(written: Path, path: Path) -> None:
    """Refuses a video that nothing opens: OpenCV reports no error while it writes."""
    with suppress_stderr():
        capture = cv2.VideoCapture(str(written.absolute()))
        opened = capture.isOpened()
        capture.release()
    if not opened:
        raise OutputError(
            f"{str(path)!r} could not be written to its end: the disk may be full, or"
            " limit the size of a file (4 GiB on FAT32); write an .avi, or elsewhere"
        )


class _NothingWritten(Exception):  # noqa: N818  (``write`` has raised the error)
    """Leaves ``replacing`` without a file."""


class VideoFile:
    """A video file; frames of another size than the first are scaled to fit.

    Attributes:
        count: Frames in it.
        failed: Whether a frame could not be written.
    """

    def __init__(
        self, path: Path, fps: float, *, max_hold_s: float = MAX_HOLD_S
    ) -> None:
        """Takes the path and the frame rate; the first frame sets the size.

        A frame is repeated for at most ``max_hold_s``.
        """
        self.count, self.failed = 0, False
        self._path, self._fps, self._max_hold_s = path, fps, max_hold_s
        self._writer: cv2.VideoWriter | None = None
        self._size_wh = (0, 0)
        self._last = np.zeros((0, 0, 3), np.uint8)
        self._start_s: float | None = None  # source time at which the video begins
        self._lock = threading.Lock()  # close() waits for a frame in another thread

    def write(self, image: Image, at_s: float | None) -> None:
        """Writes one frame.

        Args:
            image: uint8 (H, W, 3) BGR.
            at_s: Its time in the source: the frame before it is repeated until then; a
                frame that is too early is left out. None for pictures.

        Raises:
            OutputError: The disk is nearly full, or OpenCV cannot write this video.
        """
        with self._lock:
            gap = 0 if at_s is None else self._gap_before(at_s)
            try:
                for _ in range(gap):
                    self._write(self._last)
                if gap >= -1:  # one early: in a burst, or the one before was late
                    self._write(image)
            except OutputError:
                self.failed = True
                raise

    def _gap_before(self, at_s: float) -> int:
        """Returns how many frames are missing before this one; below 0: it is early."""
        if self._start_s is None:
            self._start_s = at_s
        gap = round((at_s - self._start_s) * self._fps) - self.count
        max_gap = max(1, round(self._max_hold_s * self._fps))
        if gap > max_gap:
            self._start_s += (gap - max_gap) / self._fps
            return max_gap
        return gap

    def _write(self, image: Image) -> None:
        if self._writer is None:
            self._size_wh = (image.shape[1], image.shape[0])
            self._writer = _make_video(self._path, self._fps, self._size_wh)
        if self.count % _FRAMES_PER_SPACE_CHECK == 0:
            _check_space(self._path)  # OpenCV reports no full disk
        # OpenCV silently drops frames of another size.
        self._last = fit_into(image, self._size_wh)
        self._writer.write(self._last)
        self.count += 1

    def close(self) -> None:
        """Finishes the file."""
        with self._lock:
            if self._writer is not None:
                self._writer.release()


def _write_image(path: Path, image: Image, at_s: float | None) -> None:
    """Writes an image file; the time of a live source is not used."""
    try:
        with suppress_stderr():
            done = cv2.imwrite(str(path), image)
    except cv2.error:
        done = False
    if not done:
        raise OutputError(f"this OpenCV cannot write a {path.suffix} picture")


def _make_video(path: Path, fps: float, size_wh: tuple[int, int]) -> cv2.VideoWriter:
    codec = VIDEO_CODECS[path.suffix.lower()]
    with suppress_stderr():
        fourcc = cv2.VideoWriter.fourcc(*codec)
        writer = cv2.VideoWriter(str(path), fourcc, fps, size_wh)
    if not writer.isOpened():
        raise OutputError(
            f"this OpenCV cannot write {path.suffix} video ({codec}) of"
            f" {size_wh[0]}x{size_wh[1]} pixels: try --output out.avi"
        )
    return writer


def _check_space(path: Path) -> None:
    try:
        free = shutil.disk_usage(path.parent).free
    except OSError as error:
        raise OutputError(f"cannot write {str(path.parent)!r}: {error}") from error
    if free < SPARE_BYTES:
        raise OutputError(
            f"expected {SPARE_BYTES >> 20} MiB free in {str(path.parent)!r}, got"
            f" {free >> 20}: the video ends here; make room, or write elsewhere"
        )


def fit_into(image: Image, size_wh: tuple[int, int]) -> Image:
    """Returns a uint8 (H, W, 3) image scaled to fit into a size, centred on black."""
    height, width = image.shape[:2]
    if (width, height) == size_wh:
        return image
    scale = min(size_wh[0] / width, size_wh[1] / height)
    wide, tall = max(1, round(width * scale)), max(1, round(height * scale))
    canvas = np.zeros((size_wh[1], size_wh[0], 3), np.uint8)
    left, top = (size_wh[0] - wide) // 2, (size_wh[1] - tall) // 2
    small = cv2.resize(image, (wide, tall), interpolation=cv2.INTER_AREA)
    canvas[top : top + tall, left : left + wide] = small
    return canvas
