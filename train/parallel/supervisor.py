"""Starts the training of this process, and ends it when another one has ended.

Libraries that compute on several machines hang, or abort with pages of text, when one
of them is gone. So the training is a child of this process, which imports none of them:
it carries the messages, watches the others, and says in one line what happened.
"""

from __future__ import annotations

import os
import re
import selectors
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import IO, Any

from edge_runtime.errors import INTERRUPTED_EXIT_CODE, FerEdgeError, RunError
from edge_runtime.untrusted import one_line
from train.parallel.link import Link, Message, join
from train.parallel.place import Place

MEMBER = "FER_EDGE_MEMBER"  # what a child is told of its place
BEAT_S = 5.0
SILENCE_S = 20.0  # of a machine that is gone: its connection does not end
AGAIN = "(start all of them again, with --resume)"
GRACE_S = 3.0  # to say itself what is wrong
FIRST = 0
ASKED = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)  # for an end
# How libraries end a process when another one is gone.
OF_ANOTHER = (-signal.SIGABRT, 1)


def supervise(place: Place, words: Sequence[str], join_timeout_s: float) -> int:
    """Runs this process's training, prints its errors and returns its exit code.

    Args:
        place: Which process this is.
        words: The arguments of ``python -m train``.
        join_timeout_s: Seconds to wait for the other processes.

    Raises:
        FerEdgeError: The others are not there, or one of them has ended.
    """
    if place.process == FIRST:
        count = place.processes - 1
        print(f"waiting for {count} more at {place.host}:{place.port}", flush=True)
    links = join(place, join_timeout_s)
    with tempfile.TemporaryFile() as log, _start(place, words, log) as (child, channel):
        try:
            return _Supervisor(place, links, child, channel, log).run()
        finally:
            for link in links.values():
                link.close(GRACE_S)


@contextmanager
def _start(
    place: Place, words: Sequence[str], log: IO[bytes]
) -> Iterator[tuple[subprocess.Popen[bytes], Link]]:
    """Yields the training and the channel to it; it has ended when the body has."""
    here, there = socket.socketpair()
    # What C++ libraries write to 1 and 2 is for the log.
    files = None if os.environ.get("FER_EDGE_VERBOSE") else log
    streams = os.dup(1), os.dup(2)
    words_of_place = (
        there.fileno(),
        *streams,
        place.process,
        place.processes,
        "" if place.local_device is None else place.local_device,
        place.host,
    )
    child = subprocess.Popen(
        [sys.executable, "-m", "train", *words],
        env={**os.environ, MEMBER: ",".join(map(str, words_of_place))},
        stdout=files,
        stderr=files,
        pass_fds=(there.fileno(), *streams),
        start_new_session=True,  # signals are passed on, each once
    )
    there.close()
    for stream in streams:
        os.close(stream)
    try:
        with _pass_on(child):
            yield child, Link(here, "this process")
    finally:
        child.kill()
        child.wait()
        here.close()


@contextmanager
def _pass_on(child: subprocess.Popen[bytes]) -> Iterator[None]:
    """Gives the child the signals that ask for an end."""
    before = {
        number: signal.signal(number, lambda got, _: child.send_signal(got))
        for number in _heeded()
    }
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _heeded() -> list[signal.Signals]:
    return [each for each in ASKED if signal.getsignal(each) != signal.SIG_IGN]


class _Supervisor:
    """Carries messages between the child and the others until one of them ends."""

    def __init__(
        self,
        place: Place,
        links: Mapping[int, Link],
        child: subprocess.Popen[bytes],
        channel: Link,
        log: IO[bytes],
    ) -> None:
        self._place, self._links, self._child = place, links, child
        self._channel, self._log = channel, log
        self._name = f"process {place.process} ({socket.gethostname()})"
        self._gathered: dict[int, deque[Any]] = {
            number: deque() for number in range(place.processes)
        }
        self._failed = ""  # what the child has said
        self._selector = selectors.DefaultSelector()
        for number, link in links.items():
            link.heard_s = time.monotonic()
            self._selector.register(link, selectors.EVENT_READ, number)
        self._selector.register(channel, selectors.EVENT_READ, None)

    def run(self) -> int:
        """Returns the child's exit code.

        Raises:
            RunError: Another process has ended, or the child without a word.
        """
        beat_s = time.monotonic()
        while True:
            for key, _ in self._selector.select(BEAT_S / 5):
                link: Link = key.fileobj  # type: ignore[assignment]
                if key.data is None:
                    if not self._hear_child():
                        return self._end_of_child()
                else:
                    self._hear(key.data, link)
            if time.monotonic() - beat_s > BEAT_S:
                beat_s = time.monotonic()
                self._send_all({"beat": True})
            self._watch()

    def _hear_child(self) -> bool:
        """Passes on the child's messages; returns False at its end."""
        messages = self._channel.receive()
        for message in messages or []:
            if "failed" in message:
                self._failed = str(message["failed"])
            elif "gather" in message and self._place.process == FIRST:
                self._gather(FIRST, message["gather"])
            elif "left" in message:
                self._channel.left = True
                if self._place.process != FIRST:  # it has the run yet to write
                    self._send_all(message)
            else:
                self._send_all(message)
        return messages is not None

    def _hear(self, number: int, link: Link) -> None:
        """Handles a message of another process."""
        messages = link.receive()
        for message in messages or []:
            if "ended" in message:
                self._end_all(str(message["ended"]))
            elif "gather" in message:
                self._gather(number, message["gather"])
            elif "share" in message:
                self._channel.send(message)
            link.left |= "left" in message
        if messages is None:
            self._selector.unregister(link)
            if not link.left:
                self._end_all(f"{link.name} {link.end}")

    def _gather(self, number: int, value: Any) -> None:
        self._gathered[number].append(value)
        if all(self._gathered.values()):
            values = [values.popleft() for values in self._gathered.values()]
            self._channel.send({"gathered": values})

    def _watch(self) -> None:
        for link in self._links.values():
            silent_s = time.monotonic() - link.heard_s
            if silent_s > SILENCE_S and not link.left:
                self._end_all(f"{link.name} has been silent for {silent_s:.0f} s")

    def _send_all(self, message: Message) -> None:
        for link in self._links.values():
            link.send(message)

    def _end_all(self, reason: str) -> None:
        """Raises RunError, where this process's own training does not say more."""
        self._send_all({"ended": reason})
        try:
            code = self._child.wait(GRACE_S)
        except subprocess.TimeoutExpired:
            code = None
        if code == FerEdgeError.exit_code:
            raise SystemExit(code)  # it has said what is wrong
        raise RunError(f"{one_line(reason)[:500]} {AGAIN}")

    def _end_of_child(self) -> int:
        """Returns the child's exit code; informs the others."""
        self._selector.unregister(self._channel)
        code = self._child.wait()
        if self._channel.left and self._place.process != FIRST and code >= 0:
            self._await_first(code)
            return code
        if self._channel.left and code in (0, INTERRUPTED_EXIT_CODE):
            self._send_all({"left": True})
            return code
        if code in OF_ANOTHER:
            self._await_reason()
        how = f"has ended with exit code {code}"
        if code == FerEdgeError.exit_code and self._failed:
            how = f"has ended: {self._failed}"
        elif code == 128 + signal.SIGINT:
            how = "was interrupted"
        elif code < 0:
            how = f"was ended by {signal.Signals(-code).name}{self._last_words()}"
        self._send_all({"ended": f"{self._name} {how}"})
        if code < 0:
            raise RunError(f"{self._name} {how} {AGAIN}")
        return code or FerEdgeError.exit_code

    def _await_first(self, code: int) -> None:
        """Waits until process 0 has written the run; a signal ends that with the code.

        If it ends before, all are to be started again, this process with them.
        """
        for number in _heeded():
            signal.signal(number, lambda *_: sys.exit(code))
        first = self._links[FIRST]
        while not first.left:
            if self._selector.select(BEAT_S):
                self._hear(FIRST, first)
            self._watch()

    def _await_reason(self) -> None:
        """Gives the end of another process time to be that of this one: raises it."""
        deadline_s = time.monotonic() + GRACE_S
        while (left_s := deadline_s - time.monotonic()) > 0:
            for key, _ in self._selector.select(left_s):
                self._hear(key.data, key.fileobj)  # type: ignore[arg-type]

    def _last_words(self) -> str:
        """Returns the fatal line of a C++ library, where there is one."""
        self._log.seek(0)
        text = self._log.read().decode(errors="replace")
        found = re.findall(r"^F\d{4} [^\]]*\] (.*)$", text, re.MULTILINE)
        return f": {one_line(found[-1])[:300]}" if found else ""
