"""Retained messages by which Home Assistant finds this device by itself.

https://www.home-assistant.io/integrations/mqtt/#mqtt-discovery
"""

from __future__ import annotations

from typing import Any

from edge_runtime.outputs.mqtt_address import Broker
from edge_runtime.version import VERSION

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
