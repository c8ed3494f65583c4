"""Reads files that others may have put there: whatever is at the path, it ends soon.

Every file whose content is not our own comes through here. It must be a regular file
(a named pipe would block for ever, a device may do anything), it has a bound in bytes,
and JSON has one for its depth, too.
"""

from __future__ import annotations

import errno
import json
import os
import stat
from pathlib import Path
from typing import Any

MAX_JSON_BYTES = 64 * 2**20
MAX_JSON_DEPTH = 64

# Descriptors that the caller passed on, as in  --token-file <(pass show camera): what
# is behind them was not put there by others.
_OWN_DESCRIPTORS = (Path("/dev/fd"), Path("/proc/self/fd"))
_STDIN = Path("/dev/stdin")
_FLAGS = os.O_RDONLY | os.O_CLOEXEC | getattr(os, "O_NOCTTY", 0)


def read_bounded(path: Path, max_bytes: int) -> bytes:
    """Returns all bytes of a regular file; never blocks, never reads more.

    Args:
        path: Links are followed.
        max_bytes: A larger file is an error, before anything of it is read.

    Raises:
        OSError: It is missing, unreadable, no regular file, or too large; ``strerror``
            is the reason, to be shown.
    """
    if path.parent in _OWN_DESCRIPTORS or path == _STDIN:
        with path.open("rb") as file:
            data = file.read(max_bytes + 1)
        if len(data) > max_bytes:
            raise _too_large(len(data), max_bytes, path)
        return data
    # Before it is opened, too: opening a device may do something.
    _require_regular(path.stat(), path)
    descriptor = os.open(path, _FLAGS | os.O_NONBLOCK)
    try:
        status = os.fstat(descriptor)
        _require_regular(status, path)
        if status.st_size > max_bytes:
            raise _too_large(status.st_size, max_bytes, path)
        size = status.st_size or max_bytes  # the kernel's own files claim 0
        with os.fdopen(descriptor, "rb", closefd=False) as file:
            data = file.read(size + 1)
        if len(data) > size:
            raise OSError(errno.EFBIG, "it grew while it was read", str(path))
        return data
    finally:
        os.close(descriptor)


def require_regular(path: Path) -> None:
    """Refuses what a library that opens files by their names would wait for.

    Raises:
        OSError: As ``read_bounded``.
    """
    _require_regular(path.stat(), path)


def read_json(path: Path, max_bytes: int = MAX_JSON_BYTES) -> Any:
    """Returns the document in a JSON file (UTF-8).

    Raises:
        OSError: As ``read_bounded``.
        ValueError: It is no JSON, or is nested too deeply.
    """
    return parse_json(read_bounded(path, max_bytes))


def parse_json(text: bytes | str) -> Any:
    """Returns the document in a JSON text.

    Raises:
        ValueError: It is no JSON, no UTF-8, or is nested more than ``MAX_JSON_DEPTH``
            times: what works on it further may recurse.
    """
    try:
        document = json.loads(text)
    except RecursionError as error:
        raise _too_deep() from error
    level = [document]
    for _ in range(MAX_JSON_DEPTH):
        level = [
            inner
            for outer in level
            if isinstance(outer, dict | list)
            for inner in (outer.values() if isinstance(outer, dict) else outer)
        ]
        if not level:
            return document
    raise _too_deep()


def _require_regular(status: os.stat_result, path: Path) -> None:
    if stat.S_ISDIR(status.st_mode):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
    if not stat.S_ISREG(status.st_mode):
        raise OSError(errno.EINVAL, "it is no regular file", str(path))


def _too_large(size: int, max_bytes: int, path: Path) -> OSError:
    reason = f"expected at most {max_bytes} bytes, got {size}"
    return OSError(errno.EFBIG, reason, str(path))


def _too_deep() -> ValueError:
    return ValueError(f"it is nested more than {MAX_JSON_DEPTH} levels deep")
