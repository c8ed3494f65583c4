"""Detects a camera that freezes, and one that shows a single colour."""

from __future__ import annotations

import logging
import zlib
from collections import deque

import numpy as np

from edge_runtime.errors import SourceError
from edge_runtime.preprocessing import Image

logger = logging.getLogger(__name__)

# A driver that hangs may deliver its few buffers in rotation.
_REMEMBERED = 8
_MIN_REPEATED = 10
_MAX_PATIENCE_S = 300.0
_BLANK_AFTER_S = 2.0
# Standard deviation in grey levels: below it for a covered lens, above for any scene.
_BLANK_DEVIATION = 2.0
_BLACK_BELOW = 40
_ROW_STEP, _GRID_STEP = 4, 16
# Of a fast camera not every frame is checked: a freeze lasts seconds, and a fifth of a
# millisecond for each of 1300 frames a second is a quarter of a core.
_MIN_INTERVAL_S = 0.02


class FreezeDetector:
    """Checks the frames of a camera, at most 50 a second.

    A sensor's noise makes every image different, so a repeated one is old. Some encoded
    streams of a still scene do repeat: if the same image is back after reopening, the
    patience is doubled. A blank image (a covered lens, a dark room) may repeat: it is
    only logged.
    """

    def __init__(self, name: str, frozen_s: float) -> None:
        """Takes the camera's name and the patience in seconds; 0: it never raises."""
        self._name, self._frozen_s = name, frozen_s
        self._patience_s = frozen_s
        self._digests: deque[int] = deque(maxlen=_REMEMBERED)
        self._new_at, self._repeated = 0.0, 0
        self._next_s = self._least_s = 0.0
        self._blank_since: float | None = None
        self._blank_logged = False

    def start(self, now_s: float, *, polled: bool = False) -> None:
        """Starts anew after the camera was opened.

        Args:
            now_s: The time.
            polled: It is asked for its image, which it may renew once a minute.
        """
        self._least_s = _MAX_PATIENCE_S if polled else 0.0
        self._new_at, self._repeated, self._next_s = now_s, 0, now_s

    def check(self, image: Image, now_s: float) -> None:
        """Checks one frame, uint8 (H, W, 3) BGR or (H, W) grey, that arrived at a time.

        Raises:
            SourceError: The camera is frozen.
        """
        if now_s < self._next_s:
            return
        self._next_s = max(self._next_s + _MIN_INTERVAL_S, now_s)
        blank = self._check_blank(image, now_s)
        if self._is_new(image):
            self._new_at, self._repeated = now_s, 0
            self._patience_s = self._frozen_s
            return
        self._repeated += 1
        still_s = now_s - self._new_at
        if blank or not self._frozen_s or self._repeated < _MIN_REPEATED:
            return
        if still_s >= max(self._patience_s, self._least_s):
            self._patience_s = min(2 * self._patience_s, _MAX_PATIENCE_S)
            raise SourceError(f"frozen, the same image for {still_s:.1f} s")

    def _is_new(self, image: Image) -> bool:
        digest = zlib.crc32(image[::_ROW_STEP].tobytes())
        if digest in self._digests:
            return False
        self._digests.append(digest)
        return True

    def _check_blank(self, image: Image, now_s: float) -> bool:
        grid = image[::_GRID_STEP, ::_GRID_STEP]
        if float(np.std(grid, axis=(0, 1)).max()) > _BLANK_DEVIATION:
            if self._blank_logged:
                logger.warning("%s: frames are visible again", self._name)
            self._blank_since, self._blank_logged = None, False
            return False
        if self._blank_since is None:
            self._blank_since = now_s
        if not self._blank_logged and now_s - self._blank_since >= _BLANK_AFTER_S:
            self._blank_logged = True
            kind = "black" if float(grid.mean()) < _BLACK_BELOW else "of one colour"
            logger.warning(
                "%s: frames are %s: uncover the lens, or switch a light on",
                self._name,
                kind,
            )
        return True
