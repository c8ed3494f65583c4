"""Watches a folder for new models, in a thread of its own.

The folder is read once a second; no file in it is opened for that. A file is complete
when its size, time and inode have not changed for two seconds, however it got there:
written, copied or renamed into place. These three are also its mark: a file that was
tried is not tried again until its mark changes. Marks of models during whose trial the
process died are kept on disk.
"""

from __future__ import annotations

import json
import logging
import stat
import threading
import time
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from edge_runtime.errors import FerEdgeError, OutputError
from edge_runtime.model_file.signature import signature_path
from edge_runtime.model_update.updating_classifier import UpdatingClassifier
from edge_runtime.model_update.verify import verify
from edge_runtime.untrusted import read_json
from edge_runtime.utils.files import write_text

logger = logging.getLogger(__name__)

SUFFIXES = (".tflite", ".onnx")
POLL_S, SETTLE_S = 1.0, 2.0
_CLOSE_S = 0.5  # a probe process is killed within a tenth of a second

MEMORY_NAME = ".on-trial.json"
_MAX_MEMORY_BYTES = 64 * 1024
BOOT_ID = Path("/proc/sys/kernel/random/boot_id")

# Inode, size and time (ns) of the model, then of its signature or zeros.
Mark = tuple[int, ...]


@contextmanager
def watching(
    updating: UpdatingClassifier, folder: ModelFolder, *, poll_s: float = POLL_S
) -> Iterator[None]:
    """Watches a folder in the background for the length of a ``with`` block.

    Args:
        updating: Is offered each file that passes ``verify``.
        folder: Where files appear.
        poll_s: Seconds between two readings of the folder.
    """
    stop = threading.Event()
    if folder.memory.last is not None:
        updating.refuse(
            folder.path / folder.memory.last,
            "the process died while it was on trial; to try it again, touch it",
        )

    def watch() -> None:
        while not stop.wait(poll_s):
            path = folder.next_candidate()
            if path is not None:
                consider(updating, path, stop)
            else:
                folder.memory.keep(updating.on_trial)

    thread = threading.Thread(target=watch, name="model-update", daemon=True)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join(_CLOSE_S)
        folder.memory.keep(())


def consider(
    updating: UpdatingClassifier, path: Path, stop: threading.Event | None = None
) -> None:
    """Verifies a file and offers it, or records its refusal; never raises.

    Args:
        updating: Is offered the model.
        path: The file.
        stop: Set when the run ends.
    """
    try:
        new = verify(path, updating.current, updating.policy, stop)
    except FerEdgeError as error:
        if stop is None or not stop.is_set():  # else it is not the file's fault
            updating.refuse(path, " ".join(str(error).split()))
    except Exception as error:  # a hostile file must not end the thread
        logger.debug("details", exc_info=True)
        updating.refuse(path, f"{type(error).__name__}: {error}")
    else:
        if new is not None:
            updating.offer(new, path)


class ModelFolder:
    """New models in a folder, each returned once until it changes.

    Attributes:
        path: The folder; it may vanish and come back.
        memory: Which models are on trial, on disk.
    """

    def __init__(
        self,
        path: Path,
        *,
        settle_s: float = SETTLE_S,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Reads the memory of an earlier process.

        Args:
            path: The folder.
            settle_s: Seconds for which a file must not have changed.
            clock: Monotonic seconds.
        """
        self.path, self.memory = path, TrialMemory(path)
        self._settle_s, self._clock = settle_s, clock
        self._since: dict[str, tuple[Mark, float]] = {}
        self._tried: dict[str, Mark] = {}
        self._missing = False

    def next_candidate(self) -> Path | None:
        """Returns the newest complete file that was not tried as it is now, or None.

        It counts as tried from then on, and so do older ones beside it: an update never
        goes back to an older file. Its trial is noted on disk until ``memory.keep`` is
        called without it.
        """
        now_s, marks = self._clock(), self._read_marks()
        self._since = {
            name: self._since[name]
            if name in self._since and self._since[name][0] == mark
            else (mark, now_s)
            for name, mark in marks.items()
        }
        self._tried = {name: m for name, m in self._tried.items() if name in marks}
        known = self.memory.died | self._tried
        ready = {
            name: mark
            for name, mark in marks.items()
            if known.get(name) != mark
            and now_s - self._since[name][1] >= self._settle_s
        }
        if not ready:
            return None
        self._tried |= ready
        newest = max(ready, key=lambda name: (ready[name][2], name))
        self.memory.begin(newest, ready)
        return self.path / newest

    def _read_marks(self) -> dict[str, Mark]:
        """Returns the mark of each model file in the folder now."""
        try:
            paths = list(self.path.iterdir())
        except OSError as error:
            if not self._missing:
                logger.warning("model update: %s: %s", self.path, error.strerror)
            self._missing = True
            return {}
        self._missing = False
        # A leading dot: a file that is still being written, here and elsewhere.
        models = [
            path
            for path in paths
            if path.name.endswith(SUFFIXES) and not path.name.startswith(".")
        ]
        marks = {path.name: _mark(path) for path in models}
        return {name: mark for name, mark in marks.items() if mark is not None}


def _mark(path: Path) -> Mark | None:
    """Returns the mark of a file and its signature; None for no file."""
    mark = _stat(path)
    if mark is None:
        return None
    return (*mark, *(_stat(signature_path(path)) or (0, 0, 0)))


def _stat(path: Path) -> Mark | None:
    try:
        status = path.stat()
    except OSError:  # vanished, a loop of links, a name that is too long
        return None
    if not stat.S_ISREG(status.st_mode):
        return None
    return status.st_ino, status.st_size, status.st_mtime_ns


class TrialMemory:
    """Which models are on trial, in a file that outlives the process.

    Attributes:
        died: Marks by name of models during whose trial a process died: they are not
            tried again as they are.
        last: Name of the model on trial when the last process died, or None.
    """

    def __init__(self, folder: Path, *, boot_id: Path = BOOT_ID) -> None:
        """Reads the file of an earlier process.

        Args:
            folder: The watched folder.
            boot_id: File with the kernel's name for this boot. After another boot
                nothing is known about a trial: the power may have failed.
        """
        self._path, self._boot = folder / MEMORY_NAME, _read_text(boot_id)
        self._warned = False
        self._trials: dict[str, dict[str, Mark]] = {}
        document = _read_document(self._path)
        self.died = _parse_marks(document.get("died"))
        self.last: str | None = None
        on_trial = _parse_marks(document.get("on_trial"))
        if on_trial and document.get("boot") == self._boot:
            self.died |= on_trial
            self.last = str(document.get("file"))
        if on_trial:
            self._save()

    def begin(self, name: str, marks: Mapping[str, Mark]) -> None:
        """Notes that a trial begins. An earlier one may go on: both are blamed then.

        Args:
            name: The file on trial.
            marks: Its mark, and those of older files that count as tried with it.
        """
        self._set({**self._trials, name: dict(marks)})

    def keep(self, names: Collection[str]) -> None:
        """Notes that the process survived all trials but those of some files."""
        self._set({name: m for name, m in self._trials.items() if name in names})

    def _set(self, trials: dict[str, dict[str, Mark]]) -> None:
        if trials != self._trials:
            self._trials = trials
            self._save()

    def _save(self) -> None:
        document: dict[str, Any] = {"boot": self._boot, "died": self.died}
        if self._trials:
            marks: dict[str, Mark] = {}
            for tried_together in self._trials.values():
                marks |= tried_together
            document |= {"file": list(self._trials)[-1], "on_trial": marks}
        try:
            if self._trials or self.died:
                write_text(self._path, json.dumps(document, indent=1) + "\n")
            else:
                self._path.unlink(missing_ok=True)
        except (OSError, OutputError) as error:
            if not self._warned:
                logger.warning("model update: trials are not remembered: %s", error)
            self._warned = True


def _read_document(path: Path) -> dict[str, Any]:
    """Returns the JSON object in a file; empty if there is none."""
    try:
        document = read_json(path, _MAX_MEMORY_BYTES)
    except (OSError, ValueError):
        return {}
    return document if isinstance(document, dict) else {}


def _parse_marks(value: object) -> dict[str, Mark]:
    if not isinstance(value, dict):
        return {}
    return {
        name: tuple(mark)
        for name, mark in value.items()
        if isinstance(mark, list) and all(isinstance(part, int) for part in mark)
    }


def _read_text(path: Path) -> str:
    try:
        return path.read_text(encoding="ascii").strip()
    except (OSError, ValueError):
        return ""
