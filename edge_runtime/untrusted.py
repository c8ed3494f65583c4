"""What others may have written: files, JSON and text, each with its bounds.

Every file whose content is not our own comes through here: it must be a regular file (a
named pipe would block for ever, a device may do anything), it has a bound in bytes, and
JSON has one for its depth, too.

A file name, a label or a value of a configuration may hold a line break, a terminal's
escape sequence or a character that turns the direction of the text. Where a value must
be right, such text is refused; where it is only shown, it is escaped.
"""

from __future__ import annotations

import errno
import json
import os
import re
import stat
from io import BufferedReader
from pathlib import Path
from typing import IO, Any

MAX_JSON_DEPTH = 64
PART_BYTES = 64 * 1024

# Descriptors that the caller passed on, as in  --token-file <(pass show camera): what
# is behind them was not put there by others.
_OWN_DESCRIPTORS = (Path("/dev/fd"), Path("/proc/self/fd"))
_STDIN = Path("/dev/stdin")
# Not on Windows, which has neither such pipes nor terminals in folders.
_FLAGS = getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_NOCTTY", 0)

# Unicode categories: control, format (such as U+202E), surrogate (bytes that are no
# UTF-8), line and paragraph separator.
_CONTROL = frozenset(("Cc", "Cf", "Cs", "Zl", "Zp"))
# Format characters that words are written with: the joiners of Persian, Kurdish, Indic
# scripts and emoji, the soft hyphen, and the signs around numbers and verses.
_OF_WORDS = frozenset(
    "\u200c\u200d\u00ad\u0600\u0601\u0602\u0603\u0604\u0605\u06dd\u070f\u0890\u0891"
    "\u08e2\U000110bd\U000110cd"
)

# At the start of a cell, also where the semicolon separates cells: in spreadsheets of
# languages whose decimal sign is the comma. The second half is full-width.
_FORMULA = re.compile(r"""(^|;)(?=[\s"]*[=+\-@\uff1d\uff0b\uff0d\uff20])""")


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
            return _read_parts(file, max_bytes, path)
    with open_regular(path) as file:
        size = os.fstat(file.fileno()).st_size
        if size > max_bytes:
            raise _too_large(size, max_bytes, path)
        if size == 0:  # the kernel's own files claim it, too
            return _read_parts(file, max_bytes, path)
        data = file.read(size + 1)
    if len(data) > size:
        raise OSError(errno.EFBIG, "it grew while it was read", str(path))
    return data


def open_regular(path: Path) -> BufferedReader:
    """Returns an open regular file; never blocks.

    Args:
        path: Links are followed.

    Raises:
        OSError: It is missing, unreadable or no regular file.
    """
    # Before it is opened, too: opening a device may do something.
    _require_regular(path.stat(), path)
    file = open(path, "rb", opener=_open_at_once)  # noqa: SIM115 -- returned
    try:
        _require_regular(os.fstat(file.fileno()), path)
    except OSError:
        file.close()
        raise
    return file


def require_regular(path: Path) -> None:
    """Refuses what a library that opens files by their names would wait for.

    Raises:
        OSError: As ``read_bounded``.
    """
    _require_regular(path.stat(), path)


def read_json(path: Path, max_bytes: int) -> Any:
    """Returns the document in a JSON file (UTF-8).

    Args:
        path: Links are followed.
        max_bytes: A larger file is an error. What is parsed may take 25 times as much
            memory.

    Raises:
        OSError: As ``read_bounded``.
        ValueError: It is not JSON, or is nested too deeply.
    """
    return parse_json(read_bounded(path, max_bytes))


def parse_json(text: bytes | str) -> Any:
    """Returns the document in a JSON text.

    Raises:
        ValueError: It is not JSON or UTF-8, or is nested more than ``MAX_JSON_DEPTH``
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


def has_control(text: str) -> bool:
    """Returns whether a text has characters that control instead of showing."""
    if text.isascii() and text.isprintable():
        return False
    from unicodedata import category  # here: seldom needed

    return any(
        category(character) in _CONTROL and character not in _OF_WORDS
        for character in text
    )


def refuse_control(text: str, what: str, error: type[Exception]) -> str:
    """Returns the text if all of it shows.

    Args:
        text: From a user, a file or the network.
        what: Its name in the message, such as ``"a path"``.
        error: What is raised.

    Raises:
        Exception: ``error``, if a control character is in the text.
    """
    if has_control(text):
        raise error(
            f"expected {what} without line breaks and other control characters, got"
            f" {text[:200]!a}"
        )
    return text


def one_line(text: str) -> str:
    r"""Returns a text with control characters escaped, as ``\n`` or ``\x1b``."""
    if not has_control(text):
        return text
    return "".join(
        ascii(character)[1:-1] if has_control(character) else character
        for character in text
    )


def _open_at_once(path: str, flags: int) -> int:
    return os.open(path, flags | _FLAGS)


def _read_parts(file: IO[bytes], max_bytes: int, path: Path) -> bytes:
    """Returns what a file of unknown size holds: ``read(n)`` reserves n bytes first."""
    data = bytearray()
    while part := file.read(min(PART_BYTES, max_bytes + 1 - len(data))):
        data += part
    if len(data) > max_bytes:
        raise _too_large(len(data), max_bytes, path)
    return bytes(data)


def _require_regular(status: os.stat_result, path: Path) -> None:
    if stat.S_ISDIR(status.st_mode):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
    if not stat.S_ISREG(status.st_mode):
        raise OSError(errno.EINVAL, "it is not a regular file", str(path))


def _too_large(size: int, max_bytes: int, path: Path) -> OSError:
    reason = f"expected at most {max_bytes} bytes, got {size}"
    return OSError(errno.EFBIG, reason, str(path))


def _too_deep() -> ValueError:
    return ValueError(f"it is nested more than {MAX_JSON_DEPTH} levels deep")


def spreadsheet_cell(text: str) -> str:
    """Returns a label or name that stays text in a spreadsheet, and on its line.

    Spreadsheets take ``=HYPERLINK(...)`` for a formula, also inside quotes; an
    apostrophe before it makes it text (OWASP, CSV injection).
    """
    return _FORMULA.sub(r"\1'", one_line(text))
