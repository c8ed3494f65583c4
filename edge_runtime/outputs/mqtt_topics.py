"""The address of an MQTT broker, and the topics of this device."""

from __future__ import annotations

import hashlib
import re
import socket
from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote, urlsplit

from edge_runtime.errors import OutputError
from edge_runtime.results import FACE_WORDS, Words
from edge_runtime.untrusted import has_control, refuse_control
from edge_runtime.version import VERSION

PORTS = {"mqtt": 1883, "mqtts": 8883}

MAX_PREFIX_BYTES = 200

_EXPECTED = "expected --mqtt mqtt://HOST[:PORT][/PREFIX] (mqtts:// for TLS)"


@dataclass(frozen=True)
class Broker:
    """An MQTT broker and this device's prefix there.

    Attributes:
        user: None for an anonymous connection.
        prefix: First levels of every topic, without a slash at either end.
    """

    host: str
    port: int
    tls: bool
    user: str | None
    prefix: str

    @property
    def node(self) -> str:
        """The prefix as an identifier, ``[a-zA-Z0-9_-]``.

        If other characters are replaced, a part of its hash keeps it unique.
        """
        plain = re.sub(r"[^a-zA-Z0-9_-]", "_", self.prefix)
        if re.fullmatch(r"[a-zA-Z0-9_/-]*", self.prefix):
            return plain
        return f"{plain}_{hashlib.sha256(self.prefix.encode()).hexdigest()[:8]}"

    def topic(self, name: str) -> str:
        """Returns a topic under the prefix."""
        return f"{self.prefix}/{name}"


def parse_broker(url: str) -> Broker:
    """Returns the broker of a URL.

    Raises:
        OutputError: It is not such a URL, or has a password in it.
    """
    if has_control(url):  # it may hold a password: it is not in the message
        raise OutputError(f"{_EXPECTED}, got an address with control characters")
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
        (host or "").encode("idna")  # as for a DNS query
    except ValueError:  # the port is not a number, a bracket is missing, or "a..b"
        raise OutputError(f"{_EXPECTED}, got another kind of address") from None
    if parts.password is not None:
        # The URL is not in the message: messages end in logs, and logs are shared.
        raise OutputError(
            "expected no password in --mqtt, where everybody can see it: write it to"
            " a file and give --mqtt-password-file FILE"
        )
    if parts.scheme not in PORTS or not host or "?" in url or "#" in url:
        raise OutputError(f"{_EXPECTED}, got {url!r}")
    prefix = unquote(parts.path).strip("/") or default_prefix()
    tls = parts.scheme == "mqtts"
    user = None if parts.username is None else unquote(parts.username)
    refuse_control(user or "", "a user of --mqtt", OutputError)
    port = port or PORTS[parts.scheme]
    return Broker(host, port, tls, user, topic_prefix(prefix))


def default_prefix() -> str:
    """Returns the prefix for who names none: one run on a machine may use it."""
    return f"fer-edge/{socket.gethostname()}"


def topic_prefix(text: str) -> str:
    """Returns the first levels of topics, without a slash at either end.

    Every topic that is published begins with one: of a topic with a wildcard, the
    library would raise an error in the thread that talks to the broker.

    Raises:
        OutputError: It is empty or too long, or has a wildcard, a space or a control
            character.
    """
    prefix = text.strip("/")
    refuse_control(prefix, "a topic prefix", OutputError)
    invalid = not 0 < len(prefix.encode()) <= MAX_PREFIX_BYTES
    if invalid or any(char in "#+$" or char.isspace() for char in prefix):
        raise OutputError(
            f"expected a topic prefix such as home/door, without # + $ and spaces,"
            f" got {prefix[:80]!r}"
        )
    return prefix


def discovery_prefix(text: str) -> str | None:
    """Returns Home Assistant's prefix (``--mqtt-discovery``); None for ``"none"``.

    Raises:
        OutputError: It is not a topic prefix.
    """
    return None if text == "none" else topic_prefix(text)


EXPIRE_AFTER_S = 30  # Home Assistant shows a sensor as unavailable after so long


def discovery_messages(
    broker: Broker,
    root: str,
    labels: tuple[str, ...],
    model: str,
    words: Words = FACE_WORDS,
    *,
    drift: bool = False,
) -> dict[str, dict[str, Any]]:
    """Returns Home Assistant's configuration of each entity by its topic, JSON-ready.

    Args:
        broker: The broker, with this device's prefix.
        root: Home Assistant's topic prefix, ``homeassistant`` unless changed there.
        labels: The model's class names.
        model: The model's name, shown as the device's model.
        words: What it looks at, and what its labels are.
        drift: The run watches for drift.
    """
    common = {
        "availability_topic": broker.topic("availability"),
        "device": {
            "identifiers": [broker.node],
            "name": broker.prefix,
            "model": model,
            "sw_version": VERSION,
        },
        "origin": {"name": "fer-edge", "sw_version": VERSION},
    }
    thing, things, quality = words.thing, words.things, words.quality
    entities = {
        f"sensor/{quality}": _sensor(broker, words.labels_are.capitalize(), quality)
        | {"device_class": "enum", "options": [*labels, "uncertain", "none"]},
        "sensor/confidence": _sensor(broker, "Confidence", "confidence_percent")
        | {"unit_of_measurement": "%", "suggested_display_precision": 0},
        f"sensor/{things}": _sensor(broker, words.subjects.capitalize(), things)
        | {"state_class": "measurement"},
        "sensor/fps": _diagnostic(broker, "Frame rate", "fps", "fps"),
        "sensor/age": _diagnostic(broker, "Frame age", "age_ms", "ms"),
        f"binary_sensor/{thing}": _sensor(broker, words.subject.capitalize(), thing)
        | {"device_class": "occupancy", "payload_on": "ON", "payload_off": "OFF"},
        "event/happening": {
            "name": "Happening",
            "state_topic": broker.topic("events"),
            "event_types": list(words.event_kinds),
            "value_template": _EVENT_TEMPLATE,
        },
    }
    if drift:
        entities["binary_sensor/drift"] = _drift(broker)
    messages = {}
    for key, entity in entities.items():
        kind, name = key.split("/")
        topic = f"{root}/{kind}/{broker.node}/{name}/config"
        unique_id = f"{broker.node}_{name}"
        messages[topic] = {**common, "unique_id": unique_id, **entity}
    return messages


# Home Assistant's event entity expects the kind under the name event_type.
_EVENT_TEMPLATE = (
    "{{ {'event_type': value_json.event, 'label': value_json.label,"
    " 'previous': value_json.previous, 'track': value_json.track} | tojson }}"
)


def _sensor(broker: Broker, name: str, key: str) -> dict[str, Any]:
    return {
        "name": name,
        "state_topic": broker.topic("state"),
        "value_template": f"{{{{ value_json.{key} }}}}",
        "expire_after": EXPIRE_AFTER_S,
    }


def _drift(broker: Broker) -> dict[str, Any]:
    return {
        "name": "Drift",
        "state_topic": broker.topic("drift"),
        "value_template": "{{ value_json.drift }}",
        "json_attributes_topic": broker.topic("drift"),
        "device_class": "problem",
        "entity_category": "diagnostic",
        "payload_on": "ON",
        "payload_off": "OFF",
    }


def _diagnostic(broker: Broker, name: str, key: str, unit: str) -> dict[str, Any]:
    return _sensor(broker, name, key) | {
        "unit_of_measurement": unit,
        "state_class": "measurement",
        "entity_category": "diagnostic",
        "suggested_display_precision": 0,
    }
