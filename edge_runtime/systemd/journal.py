"""The log of a run that lasts for months: levels for systemd, and no floods."""

from __future__ import annotations

import logging
import os
import threading
import time
from collections.abc import Callable, Mapping

WINDOW_S = 60.0
# Of one kind of message, whatever it names, in one window.
MOST_OF_A_KIND = 10
_MOST_KINDS = 256
# What journald takes for a level, at the beginning of a line (man sd-daemon).
_PRIORITIES = {
    logging.DEBUG: "<7>",
    logging.INFO: "<6>",
    logging.WARNING: "<4>",
    logging.ERROR: "<3>",
    logging.CRITICAL: "<2>",
}


class RateLimit(logging.Filter):
    """Lets the same message through once a minute, then says how often it came.

    Ten messages of one kind (the same text with other values) pass in a minute. The
    first that passes afterwards ends with the number of those that did not.
    """

    def __init__(
        self,
        *,
        window_s: float = WINDOW_S,
        most: int = MOST_OF_A_KIND,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Starts with an empty window.

        Args:
            window_s: Length of a window in seconds.
            most: Messages of one kind in a window.
            clock: Seconds that never go back.
        """
        super().__init__()
        self._window_s, self._most, self._clock = window_s, most, clock
        self._lock = threading.Lock()
        self._kinds: dict[tuple[str, int, str], _Kind] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        """Returns whether a record is to be written; may add a count to it."""
        with self._lock:  # the camera's thread logs, too
            return self._passes(record)

    def _passes(self, record: logging.LogRecord) -> bool:
        key = (record.name, record.levelno, str(record.msg))
        text, now = record.getMessage(), self._clock()
        kind = self._kinds.pop(key, None) or _Kind(now)
        self._kinds[key] = kind  # at the end: the oldest is the first to be forgotten
        if len(self._kinds) > _MOST_KINDS:
            del self._kinds[next(iter(self._kinds))]
        if now - kind.since >= self._window_s:
            held, self._kinds[key] = kind.held, _Kind(now, {text})
            if held:
                record.msg, record.args = f"{text} ({held} more like it before)", ()
            return True
        if text in kind.said or len(kind.said) >= self._most:
            kind.held += 1
            return False
        kind.said.add(text)
        return True


class _Kind:
    """What was said of one kind since the window began."""

    def __init__(self, since: float, said: set[str] | None = None) -> None:
        self.since, self.said, self.held = since, said or set(), 0


class JournalFormatter(logging.Formatter):
    """Puts the level where journald reads it; every line of a traceback has it."""

    def format(self, record: logging.LogRecord) -> str:
        """Returns a record as lines with a priority."""
        priority = _PRIORITIES.get(record.levelno, "<6>")
        lines = super().format(record).splitlines()
        return "\n".join(f"{priority}{line}" for line in lines)


def _is_journal(stream: str) -> bool:
    """Returns whether stderr is what ``JOURNAL_STREAM`` names: device:inode.

    That variable alone, and INVOCATION_ID, is inherited by every shell of a desktop;
    see man systemd.exec.
    """
    try:
        found = os.fstat(2)
    except OSError:  # closed
        return False
    return stream == f"{found.st_dev}:{found.st_ino}"


def set_up_logging(environment: Mapping[str, str] = os.environ) -> None:
    """Sends the log to stderr: warnings in a terminal, information too in a service.

    Args:
        environment: systemd sets ``JOURNAL_STREAM`` where it connects the journal.
    """
    service = _is_journal(environment.get("JOURNAL_STREAM", ""))
    handler = logging.StreamHandler()
    handler.addFilter(RateLimit())
    handler.setFormatter(
        JournalFormatter("%(message)s")
        if service
        else logging.Formatter("%(levelname)s: %(message)s")
    )
    level = logging.INFO if service else logging.WARNING
    logging.basicConfig(level=level, handlers=[handler])
