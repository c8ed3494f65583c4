"""What a training says to the other processes that train with it."""

from __future__ import annotations

import errno
import io
import os
import queue
import socket
import sys
import threading
import time
from collections.abc import Mapping
from typing import Any, TypeVar

from edge_runtime.errors import FerEdgeError, RunError
from train.parallel.link import Link
from train.parallel.supervisor import FIRST, GRACE_S, MEMBER

Value = TypeVar("Value")


class Group:
    """The processes that train together; this one alone, if there are no others.

    Every process calls the same methods in the same order. One that has ended ends the
    others: no call waits for it.

    Attributes:
        index: Number of this process.
        count: Number of processes.
        local_device: The one device to use; None for all of the machine's.
    """

    index, count = FIRST, 1
    local_device: int | None = None

    @property
    def is_first(self) -> bool:
        """Whether this process writes the run, and prints."""
        return self.index == FIRST

    def gather(self, value: Value) -> list[Value]:
        """Returns the values of all processes in the first one, else an empty list.

        Args:
            value: Of this process, JSON-ready.
        """
        return [value]

    def share(self, value: Value) -> Value:
        """Returns the value of the first process, JSON-ready."""
        return value

    def any(self, value: bool) -> bool:
        """Returns whether a value is true in any process."""
        return self.share(any(self.gather(value)))

    def coordinator(self) -> str:
        """Returns the address at which the computing libraries meet."""
        raise NotImplementedError

    def leave(self) -> None:
        """Says that this process needs the others no more."""

    def failed(self, reason: str) -> None:
        """Says why this process ends now."""

    def wait_for_end(self) -> None:
        """Gives the end of another process time to be the reason of an error here."""

    def require_same(self, facts: Mapping[str, Any]) -> None:
        """Raises RunError, in every process, if one has other facts than the first.

        Args:
            facts: JSON-ready, by what they are called in the message.
        """
        everyone = self.gather(dict(facts))
        reason = self.share(_difference(everyone) if self.is_first else "")
        if reason:
            raise RunError(reason)


ALONE = Group()


def _difference(everyone: list[dict[str, Any]]) -> str:
    """Returns the first difference from the first process, in words."""
    first = everyone[FIRST]
    for number, facts in enumerate(everyone):
        for name in sorted({*first, *facts}):
            here, there = (str(each.get(name))[:80] for each in (first, facts))
            if first.get(name) != facts.get(name):
                return (
                    f"process {number} has another {name} than process {FIRST}:"
                    f" {there}, not {here}: it must be the same in all of them"
                )
    return ""


class Member(Group):
    """One of several processes: talks through the process that has started it."""

    def __init__(self, member: str) -> None:
        """Takes the place and the streams that the supervisor gave.

        Args:
            member: The value of ``FER_EDGE_MEMBER``.
        """
        channel, out, err, index, count, local, self._host = member.split(",", 6)
        self.index, self.count = int(index), int(count)
        self.local_device = int(local) if local else None
        self._link = Link(socket.socket(fileno=int(channel)))
        self._heard: queue.SimpleQueue[dict[str, Any]] = queue.SimpleQueue()
        threading.Thread(target=self._listen, daemon=True).start()
        sys.stdout = self._stream(int(out) if self.is_first else os.devnull)
        sys.stderr = self._stream(int(err))

    def _stream(self, file: int | str) -> io.TextIOWrapper:
        """Returns a stream of the supervisor: errors of all, else of the first one."""
        kind = io.TextIOWrapper if self.is_first else _NoTerminal
        return kind(
            io.BufferedWriter(_Output(file, "w")),
            errors="backslashreplace",
            line_buffering=True,
        )

    def _listen(self) -> None:
        while (messages := self._link.receive()) is not None:
            for message in messages:
                self._heard.put(message)
        os._exit(FerEdgeError.exit_code)  # the supervisor has ended

    def gather(self, value: Value) -> list[Value]:
        """Returns all values in the first process, else an empty list."""
        self._link.send({"gather": value})
        if not self.is_first:
            return []
        values: list[Value] = self._heard.get()["gathered"]
        return values

    def share(self, value: Value) -> Value:
        """Returns the value of the first process."""
        if self.is_first:
            self._link.send({"share": value})
            return value
        shared: Value = self._heard.get()["share"]
        return shared

    def coordinator(self) -> str:
        """Returns the first process's host and a port that is free there."""
        port = 0
        if self.is_first:
            with socket.create_server(("", 0)) as server:
                port = server.getsockname()[1]
        host = f"[{self._host}]" if ":" in self._host else self._host
        return f"{host}:{self.share(port)}"

    def leave(self) -> None:
        """Says that this process needs the others no more."""
        self._link.send({"left": True})

    def failed(self, reason: str) -> None:
        """Says why this process ends now."""
        self._link.send({"failed": reason})

    def wait_for_end(self) -> None:
        """Waits: if another process has ended, the supervisor ends this one."""
        time.sleep(3 * GRACE_S)


class _Output(io.FileIO):
    """A file or a terminal; for one that went away SIGHUP comes, but somewhat later."""

    def write(self, data: Any) -> int:
        """Returns the number of bytes written; what no terminal takes vanishes."""
        try:
            return super().write(data)
        except OSError as error:
            if error.errno != errno.EIO:
                raise
            return len(data)


class _NoTerminal(io.TextIOWrapper):
    """A stream without progress bars: those of the first process are enough."""

    def isatty(self) -> bool:
        """Returns False."""
        return False


def open_group() -> Group:
    """Returns the group of this process, from its supervisor."""
    member = os.environ.pop(MEMBER, "")  # not for the processes that it starts
    return Member(member) if member else ALONE
