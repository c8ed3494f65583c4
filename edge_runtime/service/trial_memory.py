"""What is on trial, remembered on disk: a model that ended the process is left alone.

A model that hangs the process, or fills its memory, takes with it all that the process
knows, and the next one would find the same newest file. So what is on trial stands in a
small file in the watched folder for as long as the trial lasts. Who finds it there,
since the same start of the board, knows that the process before died of it, or beside
it. A power cut tells nothing about a model: after a new start of the board it counts
for nothing.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

from edge_runtime.errors import OutputError
from edge_runtime.files import write_text

logger = logging.getLogger(__name__)

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
