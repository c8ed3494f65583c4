"""Ctrl-C, SIGTERM and SIGHUP end a run after the current frame; a fast exit."""

from __future__ import annotations

import logging
import math
import os
import signal
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from types import FrameType
from typing import Any, NoReturn

from edge_runtime.errors import INTERRUPTED_EXIT_CODE

ECHO_S = 0.5


@dataclass
class StopRequest:
    """The signal that ends a run.

    Attributes:
        signal: Number of the signal; None without one.
        signal_s: ``time.monotonic()`` at which it came.
    """

    signal: int | None = None
    signal_s: float = -math.inf

    @property
    def exit_code(self) -> int:
        """0, or 130 after Ctrl-C."""
        return INTERRUPTED_EXIT_CODE if self.signal == signal.SIGINT else 0


@contextmanager
def handle_signals() -> Iterator[StopRequest]:
    """Yields what a signal sets, so that a run ends with its files complete.

    The signals are Ctrl-C, SIGTERM, and SIGHUP, which comes when a terminal or SSH
    session ends: then nothing can be written there any more. ``nohup`` ignores it.

    A second Ctrl-C ends at once, but not within ``ECHO_S`` of the first: ``timeout -s
    INT`` signals the process and then its group.
    """
    stop = StopRequest()

    hang_up = getattr(signal, "SIGHUP", None)  # not on Windows
    terminals = [number for number in (1, 2) if os.isatty(number)]

    def request_stop(number: int, _: FrameType | None) -> None:
        if number == hang_up:
            _discard_output(terminals)
        if stop.signal is None:
            stop.signal, stop.signal_s = number, time.monotonic()
        elif time.monotonic() - stop.signal_s > ECHO_S:
            signal.signal(number, before[number])
            signal.raise_signal(number)

    if threading.current_thread() is not threading.main_thread():
        yield stop  # only the main thread may set handlers
        return
    numbers = [signal.SIGINT, signal.SIGTERM]
    if hang_up and signal.getsignal(hang_up) is not signal.SIG_IGN:
        numbers.append(hang_up)
    before: dict[int, Any] = {number: signal.getsignal(number) for number in numbers}
    for number in numbers:
        signal.signal(number, request_stop)
    try:
        yield stop
    finally:
        for number in numbers:
            signal.signal(number, before[number])


def _discard_output(descriptors: Sequence[int]) -> None:
    """Lets what is written from now on vanish, instead of raising an error."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    for descriptor in descriptors:
        os.dup2(nowhere, descriptor)
    os.close(nowhere)


def exit_now(code: int) -> NoReturn:
    """Ends this process with an exit code, its output written.

    Python would first unload itself and its libraries: that is most of the time from
    SIGTERM to the end, and a thread that hangs in a driver may crash it.
    """
    logging.shutdown()
    try:
        for stream in (sys.stdout, sys.stderr):
            if stream is not None:  # it is None where it was closed at the start
                stream.flush()
    except (OSError, ValueError):  # Python's own exit reports what is wrong
        sys.exit(code)
    os._exit(code)
