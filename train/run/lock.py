"""One process writes into a run folder."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from edge_runtime.errors import OutputError, RunError

LOCK_FILE = ".lock"
BUSY = "is being written by another training"


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Keeps other trainings out of a run folder; the kernel lets go when it ends.

    Raises:
        RunError: Another process is writing into it.
        OutputError: The folder cannot be written.
    """
    try:
        import fcntl
    except ImportError:  # Windows has no such locks
        yield
        return
    # Others may have made the folder: no link is followed, nothing is written.
    flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK
    path = folder / LOCK_FILE
    try:
        file = os.open(path, flags, 0o666)
    except OSError as error:
        raise OutputError(f"cannot write in {folder}: {error.strerror}") from error
    try:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise _is_busy(folder) from error
        except OSError:  # a file system without locks
            pass
        if not path.exists() or path.stat().st_ino != os.fstat(file).st_ino:
            raise _is_busy(folder)  # the other one removed it just now
        try:
            yield
        finally:
            path.unlink(missing_ok=True)
    finally:
        os.close(file)


def _is_busy(folder: Path) -> RunError:
    return RunError(f"{folder} {BUSY}: wait for its end, or choose another --name")


def is_locked(folder: Path) -> bool:
    """Returns whether a training is writing into a run folder."""
    try:
        with locked(folder):
            return False
    except RunError:
        return True
    except OutputError:  # no such folder yet, or one that a training will refuse
        return False
