"""What appears on stderr: messages of C libraries, and progress bars for people."""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any, TypeVar

Item = TypeVar("Item")

_lock = threading.Lock()
_capturing = threading.RLock()
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

    Call it after the block. One thread captures at a time, and what others write is
    captured, too.
    """
    written = b""
    with _capturing:  # else the one that ends last would restore the other's file
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


def open_bar(description: str, unit: str, **length: Any) -> Any:
    """Returns a tqdm bar on stderr; None without a terminal or, as on a board, tqdm.

    Args:
        description: Shown before the bar.
        unit: What one item is called.
        length: ``total``, the number of items, or ``iterable``.
    """
    if sys.stderr is None or not sys.stderr.isatty():
        return None
    try:
        from tqdm import tqdm
    except ImportError:
        return None
    return tqdm(desc=description, unit=unit, leave=False, **length)


def progress_bar(
    items: Iterable[Item], description: str, *, unit: str = "it"
) -> Iterable[Item]:
    """Returns the items unchanged, with a bar while they are iterated over.

    Args:
        items: What to iterate over; a length gives the bar its end and time left.
        description: Shown before the bar.
        unit: What one item is called.
    """
    bar = open_bar(description, unit, iterable=items)
    return items if bar is None else bar


@contextmanager
def progress_counter(
    total: int, description: str, *, unit: str = "it"
) -> Iterator[Callable[[int], None]]:
    """Yields a function that advances a bar by a number of steps.

    Args:
        total: Steps to the end.
        description: Shown before the bar.
        unit: What one step is called.
    """
    bar = open_bar(description, unit, total=total)
    with nullcontext() if bar is None else bar:
        yield (lambda _: None) if bar is None else bar.update
