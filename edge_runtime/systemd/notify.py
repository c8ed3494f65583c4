"""What systemd is told: ready, still alive, stopping (``sd_notify``, no library).

The protocol is one datagram per message to the socket named in ``NOTIFY_SOCKET``; see
``man sd_notify`` and ``man sd_watchdog_enabled``. Without that variable nothing is
sent, so the same loop runs in a terminal.

The watchdog hears of **progress**, never of time alone. A frame that was answered is
progress. So is each attempt to open a lost camera again: a camera that is unplugged is
no reason to kill a process that is doing all it can. A loop that hangs, in a library or
in a lock, makes neither, and is restarted. So is one whose camera is held by a
call that hangs in the driver (``LiveSource.stuck``): no attempt of its own can succeed.
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

# systemd advises half; a beat is sent with the frame after this part of the time.
BEAT_FRACTION = 0.25
STATUS_EVERY_S = 10.0


class Notifier:
    """Tells systemd how a run is doing; safe to call from several threads.

    Attributes:
        interval_s: Least time between two beats; None where no watchdog was asked for.

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
        """Opens the socket, where there is one.

        Args:
            environment: Where ``NOTIFY_SOCKET``, ``WATCHDOG_USEC`` and
                ``WATCHDOG_PID`` are.
            clock: Seconds that never go back, whatever happens to the time of day.
        """
        self.interval_s = _interval(environment)
        self._clock = clock
        self._address = environment.get("NOTIFY_SOCKET", "")
        self._socket = _open(self._address)
        self._ready = False
        self._beaten_s = -float("inf")
        self._status = ""
        self._status_s = -float("inf")

    def ready(self) -> None:
        """Says once that the service has started."""
        if not self._ready:
            self._ready = True
            self._send("READY=1")

    def beat(self) -> None:
        """Says that the work goes on: after each frame. The first one means ready."""
        self.ready()
        self.still_trying()

    def still_trying(self) -> None:
        """Says that an attempt was made to get a lost camera back."""
        if self.interval_s is None:
            return
        now = self._clock()
        if now - self._beaten_s >= self.interval_s:
            self._beaten_s = now
            self._send("WATCHDOG=1")

    def status(self, text: str) -> None:
        """Sets the line that ``systemctl status`` shows; often is cheap.

        Args:
            text: One line; sent when it changed, at most every ten seconds.
        """
        now = self._clock()
        if text != self._status and now - self._status_s >= STATUS_EVERY_S:
            self._status, self._status_s = text, now
            self._send(f"STATUS={' '.join(text.split())}")

    def stopping(self) -> None:
        """Says that the run is ending on its own accord."""
        self._send("STOPPING=1")

    def close(self) -> None:
        """Closes the socket; whatever is said afterwards goes nowhere."""
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
            logger.debug("systemd was not told %s: %s", message, error)


def _open(address: str) -> socket.socket | None:
    if not address.startswith(("/", "@")):
        return None
    import socket  # only a service has use for it: 5 ms

    opened = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC)
    opened.setblocking(False)  # a frame never waits for systemd
    return opened


def _interval(environment: Mapping[str, str]) -> float | None:
    """Returns the least seconds between beats, None where no watchdog waits for us."""
    microseconds = environment.get("WATCHDOG_USEC", "")
    ours = environment.get("WATCHDOG_PID", str(os.getpid())) == str(os.getpid())
    if not (ours and microseconds.isdecimal() and int(microseconds) > 0):
        return None
    return BEAT_FRACTION * int(microseconds) / 1e6
