"""Messages to systemd: ready, alive, stopping (``sd_notify`` without a library).

The protocol is one datagram per message to the socket named in ``NOTIFY_SOCKET``; see
``man sd_notify`` and ``man sd_watchdog_enabled``. Without that variable nothing is
sent, so the same loop runs in a terminal.

The watchdog gets a message for **progress**, never for time alone. Each frame that was
processed is progress. So is each attempt to reopen a lost camera: an unplugged camera
is no reason to restart the process. A loop that hangs, in a library or in a lock, makes
no progress and is restarted; so is one whose camera is held by a call that hangs in the
driver (``LiveSource.stuck``), since reopening cannot succeed.
"""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import socket

logger = logging.getLogger(__name__)

# Of the watchdog's time; systemd advises at most half.
BEAT_FRACTION = 0.25
STATUS_EVERY_S = 10.0


class Notifier:
    """Reports a run to systemd; safe in any thread.

    Attributes:
        interval_s: Least time between two beats; None without a watchdog.

    Examples:
        >>> notifier = Notifier()      # reads NOTIFY_SOCKET and WATCHDOG_USEC
        >>> notifier.beat()            # after each frame; the first says READY=1
        >>> notifier.stopping()
    """

    def __init__(
        self,
        environment: Mapping[str, str] = os.environ,
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Opens the socket, where the environment names one."""
        self.interval_s = _interval(environment)
        self._clock = clock
        self._address = environment.get("NOTIFY_SOCKET", "")
        self._socket = _open(self._address)
        self._ready = False
        self._beaten_s = -float("inf")
        self._status = ""
        self._status_s = -float("inf")

    def beat(self) -> None:
        """Reports progress, after each frame; the first call reports ready."""
        if not self._ready:
            self._ready = True
            self._send("READY=1")
        self.still_trying()

    def still_trying(self) -> None:
        """Reports an attempt to reopen a lost camera."""
        if self.interval_s is None:
            return
        now = self._clock()
        if now - self._beaten_s >= self.interval_s:
            self._beaten_s = now
            self._send("WATCHDOG=1")

    def status(self, text: str) -> None:
        """Sets the line that ``systemctl status`` shows, at most every ten seconds."""
        now = self._clock()
        if text != self._status and now - self._status_s >= STATUS_EVERY_S:
            self._status, self._status_s = text, now
            self._send(f"STATUS={' '.join(text.split())}")

    def stopping(self) -> None:
        """Reports that the run is ending."""
        self._send("STOPPING=1")

    def close(self) -> None:
        """Closes the socket; later messages are dropped."""
        if self._socket:
            self._socket.close()
            self._socket = None

    def _send(self, message: str) -> None:
        if self._socket is None:
            return
        address = self._address
        if address.startswith("@"):  # an abstract socket: its name begins with zero
            address = "\0" + address[1:]
        try:
            self._socket.sendto(message.encode(), address)
        except OSError as error:  # nobody listens, or its queue is full
            logger.debug("cannot send %s to systemd: %s", message, error)


def _open(address: str) -> socket.socket | None:
    if not address.startswith(("/", "@")):
        return None
    import socket  # here: 5 ms that only a service needs

    opened = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC)
    opened.setblocking(False)  # a frame never waits for systemd
    return opened


def _interval(environment: Mapping[str, str]) -> float | None:
    """Returns the least seconds between beats; None without a watchdog."""
    microseconds = environment.get("WATCHDOG_USEC", "")
    ours = environment.get("WATCHDOG_PID", str(os.getpid())) == str(os.getpid())
    if not (ours and microseconds.isdecimal() and int(microseconds) > 0):
        return None
    return BEAT_FRACTION * int(microseconds) / 1e6
