"""Turns the frames of a camera that hangs upside down, on its side, or in a mirror."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Literal, get_args

import cv2
import numpy as np

from edge_runtime.preprocessing import Image
from edge_runtime.sources.base import Frame, Source

Rotation = Literal[0, 90, 180, 270]  # degrees, clockwise
ROTATIONS: tuple[Rotation, ...] = get_args(Rotation)

_CODES = {
    90: cv2.ROTATE_90_CLOCKWISE,
    180: cv2.ROTATE_180,
    270: cv2.ROTATE_90_COUNTERCLOCKWISE,
}


def orient(source: Source, rotate: Rotation, *, hflip: bool) -> Source:
    """Returns a source with its frames rotated clockwise, and then mirrored."""
    if not rotate and not hflip:
        return source
    return _Oriented(source, rotate, hflip=hflip)


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
            yield replace(frame, image=self._oriented(frame.image))

    def close(self) -> None:
        self._source.close()

    def _oriented(self, image: Image) -> Image:
        if self._rotate:
            image = np.asarray(cv2.rotate(image, _CODES[self._rotate]), np.uint8)
        if self._hflip:
            image = np.asarray(cv2.flip(image, 1), np.uint8)
        return image
