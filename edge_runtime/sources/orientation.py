"""Turns the frames of a camera that hangs upside down, on its side, or in a mirror."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Literal, get_args

from edge_runtime.preprocessing import Image
from edge_runtime.sources.base import Frame, Source

Rotation = Literal[0, 90, 180, 270]  # degrees, clockwise
ROTATIONS: tuple[Rotation, ...] = get_args(Rotation)


def orient(source: Source, rotate: Rotation, *, hflip: bool) -> Source:
    """Returns a source with its frames rotated clockwise, and then mirrored.

    Their images are views, which costs nothing: see ``preprocessing.upright``.
    """
    if not rotate and not hflip:
        return source
    return _Oriented(source, rotate, hflip=hflip)


def turned(image: Image, rotate: Rotation, *, hflip: bool) -> Image:
    """Returns a view of an image: rotated clockwise, and then mirrored.

    Args:
        image: uint8 (H, W, 3) or (H, W).
        rotate: Degrees.
        hflip: Mirror it.
    """
    if rotate in (90, 270):
        image = image.swapaxes(0, 1)
    if rotate in (180, 270):
        image = image[::-1]
    if (rotate in (90, 180)) != hflip:
        image = image[:, ::-1]
    return image


class _Oriented:
    """Another source but for its images."""

    def __init__(self, source: Source, rotate: Rotation, *, hflip: bool) -> None:
        self._source, self._rotate, self._hflip = source, rotate, hflip
        self.name, self.kind, self.live = source.name, source.kind, source.live
        self.frame_count = source.frame_count

    @property
    def fps(self) -> float:
        return self._source.fps

    @property
    def peak_fps(self) -> float:
        return self._source.peak_fps

    @property
    def lost(self) -> str | None:
        return self._source.lost

    @property
    def skipped(self) -> int:
        return self._source.skipped

    @property
    def dropped(self) -> int:
        return self._source.dropped

    @property
    def reopened(self) -> int:
        return self._source.reopened

    def __iter__(self) -> Iterator[Frame]:
        for frame in self._source:
            yield replace(
                frame, image=turned(frame.image, self._rotate, hflip=self._hflip)
            )

    def close(self) -> None:
        self._source.close()
