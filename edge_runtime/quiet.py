"""Silence for libraries that talk on stderr while they load."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def quiet_stderr() -> Iterator[None]:
    """Drops what a C++ library writes to stderr as it loads (device lists, banners).

    Python's own exceptions are not affected. Set FER_EDGE_VERBOSE=1 to see everything.
    """
    if os.environ.get("FER_EDGE_VERBOSE") or sys.stderr is None:
        yield
        return
    sys.stderr.flush()
    saved = os.dup(2)
    nowhere = os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(nowhere, 2)
        yield
    finally:
        os.dup2(saved, 2)
        os.close(saved)
        os.close(nowhere)
