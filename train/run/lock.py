"""One process writes into a run folder."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from edge_runtime.errors import OutputError, RunError

LOCK_FILE = ".lock"


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
    try:
        file = os.open(folder / LOCK_FILE, flags, 0o666)
    except OSError as error:
        raise OutputError(f"cannot write in {folder}: {error.strerror}") from error
    try:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise RunError(
                f"{folder} is being written by another training: wait for its end, or"
                " choose another --name"
            ) from error
        except OSError:  # a file system without locks
            pass
        yield
    finally:
        os.close(file)
