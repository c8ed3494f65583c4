"""A broker that sends what it likes: the thread lasts, and so does the memory."""

from __future__ import annotations

import logging
import socket
import threading
import time
import tracemalloc
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

pytest.importorskip("paho.mqtt.client", reason="paho-mqtt is not installed")

from paho.mqtt.client import MQTTMessage
from paho.mqtt.enums import CallbackAPIVersion

from edge_runtime.outputs import lasting_client
from edge_runtime.outputs.lasting_client import LastingClient
from tests.waiting import until

CONNACK = b"\x20\x02\x00\x00"
HUGE = b"\x30\xff\xff\xff\x7f\x00\x01a"  # a PUBLISH of 256 MB


class HostileBroker:
    """Answers each connection with some bytes, and then with a flood of zeros."""

    def __init__(self, answer: bytes, *, flood: int = 0) -> None:
        self._answer, self._flood = answer, flood
        self._server = socket.create_server(("127.0.0.1", 0))
        self.port = self._server.getsockname()[1]
        self.connections = 0
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        while True:
            try:
                line, _ = self._server.accept()
            except OSError:
                return
            self.connections += 1
            threading.Thread(target=self._talk, args=(line,), daemon=True).start()

    def _talk(self, line: socket.socket) -> None:
        with line:
            try:
                line.recv(1000)
                line.sendall(self._answer)
                for _ in range(self._flood // 2**16):
                    line.sendall(bytes(2**16))
                while line.recv(1000):
                    pass
            except OSError:
                return

    def close(self) -> None:
        self._server.close()


@contextmanager
def connected(
    broker: HostileBroker, **callbacks: Callable[..., object]
) -> Iterator[LastingClient]:
    client = LastingClient(CallbackAPIVersion.VERSION2)
    for name, callback in callbacks.items():  # before the broker answers
        setattr(client, name, callback)
    client.reconnect_delay_set(1, 1)
    client.connect_async("127.0.0.1", broker.port)
    client.loop_start()
    try:
        yield client
    finally:
        client.disconnect()
        client.loop_stop()
        broker.close()


def test_packet_of_256_mb_ends_the_connection_unread() -> None:
    broker = HostileBroker(CONNACK + HUGE, flood=64 * 2**20)
    tracemalloc.start()
    with connected(broker):
        until(lambda: broker.connections >= 2)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 8 * 2**20


def test_packet_below_the_bound_is_read() -> None:
    payload = bytes(100_000)
    length = len(payload) + 3
    head = bytes((0x30, length & 127 | 128, length >> 7 & 127 | 128, length >> 14))
    heard: list[int] = []
    broker = HostileBroker(CONNACK + head + b"\0\x01a" + payload)

    def hear(_client: object, _data: object, message: MQTTMessage) -> None:
        heard.append(len(message.payload))

    with connected(broker, on_message=hear):
        until(lambda: heard == [100_000])
    assert broker.connections == 1


@pytest.mark.parametrize("qos", [1, 2])
def test_message_of_another_qos_than_was_asked_for_ends_the_connection(
    qos: int,
) -> None:
    payload = bytes(900_000)
    length = len(payload) + 5
    head = (0x30 | qos << 1, length & 127 | 128, length >> 7 & 127 | 128, length >> 14)
    publish = bytes(head) + b"\0\x01a\0"
    broker = HostileBroker(
        CONNACK + b"".join(publish + bytes((mid,)) + payload for mid in range(1, 40))
    )
    with connected(broker) as client:
        until(lambda: broker.connections >= 2)
        assert not client._in_messages


MALFORMED = {
    "CONNACK of nothing": b"\x20\x00",
    "PUBLISH of nothing": CONNACK + b"\x30\x00",
    "PUBLISH with a topic beyond its end": CONNACK + b"\x30\x04\xff\xffab",
    "PUBLISH with a topic that is no text": CONNACK + b"\x30\x04\x00\x02\xff\xfe",
    "PUBLISH without an identifier": CONNACK + b"\x32\x03\x00\x01a",
    "SUBACK of nothing": CONNACK + b"\x90\x00",
    "PUBACK of nothing": CONNACK + b"\x40\x00",
    "unknown packet": CONNACK + b"\xf0\x02ab",
    "packet for brokers": CONNACK + b"\x82\x00",
    "length of five bytes": CONNACK + b"\x30\xff\xff\xff\xff\x7f",
    "no MQTT": b"HTTP/1.1 400 Bad Request\r\n\r\n",
}


@pytest.mark.parametrize("data", MALFORMED.values(), ids=list(MALFORMED))
def test_no_packet_ends_the_thread(
    data: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lasting_client, "PAUSE_S", 0.1)
    died: list[object] = []
    monkeypatch.setattr(threading, "excepthook", died.append)
    broker = HostileBroker(data)
    with connected(broker) as client:
        until(lambda: broker.connections)
        time.sleep(0.4)
        thread = client._thread
        assert thread is not None
        assert thread.is_alive()
    assert not died


def test_error_in_a_callback_is_told_and_ends_no_connection(
    caplog: pytest.LogCaptureFixture,
) -> None:
    broker = HostileBroker(CONNACK)

    def raises(*_: object) -> None:
        raise KeyError("a mistake")

    watched = caplog.at_level(logging.WARNING)
    with watched, connected(broker, on_connect=raises) as client:
        until(lambda: "a mistake" in caplog.text)
        until(client.is_connected)
    assert broker.connections == 1


def test_error_of_the_library_is_told_and_it_connects_anew(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lasting_client, "PAUSE_S", 0.1)
    broker = HostileBroker(CONNACK)
    with caplog.at_level(logging.WARNING), connected(broker) as client:
        until(client.is_connected)

        def fails(*_: object) -> None:
            monkeypatch.undo()
            raise RuntimeError("a bug")

        monkeypatch.setattr(LastingClient, "_loop", fails)
        until(lambda: "RuntimeError: a bug; reconnecting" in caplog.text)
        until(lambda: broker.connections == 2)
        until(client.is_connected)


@pytest.mark.parametrize(
    "error", [UnicodeError("label empty"), ValueError("no host"), RuntimeError("bug")]
)
def test_reconnecting_may_fail_in_any_way(
    error: Exception, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lasting_client, "PAUSE_S", 0.05)
    broker = HostileBroker(CONNACK)
    with caplog.at_level(logging.WARNING), connected(broker) as client:
        until(client.is_connected)

        def fails(*_: object) -> None:
            raise error

        with monkeypatch.context() as broken:
            broken.setattr(LastingClient, "_loop", fails)
            broken.setattr(LastingClient, "reconnect", fails)
            until(lambda: caplog.text.count("reconnecting") >= 3)
        until(lambda: broker.connections >= 2)
        until(client.is_connected)
