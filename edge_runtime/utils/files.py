"""Files that are written completely or not at all, and secrets read from files."""

from __future__ import annotations

import contextlib
import logging
import os
import stat
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from edge_runtime.errors import OutputError
from edge_runtime.untrusted import read_bounded

logger = logging.getLogger(__name__)

TEMPORARY = ".partly-written-"
# Of what is said about people: not for every user of the machine.
PRIVATE_MODE = 0o640

LEFTOVER_AGE_S = 600.0  # a temporary file not written to for so long is abandoned


@contextmanager
def replacing(path: Path, *, mode: int = 0o666) -> Iterator[Path]:
    """Yields a temporary path beside ``path``, and renames it to ``path`` at the end.

    The name keeps its suffixes, since libraries choose the format by them. On an error
    in the body the temporary file is removed, an older file at ``path`` is untouched,
    and the error propagates.

    Args:
        path: The file.
        mode: Its permissions, before the umask.

    Raises:
        OutputError: The folder cannot be written, or ``path`` cannot be replaced.
    """
    _remove_abandoned(path)
    temporary = _temporary_beside(path, mode)
    try:
        yield temporary
        try:
            temporary.replace(path)
        except OSError as error:
            raise _cannot_write(path, error) from error
    finally:
        temporary.unlink(missing_ok=True)


def real_path(path: Path | str) -> Path:
    """Returns a path absolute and with its links followed.

    Unlike ``Path.resolve`` it raises nothing where links lead round in a circle.
    """
    return Path(os.path.realpath(path))


def remove_leftovers(folder: Path) -> None:
    """Removes temporary files that a killed process left in a folder."""
    for path in folder.glob(f"{TEMPORARY}*"):
        path.unlink(missing_ok=True)


def _remove_abandoned(path: Path) -> None:
    """Removes what killed processes left of this file; not what is being written."""
    import glob  # here, as below

    pattern = f"{TEMPORARY}*-{glob.escape(path.name)}"
    for leftover in path.parent.glob(pattern):
        with contextlib.suppress(OSError):
            old = time.time() - leftover.stat().st_mtime > LEFTOVER_AGE_S
            # By process number, not by a lock: HDF5 cannot write to a locked file.
            number = leftover.name.removeprefix(TEMPORARY).partition("-")[0]
            if old and not (number.isdecimal() and _is_other_process(int(number))):
                leftover.unlink(missing_ok=True)


def _is_other_process(pid: int) -> bool:
    """Returns whether another process than this one has this number."""
    if pid == os.getpid():  # in a container, the previous process had it, too
        return False
    try:
        os.kill(pid, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except PermissionError:
        return True
    return True


def _temporary_beside(path: Path, mode: int) -> Path:
    import tempfile  # here: a run that writes no file need not wait for it

    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(
            suffix="-" + path.name, prefix=f"{TEMPORARY}{os.getpid()}-", dir=path.parent
        )
        os.close(handle)
        # mkstemp creates files for the owner alone; set the mode that open() would.
        umask = os.umask(0)
        os.umask(umask)
        Path(name).chmod(mode & ~umask)
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


def warn_if_public(path: Path, flag: str) -> None:
    """Logs a warning where every user of the machine may read a file."""
    with contextlib.suppress(OSError):
        mode = path.stat().st_mode
        if os.name == "posix" and stat.S_ISREG(mode) and mode & stat.S_IROTH:
            told = "%s %s can be read by every user of this machine: run  chmod o-r"
            logger.warning(told, flag, path)


MAX_SECRET_LENGTH = 1024
MAX_SECRET_FILE_BYTES = 64 * 1024


def read_secret(path: Path, flag: str, *, min_length: int = 1) -> str:
    """Returns the first line of a file.

    Args:
        path: UTF-8 text.
        flag: The flag that names the file, for messages.
        min_length: Least number of characters.

    Raises:
        OutputError: It cannot be read, or the line is not such a text; the message
            never contains it.
    """
    try:
        # Editors of Windows put a mark before the text.
        text = read_bounded(path, MAX_SECRET_FILE_BYTES).decode("utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "it is not UTF-8 text"
        raise OutputError(f"cannot read {flag} {str(path)!r}: {reason}") from None
    secret = (text.splitlines() or [""])[0].strip()
    if not min_length <= len(secret) <= MAX_SECRET_LENGTH or not secret.isprintable():
        odd = "" if secret.isprintable() else ", control characters among them"
        raise OutputError(
            f"expected {min_length} to {MAX_SECRET_LENGTH} characters on the first line"
            f" of {flag} {str(path)!r}, got {len(secret)}{odd}: write it there, or make"
            ' a new one with  python -c "import secrets;'
            ' print(secrets.token_urlsafe(24))"'
        )
    warn_if_public(path, flag)
    return secret
