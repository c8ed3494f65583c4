"""Suppresses what libraries write to stderr while they load."""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Iterator
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
