"""Processes that find each other, and what they say when they do not fit."""

import json
import socket
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import pytest

from edge_runtime.errors import ConfigError, FerEdgeError
from train.parallel import link as link_module
from train.parallel.link import MAX_MESSAGE_BYTES, PROTOCOL, Link, join
from train.parallel.place import LOOPBACK, Place

SHORT_S = 3.0  # time enough on a busy machine for those that are there


@pytest.fixture
def port():
    with socket.create_server((LOOPBACK, 0)) as server:
        return server.getsockname()[1]


@pytest.fixture
def pair():
    here, there = socket.socketpair()
    with here, there:
        yield Link(here), there


@pytest.fixture
def joined(opened):
    return partial(_joined, opened)


@pytest.fixture
def opened():
    """Links that are closed at the end."""
    links = []
    yield links
    for link in links:
        link.close()


def _joined(opened, *places, timeout_s=10.0):
    """Returns the links of each process, or what it raised."""

    def result(place):
        try:
            links = join(place, timeout_s)
        except FerEdgeError as error:
            return str(error)
        opened.extend(links.values())
        return links

    with ThreadPoolExecutor(len(places)) as threads:
        return list(threads.map(result, places))


def test_processes_find_each_other(port, joined):
    first, second, third = joined(*(Place(LOOPBACK, port, 3, k) for k in range(3)))
    assert sorted(first) == [1, 2]
    assert list(second) == list(third) == [0]
    second[0].send({"said": "ä"})
    assert first[1].receive(10) == [{"said": "ä"}]
    assert first[1].name.startswith("process 1 (")


def test_missing_process_is_named_to_all(port, joined):
    places = [Place(LOOPBACK, port, 3, k) for k in (0, 1)]
    for said in joined(*places, timeout_s=SHORT_S):
        assert "expected 3 processes, got 2" in said
        assert "start also --process 2" in said


def test_coordinator_that_is_not_there_is_one_line(port, joined):
    (said,) = joined(Place(LOOPBACK, port, 2, 1), timeout_s=0.5)
    assert f"process 0 is not at {LOOPBACK}:{port}" in said


def test_another_number_of_processes_is_refused(port, joined):
    places = [Place(LOOPBACK, port, 2, 0), Place(LOOPBACK, port, 3, 1)]
    _, said = joined(*places, timeout_s=SHORT_S)
    assert said == "expected --processes 2 as process 0, got 3"


def test_number_that_two_have_is_refused_to_one(port, joined):
    places = [Place(LOOPBACK, port, 3, k) for k in (0, 1, 1)]
    said = joined(*places, timeout_s=SHORT_S)
    assert sum("has a process 1 already" in each for each in said) == 1


def test_process_that_was_started_again_takes_its_place(port, joined):
    with ThreadPoolExecutor(1) as threads:
        first = threads.submit(joined, Place(LOOPBACK, port, 3, 0))
        with _connect(port) as gone:
            gone.sendall(_hello(1, 3))
        places = [Place(LOOPBACK, port, 3, k) for k in (1, 2)]
        assert [list(links) for links in joined(*places)] == [[0], [0]]
        assert sorted(first.result()[0]) == [1, 2]


def test_stranger_is_no_process(port, joined):
    with ThreadPoolExecutor(1) as threads:
        first = threads.submit(joined, Place(LOOPBACK, port, 2, 0))
        stranger = _connect(port)
        stranger.sendall(b"GET / HTTP/1.1\r\n\r\n")
        (links,) = joined(Place(LOOPBACK, port, 2, 1))
        stranger.close()
        assert list(first.result()[0]) == [1]
        assert list(links) == [0]


def _connect(port):
    while True:
        try:
            return socket.create_connection((LOOPBACK, port))
        except OSError:
            continue


def _hello(number, processes):
    hello = {"protocol": PROTOCOL, "process": number, "processes": processes}
    return json.dumps(hello).encode() + b"\n"


def test_process_that_gave_up_is_missing(port, joined):
    with ThreadPoolExecutor(1) as threads:
        first = threads.submit(joined, Place(LOOPBACK, port, 3, 0), timeout_s=SHORT_S)
        with _connect(port) as gone:
            gone.sendall(_hello(1, 3))
        (said,) = joined(Place(LOOPBACK, port, 3, 2), timeout_s=SHORT_S)
        assert "expected 3 processes, got 2" in said
        assert said.endswith("start also --process 1")
        assert first.result() == [said]


def test_silent_stranger_holds_nobody_up(port, joined, monkeypatch):
    monkeypatch.setattr(link_module, "HELLO_S", 3600.0)
    with ThreadPoolExecutor(1) as threads:
        first = threads.submit(joined, Place(LOOPBACK, port, 2, 0), timeout_s=SHORT_S)
        with _connect(port):
            (said,) = first.result()
    assert "start also --process 1" in said


@pytest.mark.parametrize(
    ("answer", "part"),
    [
        (b"", "has ended without a word: see its error"),
        (b"SSH-2.0-x\r\n", "is no message of a training: does another program"),
        (b"{}\n", "is no message of a training: does another program"),
        (None, "has not answered in time: it waits for others"),
    ],
    ids=["its end", "another service", "another one with JSON", "nothing"],
)
def test_what_is_no_answer_is_named(answer, part, joined, monkeypatch):
    monkeypatch.setattr(link_module, "HELLO_S", 0.5)
    with (
        socket.create_server((LOOPBACK, 0)) as server,
        ThreadPoolExecutor(1) as threads,
    ):
        port = server.getsockname()[1]
        said = threads.submit(joined, Place(LOOPBACK, port, 2, 1), timeout_s=0.5)
        connection, _ = server.accept()
        with connection:
            connection.recv(2**16)
            if answer is None:
                said.result()
            else:
                connection.sendall(answer)
        (reason,) = said.result()
    assert f"process 0 at {LOOPBACK}:{port} has" in reason
    assert part in reason


def test_taken_port_is_one_line(port):
    with (
        socket.create_server((LOOPBACK, port)),
        pytest.raises(ConfigError, match="choose another one in --coordinator"),
    ):
        join(Place(LOOPBACK, port, 2, 0), 10.0)


@pytest.mark.parametrize(
    "sent", [b"{\n", b"[1]\n", b"\xff\n", b"7\n", b"[" * 60_000 + b"\n"]
)
def test_what_is_no_message_ends_the_connection(pair, sent):
    link, there = pair
    there.sendall(sent)
    while (received := link.receive(10)) == []:
        pass  # it comes in pieces
    assert received is None


def test_endless_message_ends_the_connection(pair):
    link, there = pair
    chunk = b"x" * 2**16
    received = []
    while received is not None:
        there.sendall(chunk)
        received = link.receive(10)
        assert len(link._read) <= MAX_MESSAGE_BYTES + len(chunk)


def test_messages_that_come_in_pieces_are_whole(pair):
    link, there = pair
    text = json.dumps({"a": 1}).encode() + b"\n"
    there.sendall(text[:3])
    assert link.receive(10) == []
    there.sendall(text[3:] + text)
    assert link.receive(10) == [{"a": 1}, {"a": 1}]
    there.close()
    assert link.receive(10) is None
