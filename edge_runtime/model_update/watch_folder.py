"""A folder that models are put into: which file is complete, and new.

Looked at once a second; nothing is opened. A file counts when its size, time and inode
stood still for two seconds, however it got there: written, copied or renamed into
place. What was tried is remembered by that same mark, so a refused file is left alone
until it changes; what ended a process is remembered on disk. Whatever else lies there,
or vanishes, is passed over.
"""

from __future__ import annotations

import json
import logging
import stat
import time
from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from typing import Any

from edge_runtime.errors import OutputError
from edge_runtime.model_file.signature import signature_path
from edge_runtime.utils.files import write_text

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


NAME = ".on-trial.json"  # a leading dot: no model

LARGEST_BYTES = 64 * 1024

BOOT_ID = Path("/proc/sys/kernel/random/boot_id")

# Inode, size and time (ns) of the model, then of its signature or zeros.
Mark = tuple[int, ...]


class TrialMemory:
    """The models that are on trial, and those during whose trial a process died.

    Attributes:
        died: Marks by name; not to be tried again as they are.
        last: Name of the one that was on trial when the last process died, or None.
    """

    def __init__(self, folder: Path, *, boot_id: Path = BOOT_ID) -> None:
        """Reads what an earlier process left.

        Args:
            folder: The watched folder.
            boot_id: The kernel's name for this start of the board.
        """
        self._path, self._boot = folder / NAME, _text(boot_id)
        self._told = self._noted = False
        self._on_trial: dict[str, dict[str, Mark]] = {}
        left = _read(self._path)
        self.died = _marks(left.get("died"))
        self.last: str | None = None
        trial = _marks(left.get("on_trial"))
        if trial and left.get("boot") == self._boot:
            self.died |= trial
            self.last = str(left.get("file"))
        self._noted = bool(trial)
        self.end()

    def begin(self, name: str, marks: Mapping[str, Mark]) -> None:
        """Notes that a trial begins, perhaps beside one that goes on.

        Nobody will know which of them a process died of.

        Args:
            name: Of the file on trial.
            marks: Its mark, and those of the older files that count as tried with it.
        """
        self._noted = True
        self._on_trial[name] = dict(marks)
        self._write_trials()

    def keep(self, names: Collection[str]) -> None:
        """Notes that the process outlived all trials but some.

        Args:
            names: Of the files whose trials go on.
        """
        kept = {name: m for name, m in self._on_trial.items() if name in names}
        if not kept:
            self.end()
        elif kept != self._on_trial:
            self._on_trial = kept
            self._write_trials()

    def end(self) -> None:
        """Notes that the process outlived every trial; nothing where there was none."""
        if not self._noted:
            return
        self._noted, self._on_trial = False, {}
        if self.died:
            self._write({})
            return
        try:
            self._path.unlink(missing_ok=True)
        except OSError as error:
            self._tell(str(error))

    def _write_trials(self) -> None:
        marks: dict[str, Mark] = {}
        for tried_together in self._on_trial.values():
            marks |= tried_together
        self._write({"file": list(self._on_trial)[-1], "on_trial": marks})

    def _write(self, more: dict[str, Any]) -> None:
        document = {"boot": self._boot, "died": self.died, **more}
        try:
            write_text(self._path, json.dumps(document, indent=1) + "\n")
        except OutputError as error:
            self._tell(str(error))

    def _tell(self, reason: str) -> None:
        if not self._told:
            logger.warning("model update: trials are not remembered: %s", reason)
        self._told = True


def _read(path: Path) -> dict[str, Any]:
    """Returns the document; empty where there is none, or something else."""
    try:
        with path.open("rb") as file:
            document = json.loads(file.read(LARGEST_BYTES))
    except (OSError, ValueError):
        return {}
    return document if isinstance(document, dict) else {}


def _marks(found: object) -> dict[str, Mark]:
    if not isinstance(found, dict):
        return {}
    return {name: tuple(mark) for name, mark in found.items() if isinstance(mark, list)}


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="ascii").strip()
    except (OSError, ValueError):
        return ""
