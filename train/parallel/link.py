"""Messages between the processes that train together: a line of JSON each."""

from __future__ import annotations

import contextlib
import json
import select
import socket
import time
from collections.abc import Mapping
from typing import Any

from edge_runtime.errors import ConfigError, FerEdgeError
from edge_runtime.untrusted import one_line, parse_json
from train.parallel.place import LOOPBACK, Place

Message = dict[str, Any]
PROTOCOL = "fer-edge/parallel/1"
MAX_MESSAGE_BYTES = 16 * 2**20  # the history of a run is the largest
RETRY_S = 0.5
HELLO_S = 10.0  # for the first line of whoever connects

# Why there are no more messages, and what to do where process 0 has sent no answer.
ENDED = "has ended without a word"
SILENT = "has not answered in time"
FOREIGN = "has sent what is no message of a training"
ADVICE = {
    ENDED: "see its error",
    SILENT: "it waits for others longer than --join-timeout here, or hangs",
    FOREIGN: "does another program have this port?",
}


class Link:
    """A connection to another process.

    Attributes:
        name: The other one, for people.
        heard_s: ``time.monotonic()`` of its last message.
        left: It has said that it needs the others no more.
        end: Why ``receive`` has returned None, as in "process 1 has ended".
    """

    def __init__(self, connection: socket.socket, name: str = "") -> None:
        """Takes a connected socket."""
        self._connection, self._read = connection, bytearray()
        self.name, self.left, self.end = name, False, ""
        self.heard_s = time.monotonic()

    def fileno(self) -> int:
        """Returns the descriptor, for ``selectors``."""
        return self._connection.fileno()

    def send(self, message: Mapping[str, Any]) -> None:
        """Sends a message; one that does not arrive is noticed when it is read."""
        with contextlib.suppress(OSError):
            self._connection.sendall(json.dumps(message).encode() + b"\n")

    def receive(self, timeout_s: float | None = None) -> list[Message] | None:
        """Returns the messages that have come, after waiting for some bytes; None at
        the end of the connection, or where nothing came in time.
        """
        self._connection.settimeout(timeout_s)
        self.end = ENDED
        try:
            read = self._connection.recv(2**16)
        except TimeoutError:
            self.end = SILENT
            return None
        except OSError:
            return None
        finally:
            with contextlib.suppress(OSError):
                self._connection.settimeout(None)
        if not read:
            return None
        self.end = FOREIGN
        self._read += read
        if len(self._read) > MAX_MESSAGE_BYTES:
            return None
        self.heard_s = time.monotonic()
        *lines, rest = bytes(self._read).split(b"\n")
        self._read = bytearray(rest)
        try:
            messages = [parse_json(line) for line in lines]
        except ValueError:
            return None
        return messages if all(isinstance(each, dict) for each in messages) else None

    def close(self, wait_s: float = 0.0) -> None:
        """Ends the connection, after the other one has read all, or some time."""
        with contextlib.suppress(OSError):
            self._connection.shutdown(socket.SHUT_WR)
            deadline = time.monotonic() + wait_s
            while wait_s and (left_s := deadline - time.monotonic()) > 0:
                self._connection.settimeout(left_s)
                if not self._connection.recv(2**16):
                    break
        self._connection.close()


def join(place: Place, timeout_s: float) -> dict[int, Link]:
    """Returns the links of a process: of process 0 to all, of the others to process 0.

    Args:
        place: Which process this is.
        timeout_s: Seconds to wait for the others.

    Raises:
        FerEdgeError: They are not all there in time, or do not fit together.
    """
    deadline = time.monotonic() + timeout_s
    if place.process:
        return {0: _connect(place, deadline, timeout_s)}
    return _accept(place, deadline, timeout_s)


def _connect(place: Place, deadline: float, timeout_s: float) -> Link:
    where = f"{place.host}:{place.port}"
    while True:
        try:
            left_s = max(RETRY_S, deadline - time.monotonic())
            found = socket.create_connection((place.host, place.port), left_s)
            break
        except OSError as error:
            if time.monotonic() + RETRY_S > deadline:
                raise FerEdgeError(
                    f"process 0 is not at {where} ({error.strerror or error}), after"
                    f" {timeout_s:.0f} s: start it there, with the same --coordinator"
                ) from error
            time.sleep(RETRY_S)
    link = Link(found, f"process 0 ({place.host})")
    link.send(
        {
            "protocol": PROTOCOL,
            "process": place.process,
            "processes": place.processes,
            "host": socket.gethostname(),
        }
    )
    # Process 0 gives up first, and says why.
    answer = link.receive(max(0.0, deadline - time.monotonic()) + HELLO_S)
    if answer and answer[0].get("joined") is True:
        return link
    link.close()
    reason = f"process 0 at {where} {link.end}: {ADVICE[link.end]}"
    if answer:
        reason = str(answer[0].get("refused", reason))
    raise FerEdgeError(one_line(reason))


def _accept(place: Place, deadline: float, timeout_s: float) -> dict[int, Link]:
    links: dict[int, Link] = {}
    with _listen(place) as server:
        while len(links) < place.processes - 1:
            server.settimeout(max(0.01, deadline - time.monotonic()))
            try:
                connection, (host, *_) = server.accept()
            except TimeoutError:
                _give_up(place, links, timeout_s)
            left_s = min(HELLO_S, max(0.01, deadline - time.monotonic()))
            _welcome(place, Link(connection, host), links, left_s)
            _drop_gone(links)
    for link in links.values():
        link.send({"joined": True})
    return links


def _listen(place: Place) -> socket.socket:
    try:
        if place.host == LOOPBACK:
            return socket.create_server((LOOPBACK, place.port))
        if socket.has_dualstack_ipv6():
            return socket.create_server(
                ("", place.port), family=socket.AF_INET6, dualstack_ipv6=True
            )
        return socket.create_server(("", place.port))
    except OSError as error:
        raise ConfigError(
            f"cannot listen at port {place.port} ({error.strerror}): choose another"
            " one in --coordinator, on every machine"
        ) from error


def _welcome(
    place: Place, link: Link, links: dict[int, Link], timeout_s: float
) -> None:
    """Accepts a process that has connected, or sends it the reason why not."""
    hello = (link.receive(timeout_s) or [{}])[0]
    number, count = hello.get("process", -1), hello.get("processes")
    refused = ""
    if hello.get("protocol") != PROTOCOL or not isinstance(number, int):
        refused = "process 0 is of another version: take the same on every machine"
    elif count != place.processes:
        refused = f"expected --processes {place.processes} as process 0, got {count}"
    elif not 0 < number < place.processes or _waits(links.get(number)):
        refused = f"process 0 has a process {number} already: see --process"
    if refused:
        link.send({"refused": refused})
        link.close()
        return
    if number in links:
        links[number].close()
    link.name = one_line(f"process {number} ({hello.get('host')})"[:100])
    links[number] = link


def _waits(link: Link | None) -> bool:
    """Returns whether a process that has joined is still connected, silently."""
    return link is not None and not select.select([link], [], [], 0)[0]


def _drop_gone(links: dict[int, Link]) -> None:
    """Forgets processes that have joined and given up."""
    for number in [each for each, link in links.items() if not _waits(link)]:
        links.pop(number).close()


def _give_up(place: Place, links: dict[int, Link], timeout_s: float) -> None:
    _drop_gone(links)
    missing = sorted({*range(1, place.processes)} - {*links})
    reason = (
        f"expected {place.processes} processes, got {len(links) + 1} in {timeout_s:.0f}"
        f" s at {place.host}:{place.port}: start also --process"
        f" {', '.join(map(str, missing))}"
    )
    for link in links.values():
        link.send({"refused": reason})
        link.close(1.0)
    raise FerEdgeError(reason)
