"""Image files: one, a folder of them, or those that match a pattern."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator, Sequence
from itertools import takewhile
from pathlib import Path

import cv2

from edge_runtime.errors import SourceError
from edge_runtime.preprocessing import Image
from edge_runtime.sources.base import FALLBACK_FPS, Frame, Kind, usable
from edge_runtime.untrusted import one_line, open_regular, read_bounded
from edge_runtime.utils.picture_kinds import (
    ANIMATION_BYTES,
    SUFFIXES,
    is_animation,
    picture_kind,
)
from edge_runtime.utils.pictures import DARKEST_16_BITS, decode_picture, to_8_bits
from edge_runtime.utils.stderr import suppress_stderr

logger = logging.getLogger(__name__)

MAX_IMAGE_BYTES = 256 * 2**20  # MAX_PIXELS in colour, not compressed
SHOWN_NAMES = 5


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
            flags = cv2.IMREAD_COLOR | cv2.IMREAD_ANYDEPTH
            pixels, dark = to_8_bits(decode_picture(data, flags))
        image = usable(pixels)
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
    else:
        if is_animation(data[:ANIMATION_BYTES]):
            logger.warning("%s: an animation: its first picture is used", path.name)
        if dark:
            logger.warning(
                "%s: 16 bits a pixel, but no value above %d, so it is dark or black; if"
                " its values have fewer bits, save it with 8 bits a pixel",
                path.name,
                DARKEST_16_BITS - 1,
            )
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
    """Returns whether a file is one image, by its content: names may be wrong.

    A GIF may have many, and so may an animated PNG: they are videos. So are JPEG images
    one after the other, unless the file is called a picture: behind that of a phone
    there may be another one, for its depth or its other eye.
    """
    start = _start(path)
    kind = picture_kind(start)
    if kind == "JPEG" and path.suffix.lower() not in SUFFIXES:
        from edge_runtime.sources.stdin import has_several

        return not has_several(path)
    animated = kind == "PNG" and is_animation(start)
    return kind not in (None, "GIF", "HEIC") and not animated


def _start(path: Path) -> bytes:
    if not path.is_file():  # opening a pipe would wait for its sender
        return b""
    with open_regular(path) as file:
        return file.read(ANIMATION_BYTES)


def images_in(folder: Path) -> list[Path]:
    """Returns the images in a folder, without subfolders, sorted by name.

    Raises:
        SourceError: It cannot be read, or has no image.
    """
    try:
        paths, others = _images(folder.iterdir())
    except OSError as error:
        raise SourceError(f"cannot read {str(folder)!r}: {error.strerror}") from error
    if not paths:
        raise SourceError(
            f"expected images ({', '.join(sorted(SUFFIXES))}) in"
            f" {str(folder)!r}, got {_only(others)}: subfolders are searched with a"
            f" pattern in quotes, as in  --source {str(folder / '**' / '*')!r}"
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
        paths, others = _images(Path(path.anchor or ".").glob(str(relative)))
    except (OSError, ValueError):
        paths, others = [], []
    if not paths:
        raise SourceError(
            f"expected images that match {pattern!r}, got {_only(others)}: put the"
            " pattern in quotes, as in  --source 'shots/*.jpg'"
        )
    return paths


def fixed_part(pattern: str) -> Path:
    """Returns the folders of a pattern before its first wildcard."""
    parts = Path(pattern).parts[:-1]
    fixed = takewhile(lambda part: not any(char in part for char in "*?["), parts)
    return Path(*fixed)


def _only(others: Sequence[str]) -> str:
    """Returns what there is instead of an image."""
    if not others:
        return "none"
    return f"only files of other kinds ({_names(others)}; a video is given by itself)"


def _names(names: Sequence[str]) -> str:
    more = len(names) - SHOWN_NAMES
    text = one_line(", ".join(names[:SHOWN_NAMES]))
    return text + (f" and {more} more" if more > 0 else "")


def _images(paths: Iterable[Path]) -> tuple[list[Path], list[str]]:
    """Returns the images in order, and the names of the other files."""
    # "._face.jpg" of macOS is not an image.
    files = [p for p in sorted(paths) if not p.name.startswith(".") and p.is_file()]
    images = [path for path in files if _is_image(path)]
    known = frozenset(images)
    others = [path.name for path in files if path not in known]
    if images and others:
        logger.warning(
            "left out %d files that are not images by their names: %s",
            len(others),
            _names(others),
        )
    return images, others


def _is_image(path: Path) -> bool:
    """Returns whether it is one by its name or, without a suffix, by its content."""
    if path.suffix:
        return path.suffix.lower() in SUFFIXES
    try:
        return picture_kind(_start(path)) is not None
    except OSError:
        return False
