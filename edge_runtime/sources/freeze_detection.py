"""Whether a camera's pictures still show the world: frozen and blank ones."""

from __future__ import annotations

import logging
import zlib
from collections import deque

import numpy as np

from edge_runtime.errors import SourceError
from edge_runtime.preprocessing import Image

logger = logging.getLogger(__name__)

# A driver that hangs may give its few buffers in turn.
_REMEMBERED = 8
_LEAST_SAME = 10
_MOST_PATIENCE_S = 300.0
_BLANK_AFTER_S = 2.0
# Standard deviation in grey levels: a covered lens stays below, any scene is above.
_BLANK_DEVIATION = 2.0
_BLACK_BELOW = 40
_ROW_STEP, _GRID_STEP = 4, 16
# Faster cameras' pictures are not all looked at: a freeze lasts seconds, and a fifth of
# a millisecond for each of 1300 pictures a second is a quarter of a core.
_LEAST_STEP_S = 0.02


class FreezeDetector:
    """Looks at each picture of a camera, of a fast one's at most 50 a second.

    A sensor's noise makes every picture different, so one that comes again and again
    is an old one. Some encoded streams of a still scene do repeat: when opening again
    brings the very same picture back, the patience is doubled. A blank picture (a
    covered lens, a dark room) repeats for an honest reason: it is only reported.
    """

    def __init__(self, name: str, frozen_s: float) -> None:
        """Takes the camera's name, for the log, and the patience; 0 for endless."""
        self._name, self._frozen_s = name, frozen_s
        self._patience_s = frozen_s
        self._seen: deque[int] = deque(maxlen=_REMEMBERED)
        self._new_at, self._same = 0.0, 0
        self._next_s = 0.0
        self._blank_since: float | None = None
        self._reported = False

    def start(self, now_s: float) -> None:
        """Notes that the camera was opened."""
        self._new_at, self._same, self._next_s = now_s, 0, now_s

    def look(self, image: Image, now_s: float) -> None:
        """Takes in one picture.

        Args:
            image: uint8 (H, W, 3) BGR or (H, W) grey.
            now_s: When it came.

        Raises:
            SourceError: It is frozen.
        """
        if now_s < self._next_s:
            return
        self._next_s = max(self._next_s + _LEAST_STEP_S, now_s)
        blank = self._look_for_blank(image, now_s)
        if self._is_new(image):
            self._new_at, self._same = now_s, 0
            self._patience_s = self._frozen_s
            return
        self._same += 1
        still_s = now_s - self._new_at
        if blank or not self._frozen_s or self._same < _LEAST_SAME:
            return
        if still_s >= self._patience_s:
            self._patience_s = min(2 * self._patience_s, _MOST_PATIENCE_S)
            raise SourceError(f"frozen: the same picture for {still_s:.1f} s")

    def _is_new(self, image: Image) -> bool:
        digest = zlib.crc32(image[::_ROW_STEP].tobytes())
        if digest in self._seen:
            return False
        self._seen.append(digest)
        return True

    def _look_for_blank(self, image: Image, now_s: float) -> bool:
        grid = image[::_GRID_STEP, ::_GRID_STEP]
        if float(np.std(grid, axis=(0, 1)).max()) > _BLANK_DEVIATION:
            if self._reported:
                logger.warning("%s: shows something again", self._name)
            self._blank_since, self._reported = None, False
            return False
        if self._blank_since is None:
            self._blank_since = now_s
        if not self._reported and now_s - self._blank_since >= _BLANK_AFTER_S:
            self._reported = True
            kind = "black" if float(grid.mean()) < _BLACK_BELOW else "of one colour"
            logger.warning(
                "%s: pictures are %s: uncover the lens, or switch a light on",
                self._name,
                kind,
            )
        return True
