"""Where a broker is, and the topics of this device there."""

from __future__ import annotations

import hashlib
import re
import socket
from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote, urlsplit

from edge_runtime.errors import OutputError
from edge_runtime.version import VERSION

PORTS = {"mqtt": 1883, "mqtts": 8883}

LONGEST_PREFIX = 200

_EXPECTED = "expected --mqtt mqtt://HOST[:PORT][/PREFIX] (mqtts:// for TLS)"


@dataclass(frozen=True)
class Broker:
    """An MQTT broker and what is published there.

    Attributes:
        host: Name or address.
        port: TCP port.
        tls: Whether the connection is encrypted.
        user: None where it takes anybody.
        prefix: First levels of every topic, without a slash at its ends.
    """

    host: str
    port: int
    tls: bool
    user: str | None
    prefix: str

    @property
    def node(self) -> str:
        """Returns the prefix as an identifier, ``[a-zA-Z0-9_-]``.

        Where letters get lost a part of its hash tells it from others.
        """
        plain = re.sub(r"[^a-zA-Z0-9_-]", "_", self.prefix)
        if re.fullmatch(r"[a-zA-Z0-9_/-]*", self.prefix):
            return plain
        return f"{plain}_{hashlib.sha256(self.prefix.encode()).hexdigest()[:8]}"

    def topic(self, name: str) -> str:
        """Returns a topic under the prefix."""
        return f"{self.prefix}/{name}"


def parse_broker(url: str) -> Broker:
    """Returns the broker a URL names.

    Raises:
        OutputError: It is no such URL, or has a password in it.
    """
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
        (host or "").encode("idna")  # as the network will ask
    except ValueError:  # the port is no number, a bracket is missing, or an "a..b"
        raise OutputError(f"{_EXPECTED}, got another kind of address") from None
    if parts.password is not None:
        # Not repeated: an error message ends in logs, and logs travel.
        raise OutputError(
            "expected no password in --mqtt, where everybody can see it: write it to"
            " a file and give --mqtt-password-file FILE"
        )
    if parts.scheme not in PORTS or not host or "?" in url or "#" in url:
        raise OutputError(f"{_EXPECTED}, got {url!r}")
    prefix = parts.path.strip("/") or f"fer-edge/{socket.gethostname()}"
    _check_prefix(prefix)
    tls = parts.scheme == "mqtts"
    user = None if parts.username is None else unquote(parts.username)
    return Broker(host, port or PORTS[parts.scheme], tls, user, prefix)


def _check_prefix(prefix: str) -> None:
    wrong = len(prefix.encode()) > LONGEST_PREFIX or not prefix.isprintable()
    if wrong or any(one in prefix for one in "#+$ "):
        raise OutputError(
            f"expected a topic prefix such as home/door, without # + $ and spaces,"
            f" got {prefix[:80]!r}"
        )


EXPIRE_AFTER_S = 30  # a sensor without news for so long is shown as unavailable

EVENT_KINDS = ("face_appeared", "expression_changed", "face_left")


def discovery_messages(
    broker: Broker, root: str, labels: tuple[str, ...], model: str
) -> dict[str, dict[str, Any]]:
    """Returns the configuration of each entity by its topic, JSON-ready.

    Args:
        broker: Gives topics and the identifier.
        root: Home Assistant's prefix, ``homeassistant`` unless changed there.
        labels: The model's class names.
        model: Its name, shown as the device's model.
    """
    common = _common(broker, model)
    expressions = [*labels, "uncertain", "none"]
    entities = {
        "sensor/expression": _sensor(broker, "Expression", "expression")
        | {"device_class": "enum", "options": expressions},
        "sensor/confidence": _sensor(broker, "Confidence", "confidence_percent")
        | {"unit_of_measurement": "%", "suggested_display_precision": 0},
        "sensor/faces": _sensor(broker, "Faces", "faces")
        | {"state_class": "measurement"},
        "sensor/fps": _diagnostic(broker, "Frame rate", "fps", "fps"),
        "sensor/age": _diagnostic(broker, "Frame age", "age_ms", "ms"),
        "binary_sensor/face": _sensor(broker, "Face", "face")
        | {"device_class": "occupancy", "payload_on": "ON", "payload_off": "OFF"},
        "event/happening": {
            "name": "Happening",
            "state_topic": broker.topic("events"),
            "event_types": list(EVENT_KINDS),
            "value_template": _EVENT_TEMPLATE,
        },
    }
    return {
        f"{root}/{kind}/{broker.node}/{name}/config": {
            **common,
            "unique_id": f"{broker.node}_{name}",
            **entity,
        }
        for (kind, name), entity in (
            (key.split("/"), entity) for key, entity in entities.items()
        )
    }


# Home Assistant's event entity wants the kind under this name.
_EVENT_TEMPLATE = (
    "{{ {'event_type': value_json.event, 'label': value_json.label,"
    " 'previous': value_json.previous, 'track': value_json.track} | tojson }}"
)


def _common(broker: Broker, model: str) -> dict[str, Any]:
    return {
        "availability_topic": broker.topic("availability"),
        "device": {
            "identifiers": [broker.node],
            "name": broker.prefix,
            "model": model,
            "sw_version": VERSION,
        },
        "origin": {"name": "fer-edge", "sw_version": VERSION},
    }


def _sensor(broker: Broker, name: str, key: str) -> dict[str, Any]:
    return {
        "name": name,
        "state_topic": broker.topic("state"),
        "value_template": f"{{{{ value_json.{key} }}}}",
        "expire_after": EXPIRE_AFTER_S,
    }


def _diagnostic(broker: Broker, name: str, key: str, unit: str) -> dict[str, Any]:
    return _sensor(broker, name, key) | {
        "unit_of_measurement": unit,
        "state_class": "measurement",
        "entity_category": "diagnostic",
        "suggested_display_precision": 0,
    }
