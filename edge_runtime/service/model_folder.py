"""A folder that models are put into: which file is complete, and new.

Looked at once a second; nothing is opened. A file counts when its size, time and inode
stood still for two seconds, however it got there: written, copied or renamed into
place. What was tried is remembered by that same mark, so a refused file is left alone
until it changes; what ended a process is remembered on disk. Whatever else lies there,
or vanishes, is passed over.
"""

from __future__ import annotations

import logging
import stat
import time
from collections.abc import Callable
from pathlib import Path

from edge_runtime.service.trial_memory import Mark, TrialMemory
from edge_runtime.signature import signature_path

logger = logging.getLogger(__name__)

SUFFIXES = (".tflite", ".onnx")
SETTLE_S = 2.0


class ModelFolder:
    """New models in a folder, each offered once until it changes.

    Attributes:
        path: The folder; it may vanish and come back.
        memory: What is on trial, on disk.
    """

    def __init__(
        self,
        path: Path,
        *,
        settle_s: float = SETTLE_S,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Reads what an earlier process left there; looks at no model yet.

        Args:
            path: The folder.
            settle_s: Seconds for which a file must stand still.
            clock: Seconds that never go back.
        """
        self.path, self.memory = path, TrialMemory(path)
        self._settle_s, self._clock = settle_s, clock
        self._since: dict[str, tuple[Mark, float]] = {}
        self._tried: dict[str, Mark] = {}
        self._missing = False

    def next_candidate(self) -> Path | None:
        """Returns the newest complete file that was not tried as it is now, or None.

        It counts as tried from then on, and so do the older ones beside it: an update
        never goes back to what lay in the folder before. Its trial is noted on disk
        until ``memory.end`` is called.
        """
        now, marks = self._clock(), self._marks()
        self._since = {
            name: self._since[name]
            if name in self._since and self._since[name][0] == mark
            else (mark, now)
            for name, mark in marks.items()
        }
        self._tried = {name: m for name, m in self._tried.items() if name in marks}
        known = self.memory.died | self._tried
        fresh = [name for name in marks if known.get(name) != marks[name]]
        ready = [n for n in fresh if now - self._since[n][1] >= self._settle_s]
        if not ready:
            return None
        self._tried |= {name: marks[name] for name in ready}
        newest = max(ready, key=lambda name: (marks[name][2], name))
        self.memory.begin(newest, {name: marks[name] for name in ready})
        return self.path / newest

    def _marks(self) -> dict[str, Mark]:
        """Returns the mark of each model file there is right now."""
        try:
            names = [path.name for path in self.path.iterdir()]
        except OSError as error:
            if not self._missing:
                logger.warning("model update: %s: %s", self.path, error.strerror)
            self._missing = True
            return {}
        self._missing = False
        marks = {}
        for name in names:
            # A leading dot: a file that is still being written, here and elsewhere.
            if name.endswith(SUFFIXES) and not name.startswith("."):
                mark = _mark(self.path / name)
                if mark is not None:
                    marks[name] = mark
        return marks


def _mark(path: Path) -> Mark | None:
    """Returns what changes when a file or its signature does; None for no file."""
    found = _stat(path)
    if found is None:
        return None
    return (*found, *(_stat(signature_path(path)) or (0, 0, 0)))


def _stat(path: Path) -> Mark | None:
    try:
        status = path.stat()
    except OSError:  # vanished, a loop of links, a name that is too long
        return None
    if not stat.S_ISREG(status.st_mode):
        return None
    return status.st_ino, status.st_size, status.st_mtime_ns
