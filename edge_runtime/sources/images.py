"""Image files: one, a folder of them, or those that match a pattern."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import cv2
import numpy as np

from edge_runtime.errors import SourceError
from edge_runtime.preprocessing import Image
from edge_runtime.sources.base import FALLBACK_FPS, Frame, Kind, usable
from edge_runtime.utils.stderr import suppress_stderr

logger = logging.getLogger(__name__)

IMAGE_SUFFIXES = frozenset(
    {".bmp", ".jpeg", ".jpg", ".pgm", ".png", ".ppm", ".tif", ".tiff", ".webp"}
)


class ImageSource:
    """Image files, decoded one at a time; unreadable ones are skipped and counted."""

    kind: Kind = "pictures"
    live = False

    def __init__(self, paths: Sequence[Path], name: str, every: int = 1) -> None:
        """Takes at least one path; if all are unreadable, iterating raises an error."""
        self.name = name
        self.fps = self.peak_fps = FALLBACK_FPS
        self.skipped = self.dropped = self.reopened = 0
        self._paths = list(enumerate(paths))[::every]
        self.frame_count: int | None = len(self._paths)

    def __iter__(self) -> Iterator[Frame]:
        """Yields the images that can be decoded."""
        for index, path in self._paths:
            image = read_image(path)
            if image is not None:
                yield Frame(image, index, 0.0, path.name)
                continue
            self.skipped += 1
            if len(self._paths) > 1:
                logger.warning("%s cannot be decoded: skipped", path)
        if self.skipped == len(self._paths):
            raise SourceError(
                f"expected an image that can be decoded, got {self.name!r}:"
                " open it in a viewer, or save it again as PNG or JPEG"
            )

    def close(self) -> None:
        """Does nothing: no file stays open."""


def read_image(path: Path) -> Image | None:
    """Returns an image as uint8 (H, W, 3) BGR, rotated upright; None if unreadable."""
    try:
        with suppress_stderr():
            data = np.frombuffer(path.read_bytes(), dtype=np.uint8)
            image = cv2.imdecode(data, cv2.IMREAD_COLOR)
    except (OSError, cv2.error):
        return None
    return usable(image)


def images_in(folder: Path) -> list[Path]:
    """Returns the images in a folder, without subfolders, sorted by name.

    Raises:
        SourceError: It cannot be read, or has no image.
    """
    try:
        paths = _images(folder.iterdir())
    except OSError as error:
        raise SourceError(f"cannot read {str(folder)!r}: {error.strerror}") from error
    if not paths:
        raise SourceError(
            f"expected images ({', '.join(sorted(IMAGE_SUFFIXES))}) in"
            f" {str(folder)!r}, got none: subfolders are not searched"
        )
    return paths


def images_matching(pattern: str) -> list[Path]:
    """Returns the images that match a pattern such as ``shots/**/*.png``, sorted.

    Raises:
        SourceError: No image matches.
    """
    path = Path(pattern)
    relative = path.relative_to(path.anchor)
    try:
        paths = _images(Path(path.anchor or ".").glob(str(relative)))
    except (OSError, ValueError):
        paths = []
    if not paths:
        raise SourceError(
            f"expected images that match {pattern!r}, got none: put the pattern in"
            " quotes, as in  --source 'shots/*.jpg'"
        )
    return paths


def _images(paths: Iterable[Path]) -> list[Path]:
    return sorted(path for path in paths if _is_image(path))


def _is_image(path: Path) -> bool:
    hidden = path.name.startswith(".")  # "._face.jpg" of macOS is no image
    return path.suffix.lower() in IMAGE_SUFFIXES and not hidden and path.is_file()
