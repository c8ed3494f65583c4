"""The journal file of a search: what goes wrong with it is one line."""

from __future__ import annotations

import json
import os
from collections.abc import Generator, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend, JournalFileSymlinkLock

from edge_runtime.errors import RunError

FIRST_BYTES = b'{"op_code"'
MAX_LINE_BYTES = 2**20


def open_journal(path: Path) -> JournalStorage:
    """Returns the storage of a journal file, new or as it is.

    Raises:
        RunError: It cannot be used, or is none.
    """
    try:
        with _refusals(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            _require_journal(path)
            return JournalStorage(Journal(path))
    except (KeyError, TypeError, AttributeError, AssertionError) as error:
        raise _damaged(path, error) from error


def _require_journal(path: Path) -> None:
    """Raises ValueError for a file of something else: it would be written to."""
    if not path.exists():
        return
    if not path.is_file():  # a pipe would be waited for
        raise ValueError("not a file")
    with path.open("rb") as file:
        begin = file.read(len(FIRST_BYTES))
    if begin not in (b"", FIRST_BYTES):
        raise ValueError(f"it begins with {begin!r}")


class Journal(JournalFileBackend):
    """Optuna's journal file; a full disk leaves no half line in it.

    Its methods raise RunError where it cannot be read or written, or is damaged.
    """

    def __init__(self, path: Path) -> None:
        """Takes the path; the file is made."""
        self._path, self._journal_lock = path, JournalFileSymlinkLock(str(path))
        super().__init__(str(path), self._journal_lock)

    def read_logs(self, log_number_from: int) -> Generator[dict[str, Any], None, None]:
        """Yields the records from a number on."""
        with _refusals(self._path):
            yield from super().read_logs(log_number_from)

    def append_logs(self, logs: list[dict[str, Any]]) -> None:
        """Writes records."""
        lines = [json.dumps(log, separators=(",", ":")) + "\n" for log in logs]
        with _refusals(self._path):
            self._journal_lock.acquire()
            try:
                _cut_half_line(self._path)
                with self._path.open("ab") as file:
                    file.write("".join(lines).encode())
                    file.flush()
                    os.fsync(file.fileno())
            finally:
                with suppress(RuntimeError):  # taken, while this process was stopped
                    self._journal_lock.release()


def _cut_half_line(path: Path) -> None:
    """Removes what a full disk left of a record: its worker knows that it failed."""
    with path.open("r+b") as file:
        size = file.seek(0, os.SEEK_END)
        file.seek(max(0, size - 1))
        if file.read() in (b"", b"\n"):
            return
        begin = file.seek(max(0, size - MAX_LINE_BYTES))
        file.truncate(begin + file.read().rfind(b"\n") + 1)


@contextmanager
def _refusals(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise RunError(
            f"the journal {path} cannot be used: {error.strerror or error}: the same"
            " command continues when it can, or name another with --storage"
        ) from error
    except ValueError as error:
        raise _damaged(path, error) from error


def _damaged(path: Path, error: Exception) -> RunError:
    return RunError(
        f"{path} is not a journal of a search, or damaged ({error!r}): begin another"
        " search, with another --name, or another --storage where one is given"
    )
