"""Logging for a service: systemd's levels, and a limit on repeated messages."""

from __future__ import annotations

import logging
import os
import threading
import time
from collections.abc import Callable, Mapping
from typing import Any

from edge_runtime.untrusted import one_line

WINDOW_S = 60.0
MAX_PER_WINDOW = 10  # of one format string, whatever its values
_MAX_KINDS = 256
# Prefixes by which journald knows the level of a line (man sd-daemon).
_PRIORITIES = {
    logging.DEBUG: "<7>",
    logging.INFO: "<6>",
    logging.WARNING: "<4>",
    logging.ERROR: "<3>",
    logging.CRITICAL: "<2>",
}


class RateLimit(logging.Filter):
    """Passes the same message once in a minute, and reports how many were dropped.

    Ten messages of one kind (the same format string with other values) pass in a
    minute. The first one after that minute ends with the number of dropped ones.
    """

    def __init__(self, *, clock: Callable[[], float] = time.monotonic) -> None:
        super().__init__()
        self._clock = clock
        self._lock = threading.Lock()
        self._kinds: dict[tuple[str, int, str], _Kind] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        """Returns whether to write a record; may add a count to it."""
        with self._lock:  # other threads log, too
            return self._passes(record)

    def _passes(self, record: logging.LogRecord) -> bool:
        key = (record.name, record.levelno, str(record.msg))
        text, now = record.getMessage(), self._clock()
        kind = self._kinds.pop(key, None) or _Kind(now)
        self._kinds[key] = kind  # moved to the end: the oldest is removed first
        if len(self._kinds) > _MAX_KINDS:
            del self._kinds[next(iter(self._kinds))]
        if now - kind.since >= WINDOW_S:
            dropped, self._kinds[key] = kind.dropped, _Kind(now, {text})
            if dropped:
                record.msg = "%s (%d more like it before)"
                record.args = (text, dropped)
            return True
        if text in kind.texts or len(kind.texts) >= MAX_PER_WINDOW:
            kind.dropped += 1
            return False
        kind.texts.add(text)
        return True


class _Kind:
    """The messages of one kind since its window began."""

    def __init__(self, since: float, texts: set[str] | None = None) -> None:
        self.since, self.texts, self.dropped = since, texts or set(), 0


class LineFormatter(logging.Formatter):
    """Writes each message on one line: the name of a file may hold line breaks.

    Neither they nor a terminal's escape sequences may forge what others read in the
    log. Tracebacks keep their own lines.
    """

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802
        """Returns the line of a record, control characters escaped."""
        record.message = one_line(record.message)
        return super().formatMessage(record)

    def formatException(self, ei: Any) -> str:  # noqa: N802
        """Returns a traceback, control characters in its lines escaped."""
        return "\n".join(map(one_line, super().formatException(ei).split("\n")))


class JournalFormatter(LineFormatter):
    """Prefixes each line, also of a traceback, with its level for journald."""

    def format(self, record: logging.LogRecord) -> str:
        """Returns a record as lines with their priority."""
        priority = _PRIORITIES.get(record.levelno, "<6>")
        lines = super().format(record).splitlines()
        return "\n".join(f"{priority}{line}" for line in lines)


def _is_journal(stream: str) -> bool:
    """Returns whether stderr is what ``JOURNAL_STREAM`` names (device:inode).

    That the variable is set proves nothing: every shell of a desktop inherits it
    (man systemd.exec).
    """
    try:
        stderr = os.fstat(2)
    except OSError:  # closed
        return False
    return stream == f"{stderr.st_dev}:{stderr.st_ino}"


def set_up_logging(environment: Mapping[str, str] = os.environ) -> None:
    """Sends the log to stderr: warnings in a terminal, and information in a service.

    systemd sets ``JOURNAL_STREAM`` where it connects the journal.
    """
    service = _is_journal(environment.get("JOURNAL_STREAM", ""))
    handler = logging.StreamHandler()
    handler.addFilter(RateLimit())
    handler.setFormatter(
        JournalFormatter("%(message)s")
        if service
        else LineFormatter("%(levelname)s: %(message)s")
    )
    level = logging.INFO if service else logging.WARNING
    logging.basicConfig(level=level, handlers=[handler])
