"""Suppresses or reads what C libraries write to stderr."""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

_lock = threading.Lock()
_inside = 0
_saved = -1


@contextmanager
def suppress_stderr() -> Iterator[None]:
    """Drops what a C++ library writes to stderr as it loads (device lists, banners).

    Python's own exceptions are not affected. Threads may overlap: the first closes
    stderr and the last one reopens it. Set FER_EDGE_VERBOSE=1 to see everything.
    """
    global _inside, _saved
    if os.environ.get("FER_EDGE_VERBOSE") or sys.stderr is None:
        yield
        return
    sys.stderr.flush()
    with _lock:
        _inside += 1
        if _inside == 1:
            _saved = os.dup(2)
            with Path(os.devnull).open("wb") as nowhere:
                os.dup2(nowhere.fileno(), 2)
    try:
        yield
    finally:
        with _lock:
            _inside -= 1
            if _inside == 0:
                os.dup2(_saved, 2)
                os.close(_saved)


@contextmanager
def capture_stderr() -> Iterator[Callable[[], str]]:
    """Yields a function that returns what a C library has written to stderr meanwhile.

    Call it after the block. For one thread: others would be captured, too.
    """
    written = b""
    try:
        saved = os.dup(2)
    except OSError:  # closed
        yield lambda: ""
        return
    log = _scratch_file()
    os.dup2(log, 2)
    try:
        yield lambda: written.decode(errors="replace")
    finally:
        os.dup2(saved, 2)
        os.close(saved)
        if length := os.lseek(log, 0, os.SEEK_END):
            written = os.pread(log, length, 0)
        os.close(log)


def _scratch_file() -> int:
    """Returns a descriptor of a new file without a name, in memory where possible."""
    if hasattr(os, "memfd_create"):  # a fifth of the time
        return os.memfd_create("stderr")
    import tempfile

    with tempfile.TemporaryFile() as file:
        return os.dup(file.fileno())
