"""Lines of text written to standard output, or to the end of a file."""

from __future__ import annotations

import errno
import os
import stat
import sys
from contextlib import suppress
from pathlib import Path

from edge_runtime.errors import OutputError
from edge_runtime.utils.files import PRIVATE_MODE, warn_if_public


class Stdout:
    """Standard output, without Python's buffer and its lock.

    A thread that waits in a full pipe would hold that lock, and Python could not end.
    """

    def __init__(self) -> None:
        self._stream = sys.stdout
        self._descriptor: int | None = None
        if sys.stdout is None:  # closed at the start: print writes nothing
            return
        try:
            sys.stdout.flush()
            self._descriptor = sys.stdout.fileno()
        except OSError:  # replaced by another object, as in a notebook
            pass

    def write(self, line: str, end: str = "\n") -> None:
        """Writes one line, and what follows it.

        Raises:
            BrokenPipeError: The reader has closed the pipe.
        """
        if self._descriptor is None:
            print(line, file=self._stream, end=end, flush=True)
        else:
            _write_all(self._descriptor, line + end)


class AppendedFile:
    """A file that grows at its end, and is opened anew after it was moved away.

    ``logrotate`` may move or truncate it at any time. If the disk is full, the part of
    a line that was written is removed again, so that a line is whole or absent.
    """

    def __init__(
        self,
        path: Path,
        *,
        start: str,
        header: str = "",
        replace: bool = False,
        retry: bool = False,
    ) -> None:
        """Opens or creates it.

        Args:
            path: In a folder that exists.
            start: What an existing file must begin with.
            header: First line of a new file.
            replace: Empty an existing file first.
            retry: If the disk is full, do not raise: ``write`` raises until there is
                space.

        Raises:
            OutputError: It cannot be written, or begins with something else.
        """
        self._path, self._header = path, header
        self._descriptor, self._regular = -1, False
        try:
            self._open(os.O_TRUNC if replace else 0)
            self._check_start(start)
            self._begin_line()
            warn_if_public(path, "the file of results")
        except OSError as error:
            if retry and error.errno in (errno.ENOSPC, errno.EDQUOT):
                return
            raise OutputError(
                f"cannot write {str(path)!r}: {error.strerror}"
            ) from error

    def write(self, line: str) -> None:
        """Writes one line.

        Raises:
            OSError: It cannot be written now, and no part of it was.
        """
        if self._moved():
            self.close()
            self._open()
            self._begin_line()
        elif self._regular and not os.fstat(self._descriptor).st_size:  # truncated
            self._begin_line()
        self._write_whole(line)

    def close(self) -> None:
        """Closes it."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
        self._descriptor = -1

    def _open(self, extra_flags: int = 0) -> None:
        flags = os.O_RDWR | os.O_APPEND | os.O_CREAT | extra_flags
        self._descriptor = os.open(self._path, flags, PRIVATE_MODE)
        self._regular = stat.S_ISREG(os.fstat(self._descriptor).st_mode)

    def _begin_line(self) -> None:
        """Writes the header of an empty file; ends a line that was cut off."""
        size = os.fstat(self._descriptor).st_size
        try:
            if not size and self._header:
                self._write_whole(self._header)
            elif size and os.pread(self._descriptor, 1, size - 1) != b"\n":
                self._write_whole("")  # the process or the power ended in that line
        except OSError:
            self.close()  # else the next line would have no header before it
            raise

    def _write_whole(self, line: str) -> None:
        size = os.fstat(self._descriptor).st_size
        try:
            _write_all(self._descriptor, f"{line}\n")
        except OSError:
            with suppress(OSError):
                os.ftruncate(self._descriptor, size)
            raise

    def _check_start(self, start: str) -> None:
        if not self._regular:
            return  # such as a named pipe
        expected = _encode(start)
        found = os.pread(self._descriptor, len(expected), 0)
        if found and found != expected:
            self.close()
            raise OutputError(
                f"expected {str(self._path)!r} to be new or to begin with {start!r},"
                " as the lines that are added to it: give --force to replace it, or"
                " another name"
            )

    def _moved(self) -> bool:
        if self._descriptor < 0:
            return True
        try:
            there = self._path.stat()
        except FileNotFoundError:
            return True
        here = os.fstat(self._descriptor)
        return (there.st_dev, there.st_ino) != (here.st_dev, here.st_ino)


def _encode(text: str) -> bytes:
    """Returns UTF-8; bytes of a file name that are none are escaped, as in JSON."""
    return text.encode(errors="backslashreplace")


def _write_all(descriptor: int, text: str) -> None:
    data = memoryview(_encode(text))
    while data:
        data = data[os.write(descriptor, data) :]
