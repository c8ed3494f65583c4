"""Image files: one, a folder of them, or those that match a pattern."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterable, Iterator, Sequence
from itertools import takewhile
from pathlib import Path

from edge_runtime.errors import SourceError
from edge_runtime.preprocessing import Image
from edge_runtime.sources.base import FALLBACK_FPS, Frame, Kind, usable
from edge_runtime.utils.pictures import decode_picture
from edge_runtime.utils.read_files import read_bounded
from edge_runtime.utils.stderr import suppress_stderr

logger = logging.getLogger(__name__)

MAX_IMAGE_BYTES = 256 * 2**20  # MAX_PIXELS in colour, not compressed
IMAGE_SUFFIXES = frozenset(
    {".bmp", ".jpeg", ".jpg", ".pgm", ".png", ".ppm", ".tif", ".tiff", ".webp"}
)

# How files begin that OpenCV decodes as one image. A GIF may have many: it is a video.
_BEGINNINGS = re.compile(
    rb"\xff\xd8\xff|\x89PNG|BM.{12}|II\*\0|MM\0\*|RIFF.{4}WEBP|P[456]\s"
    rb"|.{4}ftypavi[fs]",
    re.DOTALL,
)


class ImageSource:
    """Image files, decoded one at a time; unreadable ones are skipped and counted."""

    kind: Kind = "pictures"
    live = False
    lost = None

    def __init__(
        self,
        paths: Sequence[Path],
        name: str,
        every: int = 1,
        *,
        root: Path | None = None,
    ) -> None:
        """Takes at least one path; if all are unreadable, iterating raises an error.

        A frame's name is the path below ``root``; without one, the file's name.
        """
        self.name = name
        self.fps = self.peak_fps = FALLBACK_FPS
        self.skipped = self.dropped = self.reopened = 0
        self._root, self._paths = root, list(enumerate(paths))[::every]
        self.frame_count: int | None = len(self._paths)

    def __iter__(self) -> Iterator[Frame]:
        """Yields the images that can be decoded."""
        for index, path in self._paths:
            try:
                image = read_image(path)
            except SourceError as error:
                self.skipped += 1
                if len(self._paths) == 1:
                    raise
                logger.warning("skipped: %s", error)
            else:
                root = self._root or path.parent
                yield Frame(image, index, 0.0, str(path.relative_to(root)))
        if self.skipped == len(self._paths):
            raise SourceError(
                f"expected an image that can be decoded, got {self.name!r}: none of"
                f" its {self.skipped} can (the reasons are above)"
            )

    def close(self) -> None:
        """Does nothing: no file stays open."""


def read_image(path: Path) -> Image:
    """Returns an image file as uint8 (H, W, 3) BGR, rotated upright.

    Raises:
        SourceError: It cannot be read or decoded, or is too large; with the reason.
    """
    try:
        data = read_bounded(path, MAX_IMAGE_BYTES)
        with suppress_stderr():
            image = usable(decode_picture(data))
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
    else:
        if image is not None:
            return image
        reason = "it has no pixels"
    raise SourceError(
        f"expected an image that can be decoded, got {str(path)!r}: {reason};"
        " open it in a viewer, or save it again as PNG or JPEG"
    )


def decode_image(data: bytes) -> Image | None:
    """Returns an image file's content as ``read_image`` does; None if unreadable."""
    try:
        return usable(decode_picture(data))
    except ValueError as error:
        logger.debug("an image: %s", error)
        return None


def is_image(path: Path) -> bool:
    """Returns whether a file is an image, by its content: names may be wrong."""
    if not path.is_file():  # opening a pipe would wait for its sender
        return False
    with path.open("rb") as file:
        return _BEGINNINGS.match(file.read(16)) is not None


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


def fixed_part(pattern: str) -> Path:
    """Returns the folders of a pattern before its first wildcard."""
    parts = Path(pattern).parts[:-1]
    fixed = takewhile(lambda part: not any(char in part for char in "*?["), parts)
    return Path(*fixed)


def _images(paths: Iterable[Path]) -> list[Path]:
    return sorted(path for path in paths if _is_image(path))


def _is_image(path: Path) -> bool:
    hidden = path.name.startswith(".")  # "._face.jpg" of macOS is no image
    return path.suffix.lower() in IMAGE_SUFFIXES and not hidden and path.is_file()
