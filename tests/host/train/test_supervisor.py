"""What a supervisor makes of the end of its training, and of the others' words.

The training is a process that ends as it is told; the other one is this test.
"""

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time

import pytest

from edge_runtime.errors import RunError
from train.parallel import supervisor
from train.parallel.link import Link
from train.parallel.place import LOOPBACK, Place
from train.parallel.supervisor import _pass_on, _Supervisor

LATER_S = 1.0  # when the training has ended, mostly: else the test says less
LEFT = {"left": True}
ABORT = "import os; os.abort()"


class Pair:
    """A supervisor, its training and the other process."""

    def __init__(self, number, program, log):
        self.child = subprocess.Popen([sys.executable, "-c", program])
        self._sockets = (*socket.socketpair(), *socket.socketpair())
        training, channel, self.connection, other = self._sockets
        self.training, self.other = Link(training), Link(self.connection)
        links = {1 - number: Link(other, f"process {1 - number} (there)")}
        place = Place(LOOPBACK, 1, 2, number)
        self.supervisor = _Supervisor(place, links, self.child, Link(channel), log)

    def run(self):
        """Returns the exit code."""
        with _pass_on(self.child):
            return self.supervisor.run()

    def sent(self):
        """Returns what the supervisor has sent to the other process."""
        self.connection.setblocking(False)
        with contextlib.suppress(BlockingIOError):
            data = self.connection.recv(2**16)
            return [json.loads(line) for line in data.splitlines()]
        return []

    def close(self):
        self.child.kill()
        self.child.wait()
        for each in self._sockets:
            each.close()


@pytest.fixture
def pair():
    """Makes such a pair, of which the training has said something and then ends."""
    pairs = []

    def make(number, *messages, program="pass"):
        pairs.append(Pair(number, program, log))
        for message in messages:
            pairs[0].training.send(message)
        pairs[0].training.close()
        return pairs[0]

    with tempfile.TemporaryFile() as log:
        yield make
        for each in pairs:
            each.close()


@contextlib.contextmanager
def later(do, *values):
    """Does something, once, while the body goes on."""
    timer = threading.Timer(LATER_S, do, values)
    timer.start()
    yield
    timer.join()


def test_process_waits_until_the_first_one_has_written_the_run(pair):
    second = pair(1, LEFT)
    with later(second.other.send, LEFT):
        assert second.run() == 0
    assert second.supervisor._links[0].left


@pytest.mark.parametrize(
    ("end", "part"),
    [
        (lambda other: other.close(), r"process 0 \(there\) has ended without a word"),
        (lambda other: other.send({"ended": "process 0 is full"}), "0 is full"),
    ],
    ids=["gone", "failed"],
)
def test_process_is_started_again_where_the_first_one_was_lost(pair, end, part):
    second = pair(1, LEFT)
    with later(end, second.other), pytest.raises(RunError, match=part):
        second.run()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_signal_ends_the_waiting_with_the_code_of_the_training(pair, number):
    before = signal.signal(number, signal.default_int_handler)
    second = pair(1)

    def ask():
        while signal.getsignal(number) == signal.default_int_handler:
            time.sleep(0.01)
        os.kill(os.getpid(), number)

    try:
        with later(ask), pytest.raises(SystemExit) as ended:
            second.supervisor._await_first(130)
    finally:
        signal.signal(number, before)
    assert ended.value.code == 130


@pytest.mark.parametrize("code", [0, 130])
def test_first_process_says_that_it_has_left_at_its_end(pair, code):
    first = pair(0, LEFT, program=f"raise SystemExit({code})")
    first.supervisor._hear_child()
    assert first.sent() == []
    assert first.run() == code
    assert first.sent() == [LEFT]


def test_first_process_that_cannot_write_the_run_says_so(pair):
    first = pair(0, LEFT, {"failed": "it is full"}, program="raise SystemExit(2)")
    assert first.run() == 2
    (message,) = first.sent()
    assert message["ended"].endswith("has ended: it is full")


def test_abort_after_the_end_of_another_process_is_not_the_reason(pair, monkeypatch):
    monkeypatch.setattr(supervisor, "GRACE_S", 600.0)
    second = pair(1, program=ABORT)
    reason = "process 0 (there) was ended by SIGKILL"
    with (
        later(second.other.send, {"ended": reason}),
        pytest.raises(RunError, match=r"^process 0 \(there\) was ended by SIGKILL"),
    ):
        second.run()


def test_abort_of_its_own_is_the_reason(pair):
    second = pair(1, program=ABORT)
    with pytest.raises(RunError, match=r"process 1 \(.*\) was ended by SIGABRT"):
        second.run()
    (message,) = second.sent()
    assert "was ended by SIGABRT" in message["ended"]
