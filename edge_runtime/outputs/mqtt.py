"""Publishes to an MQTT broker: availability, a state each second, events, drift.

paho's thread talks to the broker; the loop only queues messages. While there is no
broker, up to ``mqtt_client.MAX_EVENTS`` events wait. A state does not: the next one is
newer.

After a power cut the broker may publish the dead connection's last will, ``offline``,
after the new one's ``online``. The sink therefore watches its own availability.
"""

from __future__ import annotations

import json
import logging
import sys
import threading
import time
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from edge_runtime.errors import OutputError
from edge_runtime.outputs.documents import drift_document, event_document, utc_now
from edge_runtime.outputs.mqtt_client import (
    MqttOptions,
    claim_default_prefix,
    new_client,
    set_password,
)
from edge_runtime.outputs.mqtt_errors import (
    connect_error,
    no_answer,
    not_passed_on,
    refusal,
    tls_error,
)
from edge_runtime.outputs.mqtt_topics import discovery_messages
from edge_runtime.pipeline.stats import Status
from edge_runtime.results import FACE_WORDS, Drift, FrameResult, Words
from edge_runtime.sources import Frame

if TYPE_CHECKING:
    from paho.mqtt.client import Client, MQTTMessage, MQTTMessageInfo

    from edge_runtime.outputs.lasting_client import LastingClient

logger = logging.getLogger(__name__)

STATE_SCHEMA = "fer-edge/mqtt-state/1"
STATE_EVERY_S = 1.0
EXPIRE_STALE = 3  # times ``stale_s`` without a state
KEEPALIVE_S = 15
_NOT_CONNECTED = "not connected yet"
SILENCE_S = 4.0  # from the connection to the broker's first answer
FLUSH_S = 0.4
UNSPECIFIED = "Unspecified error"  # paho's words for a stopped broker or a cut line


class MqttSink:
    """A ``Sink`` that publishes results."""

    def __init__(
        self, client: LastingClient, options: MqttOptions, status: Status
    ) -> None:
        """Sets the callbacks of a client that is not connected yet."""
        self._client, self._options, self._status = client, options, status
        self._broker = options.broker
        self._next_state_s = 0.0
        self._last_s = time.monotonic()
        self._absence_published = False
        self._published = self._dropped = 0
        self._events: deque[MQTTMessageInfo] = deque()  # not confirmed yet
        self._error: str | None = _NOT_CONNECTED
        self._told: set[str] = set()  # errors since the last connection
        self._opened_s: float | None = None  # until the broker's first answer
        self._own_online = 0  # published and not heard yet
        self._drift = self._drift_published = ""
        if status.has("drift"):  # what an earlier run said may be retained
            steady = drift_document(Drift(0.0, (), ()), status.source.name, utc=None)
            self._drift = json.dumps(steady)
        self._heard_by_s: float | None = None  # until the first of them is heard
        self._unheard: str | None = None
        self._password = set_password(client, options)
        client.on_socket_open = self._on_socket_open
        client.on_connect = self._on_connect
        client.on_connect_fail = self._on_connect_fail
        client.on_disconnect = self._on_disconnect
        client.on_message = self._on_message
        self._closing = threading.Event()
        threading.Thread(target=self._look_after, name="--mqtt", daemon=True).start()

    def write(self, frame: Frame, result: FrameResult) -> bool:
        """Publishes the events of a frame, and the state if it is due; returns True."""
        for event in result.events:
            document = event_document(event, result.name, utc=utc_now())
            self._publish_event(json.dumps(document))
        if result.drift:
            document = drift_document(result.drift, result.name, utc=utc_now())
            self._drift = json.dumps(document)
            self._publish_drift()
        self._last_s, self._absence_published = time.monotonic(), False
        if result.events or self._last_s >= self._next_state_s:
            self._next_state_s = self._last_s + STATE_EVERY_S
            self._publish_state(result)
        return True

    def counts(self) -> dict[str, Any]:
        """Returns what was published and dropped, and the present error, JSON-ready."""
        return {
            "written": self._published,
            "dropped_frames": 0,
            "dropped_events": self._dropped,
            "error": self._error or self._unheard,
        }

    def close(self) -> None:
        """Publishes ``offline`` and disconnects, within half a second in any case."""
        self._closing.set()
        if self._client.is_connected():
            confirmed = self._wait_for_events()
            topic = self._broker.topic("availability")
            offline = self._client.publish(topic, "offline", retain=True)
            if confirmed:
                offline.wait_for_publish(0.1)
        self._client.disconnect()
        lost = sum(not event.is_published() for event in self._events)
        self._published, self._dropped = self._published - lost, self._dropped + lost
        # loop_stop() waits for a connection attempt in progress, which may take long.
        stopping = threading.Thread(target=self._client.loop_stop, daemon=True)
        stopping.start()
        stopping.join(0.1)

    def _publish_event(self, document: str) -> None:
        from paho.mqtt.client import MQTT_ERR_QUEUE_SIZE, MQTT_ERR_SUCCESS

        topic = self._broker.topic("events")
        info = self._client.publish(topic, document, qos=1)
        if info.rc == MQTT_ERR_QUEUE_SIZE:
            self._dropped += 1
            return
        self._published += 1
        # MQTT_ERR_NO_CONN: the event waits for a connection, but paho never clears it.
        info.rc = MQTT_ERR_SUCCESS
        while self._events and self._events[0].is_published():
            self._events.popleft()
        self._events.append(info)

    def _publish_drift(self) -> None:
        """Publishes what drifts, once a connection; the last change waits for one."""
        if self._drift == self._drift_published or not self._client.is_connected():
            return
        topic = self._broker.topic("drift")
        # Not with QoS 1: a queue full of events would refuse it. A lost line loses it,
        # and the next connection brings it.
        self._client.publish(topic, self._drift, retain=True)
        self._drift_published = self._drift
        self._published += 1

    def _publish_state(self, result: FrameResult | None) -> bool:
        """Returns whether there is a connection."""
        if not self._client.is_connected():
            return False
        words = self._status.words
        document = json.dumps(state_document(result, self._status.fps, words))
        self._client.publish(self._broker.topic("state"), document, retain=True)
        self._published += 1
        return True

    def _look_after(self) -> None:
        """Publishes a state without a face, once, if there are no frames for long.

        Reports a port that takes the connection and says nothing.
        """
        while not self._closing.wait(STATE_EVERY_S):
            opened_s = self._opened_s
            if opened_s is not None and time.monotonic() - opened_s > SILENCE_S:
                self._report(no_answer(self._broker))
            heard_by_s = self._heard_by_s
            if heard_by_s is not None and time.monotonic() > heard_by_s:
                self._unheard = not_passed_on(self._broker)
                self._warn(self._unheard)
            stale = time.monotonic() - self._last_s >= self._status.stale_s
            if stale and not self._absence_published:
                self._absence_published = self._publish_state(None)

    def _on_connect(
        self, client: Client, _data: Any, _flags: Any, reason: Any, _properties: Any
    ) -> None:
        self._opened_s = None
        if reason.is_failure:
            if not self._password_changed():
                self._report(refusal(str(reason), self._broker))
            return
        if self._error is not None:
            logger.info("--mqtt: connected to %s", self._broker.host)
        self._error = None
        self._told.clear()
        self._own_online = 0
        self._heard_by_s = time.monotonic() + SILENCE_S
        client.subscribe(self._broker.topic("availability"))
        self._publish_online()
        self._publish_discovery()
        self._drift_published = ""  # the broker may have lost what it had retained
        self._publish_drift()

    def _publish_online(self) -> None:
        self._own_online += 1
        topic = self._broker.topic("availability")
        # Not with QoS 1: a queue full of events would refuse it.
        self._client.publish(topic, "online", retain=True)

    def _on_message(self, _client: Client, _data: Any, message: MQTTMessage) -> None:
        """Hears what is published as this device's availability, by whomever."""
        if message.payload == b"online":
            self._heard_by_s = self._unheard = None
        if message.retain or self._closing.is_set():  # retained: before this connection
            return
        if message.payload == b"offline":
            self._publish_online()
        elif message.payload == b"online" and self._own_online:
            self._own_online -= 1
        elif message.payload == b"online":
            self._warn(
                f"another run publishes below {self._broker.prefix!r}, too: give each a"
                " prefix of its own, as in  --mqtt mqtt://HOST/home/door"
            )

    def _publish_discovery(self) -> None:
        root = self._options.discovery
        if root is None:
            return
        model = self._status.snapshot()["model"]
        name = str(model.get("name") or model["architecture"])
        labels = tuple(model["labels"])
        words = self._status.words
        messages = discovery_messages(
            self._broker, root, labels, name, words, drift=self._status.has("drift")
        )
        for document in messages.values():
            if "expire_after" in document:  # a slow source has states as rarely
                document["expire_after"] = round(EXPIRE_STALE * self._status.stale_s)
        for topic, document in messages.items():
            self._client.publish(topic, json.dumps(document), retain=True)

    def _on_connect_fail(self, _client: Client, _data: Any) -> None:
        # paho calls this while it handles the error.
        self._report(connect_error(sys.exc_info()[1], self._broker))

    def _on_socket_open(self, _client: Client, _data: Any, _socket: Any) -> None:
        self._opened_s = time.monotonic()

    def _on_disconnect(
        self, _client: Client, _data: Any, _flags: Any, reason: Any, _properties: Any
    ) -> None:
        answered, self._opened_s = self._opened_s is None, None
        self._heard_by_s = None
        error, self._client.tls_error = self._client.tls_error, None
        if reason.is_failure and self._error is None:
            ended = "the broker or the line ended it"
            said = str(reason)
            self._report(f"connection lost: {ended if said == UNSPECIFIED else said}")
        elif not answered and error is not None:
            self._report(tls_error(error, self._broker))
        elif not answered:  # closed before a word, as TLS does when spoken to in plain
            self._report(no_answer(self._broker))

    def _password_changed(self) -> bool:
        """Reads the password again; returns whether it is another one."""
        before = self._password
        try:
            self._password = set_password(self._client, self._options)
        except OutputError as error:
            self._warn(str(error))
        return self._password != before

    def _wait_for_events(self) -> bool:
        """Returns whether the broker has confirmed all events; it does so in order."""
        if not self._events:
            return True
        self._events[-1].wait_for_publish(FLUSH_S)
        return self._events[-1].is_published()

    def _report(self, error: str) -> None:
        """Logs an error, each once until there is a connection again."""
        if self._error in (None, _NOT_CONNECTED):
            error_and_plan = f"{error}; trying again"
        else:
            error_and_plan = f"still no connection: {error}"
        self._error = error
        if error not in self._told:
            self._warn(error_and_plan)
        self._told.add(error)

    def _warn(self, text: str) -> None:
        if text not in self._told:
            logger.warning("--mqtt: %s", text)
        self._told.add(text)


@contextmanager
def open_mqtt(options: MqttOptions, status: Status) -> Iterator[MqttSink]:
    """Yields a sink at once; it connects and reconnects in a thread of its own.

    Raises:
        MissingDependencyError: paho-mqtt is not installed.
        OutputError: The password or the certificates cannot be read; or another run on
            this machine has no prefix of its own, either.
    """
    with claim_default_prefix(options.broker):
        yield from _connected(options, status)


def _connected(options: MqttOptions, status: Status) -> Iterator[MqttSink]:
    client = new_client(options)
    sink = MqttSink(client, options, status)
    client.connect_async(options.broker.host, options.broker.port, KEEPALIVE_S)
    client.loop_start()
    try:
        yield sink
    finally:
        sink.close()


def state_document(
    result: FrameResult | None, fps: float | None, words: Words = FACE_WORDS
) -> dict[str, Any]:
    """Returns the label of the largest face and the speed of the run, JSON-ready.

    Without a recent result there is no face. Keys are called by the words.
    """
    faces = result.faces if result else ()
    age_ms = result.age_ms if result else None
    largest = (faces[0].decision or faces[0]) if faces else None
    confidence = largest.confidence if largest else 0.0
    where = {"region": faces[0].region} if faces and faces[0].region else {}
    return {
        "schema": STATE_SCHEMA,
        words.thing: "ON" if faces else "OFF",
        words.things: len(faces),
        words.quality: largest.label if largest else "none",
        **where,
        "confidence_percent": round(100 * confidence, 1),
        "fps": None if fps is None else round(fps, 1),
        "age_ms": None if age_ms is None else round(age_ms, 1),
    }
