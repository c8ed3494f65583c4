"""Files that are either complete or not there."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from edge_runtime.errors import OutputError

TEMPORARY = ".partly-written-"

LEFT_S = 600.0  # a file that nobody has written to for so long was left


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Yields a temporary path beside ``path`` that takes its place when all went well.

    All suffixes are kept (libraries choose the format by them). On an error in the
    body the temporary file is removed, an older file at ``path`` is untouched, and the
    error goes on as it is.

    Raises:
        OutputError: The folder cannot be written, or ``path`` not be replaced.
    """
    _remove_older(path)
    temporary = _temporary_beside(path)
    try:
        yield temporary
        try:
            temporary.replace(path)
        except OSError as error:
            raise _cannot_write(path, error) from error
    finally:
        temporary.unlink(missing_ok=True)


def remove_leftovers(folder: Path) -> None:
    """Removes temporary files that a killed process left in a folder."""
    for left in folder.glob(f"{TEMPORARY}*"):
        left.unlink(missing_ok=True)


def _remove_older(path: Path) -> None:
    """Removes what killed processes left of this file, but not what one writes now."""
    import glob  # as below

    mine = f"{TEMPORARY}*-{glob.escape(path.name)}"
    for left in path.parent.glob(mine):
        with contextlib.suppress(OSError):
            aged = time.time() - left.stat().st_mtime > LEFT_S
            # No lock on it tells: HDF5 would not write to a file that has one.
            number = left.name.removeprefix(TEMPORARY).partition("-")[0]
            if aged and not (number.isdecimal() and _is_another_alive(int(number))):
                left.unlink(missing_ok=True)


def _is_another_alive(pid: int) -> bool:
    """Returns whether there is such a process, and it is not this one."""
    if pid == os.getpid():  # in a container the one before had the same number
        return False
    try:
        os.kill(pid, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except PermissionError:
        return True
    return True


def _temporary_beside(path: Path) -> Path:
    import tempfile  # here: a run that writes no file need not wait for it

    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(
            suffix="-" + path.name,
            prefix=f"{TEMPORARY}{os.getpid()}-",
            dir=path.parent,
        )
        os.close(handle)
        # mkstemp makes files for the owner alone; give what open() would have given.
        umask = os.umask(0)
        os.umask(umask)
        Path(name).chmod(0o666 & ~umask)
    except OSError as error:
        raise _cannot_write(path, error) from error
    return Path(name)


def _cannot_write(path: Path, error: OSError) -> OutputError:
    return OutputError(f"cannot write {str(path)!r}: {error.strerror or error}")


def write_text(path: Path, text: str) -> None:
    """Writes a text file (UTF-8), complete or not at all."""
    write_bytes(path, text.encode())


def write_bytes(path: Path, data: bytes) -> None:
    """Writes a binary file, complete or not at all."""
    with replacing(path) as temporary:
        try:
            temporary.write_bytes(data)
        except OSError as error:  # the disk is full
            raise _cannot_write(path, error) from error


LONGEST = 1024


def read_secret(path: Path, flag: str, *, shortest: int = 1) -> str:
    """Returns the first line of a file.

    Args:
        path: UTF-8 text.
        flag: What asked for it, for messages.
        shortest: Least number of characters.

    Raises:
        OutputError: It cannot be read or is no such line; never with its content.
    """
    try:
        with path.open("rb") as file:
            text = file.read(LONGEST + 2).decode()
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "it is not UTF-8 text"
        raise OutputError(f"cannot read {flag} {str(path)!r}: {reason}") from None
    secret = (text.splitlines() or [""])[0].strip()
    if not shortest <= len(secret) <= LONGEST or not secret.isprintable():
        raise OutputError(
            f"expected {shortest} to {LONGEST} characters on the first line of"
            f" {flag} {str(path)!r}, got {len(secret)}: make one with  python -c"
            ' "import secrets; print(secrets.token_urlsafe(24))"'
        )
    return secret
