"""Where answers go: JSON lines, an annotated video or picture, a window, a summary."""

from __future__ import annotations

import json
import os
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import median
from typing import Any, Protocol, TextIO

import cv2
import numpy as np

from edge_runtime.errors import MissingDependencyError, OutputError
from edge_runtime.files import replacing
from edge_runtime.pipeline import FrameResult
from edge_runtime.preprocess import Image
from edge_runtime.quiet import quiet_stderr
from edge_runtime.sources import PICTURE_SUFFIXES, Source

FRAME_SCHEMA = "fer-edge/frame/1"
VIDEO_CODECS = {".mp4": "mp4v", ".avi": "MJPG"}
_PROBE_WH = (64, 64)
_QUIT_KEYS = {ord("q"), 27}  # q and Escape


def frame_document(result: FrameResult) -> dict[str, Any]:
    """Returns the answer for a frame as JSON-ready values, times in ms and s."""
    faces = [
        {
            "box": list(face.box_xywh),
            "score": round(face.score, 4),
            "label": face.label,
            "confidence": round(face.confidence, 6),
            "probabilities": {k: round(p, 6) for k, p in face.probabilities.items()},
        }
        for face in result.faces
    ]
    return {
        "schema": FRAME_SCHEMA,
        "frame": result.index,
        "time_s": round(result.timestamp_s, 4),
        "source": result.name,
        "faces": faces,
        "latency_ms": {
            "detect": round(result.detect_ms, 3),
            "classify": round(result.classify_ms, 3),
        },
    }


def write_json_line(result: FrameResult, stream: TextIO) -> None:
    """Writes one frame's answer as one line, at once."""
    print(json.dumps(frame_document(result)), file=stream, flush=True)


class ImageWriter(Protocol):
    """Takes annotated frames."""

    def write(self, image: Image) -> None:
        """Takes one uint8 (H, W, 3) BGR frame."""


def check_output(path: Path, source: str, *, force: bool) -> None:
    """Refuses an output that cannot be wanted, before anything is opened.

    Raises:
        OutputError: A file type we cannot write, an existing file without ``force``,
            or the source itself.
    """
    known = VIDEO_CODECS.keys() | PICTURE_SUFFIXES
    if path.suffix.lower() not in known:
        raise OutputError(
            f"expected an --output ending in {', '.join(VIDEO_CODECS)}, .png or .jpg,"
            f" got {str(path)!r}"
        )
    if path.is_dir():
        raise OutputError(f"expected a file to write, got the folder {str(path)!r}")
    if path.resolve() == Path(source).resolve():
        raise OutputError(f"--output and --source are the same file: {str(path)!r}")
    if path.exists() and not force:
        raise OutputError(
            f"{str(path)!r} exists: give --force to replace it, or another name"
        )


@contextmanager
def open_output(path: Path, source: Source) -> Iterator[ImageWriter]:
    """Yields a writer for a video or picture that appears when it is complete.

    Args:
        path: ``.mp4`` or ``.avi``; ``.png`` or ``.jpg`` for one picture.
        source: Gives the frame rate, and whether it is one picture.

    Raises:
        OutputError: The folder or this OpenCV cannot write it, or no frame came.
    """
    if path.suffix.lower() in VIDEO_CODECS:
        opened = _open_video(path, source.fps)
    elif source.kind == "pictures" and source.frame_count == 1:
        opened = _open_picture(path)
    else:
        raise OutputError(
            f"expected --output out.mp4 for more than one frame, got {str(path)!r}"
        )
    with opened as writer:
        yield writer


@contextmanager
def _open_video(path: Path, fps: float) -> Iterator[ImageWriter]:
    with replacing(path) as temporary:
        _make_video(temporary, fps, _PROBE_WH).release()  # fails before the work
        writer = VideoFile(temporary, fps)
        try:
            yield writer
        finally:
            writer.close()
        _check_written(writer.count, path)


@contextmanager
def _open_picture(path: Path) -> Iterator[ImageWriter]:
    with replacing(path) as temporary:
        writer = PictureFile(temporary)
        yield writer
        _check_written(writer.count, path)


def _check_written(count: int, path: Path) -> None:
    if count == 0:
        raise OutputError(f"no frame was processed: {str(path)!r} was not written")


class VideoFile:
    """A video file; frames of another size than the first are fitted into it."""

    def __init__(self, path: Path, fps: float) -> None:
        """Takes the path and the frames per second; the first frame gives the size."""
        self.count = 0
        self._path, self._fps = path, fps
        self._writer: cv2.VideoWriter | None = None
        self._size_wh = (0, 0)

    def write(self, image: Image) -> None:
        """Takes one uint8 (H, W, 3) BGR frame."""
        if self._writer is None:
            self._size_wh = (image.shape[1], image.shape[0])
            self._writer = _make_video(self._path, self._fps, self._size_wh)
        # OpenCV drops frames of another size without a word.
        self._writer.write(fitted(image, self._size_wh))
        self.count += 1

    def close(self) -> None:
        """Finishes the file."""
        if self._writer is not None:
            self._writer.release()


class PictureFile:
    """One picture."""

    def __init__(self, path: Path) -> None:
        """Takes the path; its suffix gives the format."""
        self.count = 0
        self._path = path

    def write(self, image: Image) -> None:
        """Takes one uint8 (H, W, 3) BGR frame.

        Raises:
            OutputError: It cannot be encoded or written.
        """
        try:
            with quiet_stderr():
                done = cv2.imwrite(str(self._path), image)
        except cv2.error:
            done = False
        if not done:
            raise OutputError(f"this OpenCV cannot write a {self._path.suffix} picture")
        self.count += 1


def _make_video(path: Path, fps: float, size_wh: tuple[int, int]) -> cv2.VideoWriter:
    codec = VIDEO_CODECS[path.suffix.lower()]
    with quiet_stderr():
        fourcc = cv2.VideoWriter.fourcc(*codec)
        writer = cv2.VideoWriter(str(path), fourcc, fps, size_wh)
    if not writer.isOpened():
        raise OutputError(
            f"this OpenCV cannot write {path.suffix} video ({codec}) of"
            f" {size_wh[0]}x{size_wh[1]} pixels: try --output out.avi"
        )
    return writer


def fitted(image: Image, size_wh: tuple[int, int]) -> Image:
    """Returns the image in a frame of the given size, scaled, centred on black.

    Args:
        image: uint8 (H, W, 3).
        size_wh: Width and height in pixels.
    """
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


class Window:
    """A window on the screen; q, Escape or its close button end the run."""

    def __init__(self, title: str) -> None:
        """Opens it.

        Raises:
            MissingDependencyError: This OpenCV was built without windows.
            OutputError: There is no screen.
        """
        _check_screen()
        self._title = title
        try:
            with quiet_stderr():
                cv2.namedWindow(title, cv2.WINDOW_NORMAL)
        except cv2.error as error:
            raise OutputError(
                "no window can be opened: leave out --display, use --output FILE"
            ) from error

    def show(self, image: Image) -> bool:
        """Shows uint8 (H, W, 3) BGR and returns whether to go on."""
        cv2.imshow(self._title, image)
        key = cv2.waitKey(1) & 0xFF
        visible = cv2.getWindowProperty(self._title, cv2.WND_PROP_VISIBLE) >= 1
        return visible and key not in _QUIT_KEYS

    def close(self) -> None:
        """Closes it."""
        cv2.destroyAllWindows()


def _check_screen() -> None:
    build = cv2.getBuildInformation().splitlines()
    if any(line.split()[:2] == ["GUI:", "NONE"] for line in build):
        raise MissingDependencyError(
            "--display needs an OpenCV with windows, got the headless one: run"
            "  pip uninstall opencv-python-headless; pip install 'opencv-python<5'"
            "  or use --output FILE"
        )
    # Without a screen the Qt in OpenCV's wheel ends the whole process.
    screens = ("DISPLAY", "WAYLAND_DISPLAY")
    if sys.platform == "linux" and not any(os.environ.get(one) for one in screens):
        raise OutputError(
            "--display needs a screen, got neither DISPLAY nor WAYLAND_DISPLAY:"
            " run it in a desktop session, or use --output FILE"
        )


class Summary:
    """What a run saw, in numbers."""

    def __init__(self) -> None:
        """Starts at zero."""
        self.frames = 0
        self.labels: Counter[str] = Counter()
        self._detect_ms: list[float] = []
        self._classify_ms: list[float] = []

    def add(self, result: FrameResult) -> None:
        """Counts one frame."""
        self.frames += 1
        self.labels.update(face.label for face in result.faces)
        self._detect_ms.append(result.detect_ms)
        if result.faces:
            self._classify_ms.append(result.classify_ms)

    def table(self, seconds: float, skipped: int = 0) -> str:
        """Returns a table for people.

        Args:
            seconds: Wall time of the run.
            skipped: Frames that could not be read.
        """
        faces = self.labels.total()
        rows = [
            ("frames", f"{self.frames}" + f" ({skipped} unreadable)" * bool(skipped))
        ]
        rows += [("faces", str(faces))]
        rows += [
            (f"  {label}", f"{count}  ({100 * count / faces:.0f} %)")
            for label, count in self.labels.most_common()
        ]
        rows += [
            ("detect", _median_text(self._detect_ms, "a frame")),
            ("classify", _median_text(self._classify_ms, "a frame with faces")),
            ("rate", f"{self.frames / seconds:.1f} frames/s" if seconds else "-"),
        ]
        width = max(len(name) for name, _ in rows)
        return "\n".join(f"{name:<{width}}  {value}" for name, value in rows)


def _median_text(values_ms: list[float], per: str) -> str:
    return f"{median(values_ms):.2f} ms {per} (median)" if values_ms else "-"
