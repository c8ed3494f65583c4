"""Crowds on the page: a stranger takes part of the room, and never the owner's."""

from __future__ import annotations

import http.client
import socket
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import pytest

pytest.importorskip("aiohttp", reason="aiohttp is not installed")
pytest.importorskip("prometheus_client", reason="prometheus_client is not installed")

from edge_runtime.web.connections import (
    MAX_CONNECTIONS,
    MAX_OF_ADDRESS,
    network_of,
)
from tests.system.test_web import (
    TOKEN,
    Served,
    closed,
    exchange,
    locked,
    served,
)
from tests.waiting import until

__all__ = ["locked", "served"]  # fixtures

HEALTH = b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n"
PAGE = f"GET / HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {TOKEN}\r\n\r\n".encode()


def opened(port: int, source: str) -> socket.socket:
    return socket.create_connection(("127.0.0.1", port), 10, (source, 0))


@contextmanager
def crowd(
    port: int, count: int, sources: list[str], asked: bytes = HEALTH
) -> Iterator[list[socket.socket]]:
    """Opens connections that ask once, and stay."""
    with ExitStack() as stack:
        lines = []
        for number in range(count):
            line = stack.enter_context(opened(port, sources[number % len(sources)]))
            lines.append(line)
            if asked:
                try:
                    line.sendall(asked)
                    line.recv(4096)
                except ConnectionError:  # it was refused
                    pass
        yield lines


def still_open(lines: list[socket.socket]) -> int:
    return sum(not closed(line) for line in lines)


def asks(port: int, data: bytes, source: str) -> bytes:
    return exchange(port, data, whole=False, source=source)[9:12]


KINDS = {"keep-alive": HEALTH, "silent": b"", "half a request": b"GET /x HTTP/1.1\r\nA"}


@pytest.mark.parametrize("where", ["127.0.0.3", "127.0.0.2"], ids=["other", "same"])
@pytest.mark.parametrize("kind", ["keep-alive", "silent"])
def test_owner_gets_in_whatever_a_stranger_holds(
    locked: Served, kind: str, where: str
) -> None:
    """Also from the stranger's own address, as behind a proxy."""
    with crowd(locked.port, 200, ["127.0.0.2"], KINDS[kind]) as lines:
        time.sleep(1.2)  # the strangers are not new any more
        assert still_open(lines) <= MAX_OF_ADDRESS
        for _ in range(5):
            assert asks(locked.port, PAGE, where) == b"200"


def test_crowd_from_many_addresses_leaves_room_for_the_token(locked: Served) -> None:
    sources = [f"127.0.1.{number}" for number in range(1, 20)]
    with crowd(locked.port, 300, sources) as lines:
        assert still_open(lines) <= MAX_CONNECTIONS
        assert asks(locked.port, PAGE, "127.0.0.9") == b"200"


def test_connection_that_showed_the_token_is_not_taken_away(locked: Served) -> None:
    with opened(locked.port, "127.0.0.2") as mine:
        mine.sendall(PAGE)
        assert b"200" in mine.recv(65536)
        mine.settimeout(0.2)
        try:  # the rest of the page
            while mine.recv(65536):
                pass
        except TimeoutError:
            mine.settimeout(10)
        time.sleep(1.2)
        with crowd(locked.port, 200, ["127.0.0.2"]):
            mine.sendall(PAGE)
            assert b"200" in mine.recv(65536)


def test_without_a_token_a_program_holds_no_other_out(served: Served) -> None:
    with crowd(served.port, 200, ["127.0.0.1"]) as lines:
        assert still_open(lines) <= MAX_OF_ADDRESS
        time.sleep(1.2)
        assert served.get("/healthz")[0] == 200


def test_viewer_of_the_stream_is_not_taken_away(served: Served) -> None:
    viewer = http.client.HTTPConnection("127.0.0.1", served.port, timeout=10)
    viewer.request("GET", "/stream")
    stream = viewer.getresponse()
    assert stream.read(1000)
    time.sleep(1.2)
    with crowd(served.port, 200, ["127.0.0.1"]):
        assert len(stream.read(200_000)) == 200_000
    viewer.close()


@pytest.mark.parametrize("source", ["127.0.0.1", "127.0.0.5"])
def test_room_is_free_again_after_a_crowd(locked: Served, source: str) -> None:
    with crowd(locked.port, 200, [source]):
        pass
    until(lambda: asks(locked.port, HEALTH, source) == b"200")


@pytest.mark.parametrize(
    "data",
    [
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        b"GET\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: x\r\nContent-Length: x\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: x\r\nExpect: nonsense\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: x\r\nX: " + b"a" * 20_000 + b"\r\n\r\n",
        b"BREW / HTTP/1.1\r\nHost: x\r\n\r\n",
        b"GET /" + b"a" * 20_000 + b" HTTP/1.1\r\nHost: x\r\n\r\n",
        b"GET /%ff%fe HTTP/1.1\r\nHost: x\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: a\r\n\r\n",
        b"GET / HTTP/7.7\r\nHost: x\r\n\r\n",
    ],
    ids=lambda data: repr(data[:24]),
)
def test_every_answer_has_the_headers_and_names_no_version(
    locked: Served, data: bytes
) -> None:
    answer = exchange(locked.port, data)
    if not answer:
        return
    head, _, body = answer.partition(b"\r\n\r\n")
    assert b"Content-Security-Policy: default-src 'none'" in head, answer[:500]
    assert b"Server: fer-edge" in head
    assert b"aiohttp" not in answer
    assert b"Python" not in answer
    assert data[:8] not in body


@pytest.mark.parametrize(
    ("peer", "network"),
    [
        (("192.0.2.7", 80), "192.0.2.7"),
        (("::ffff:192.0.2.7", 80, 0, 0), "192.0.2.7"),
        (("2001:db8:1:2:3:4:5:6", 80, 0, 0), "2001:db8:1:2::/64"),
        (("fe80::1%eth0", 80, 0, 2), "fe80::/64"),
        ("", ""),
        (None, ""),
    ],
)
def test_addresses_that_one_client_may_choose_from_are_one(
    peer: object, network: str
) -> None:
    assert network_of(peer) == network


def test_session_outlasts_a_clock_that_steps_back(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from types import SimpleNamespace

    from edge_runtime.web import access

    now = [1_800_000_000.0]
    monkeypatch.setattr(access, "time", SimpleNamespace(time=lambda: now[0]))
    one = access.Access(TOKEN)
    cookie = one._session(int(now[0]) + access.SESSION_S)
    ended = one._session(int(now[0]) - 1)
    now[0] -= 7200
    for each in (one, access.Access(TOKEN)):  # the second one: after a restart
        assert each._is_session(cookie)
    assert not one._is_session(ended)  # it was over when the time was later
