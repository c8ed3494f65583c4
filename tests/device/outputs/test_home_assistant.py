"""Discovery documents obey the rules that Home Assistant publishes for them.

https://www.home-assistant.io/integrations/mqtt/#mqtt-discovery and the pages of MQTT's
sensor, binary sensor and event; device classes from those of sensor and binary sensor.
A document that breaks one is not discovered, and only Home Assistant's log says so.
"""

from __future__ import annotations

import json
import re
from typing import Any

import pytest

from edge_runtime.outputs.mqtt_topics import discovery_messages, parse_broker
from edge_runtime.results import FACE_WORDS, Words

LABELS = ("happy", "sad", "très heureux")
PREFIXES = ["home/door", "кухня", "a.b"]

OF_ALL = {
    *("name", "unique_id", "availability_topic", "device", "origin", "icon"),
    *("state_topic", "value_template", "device_class", "entity_category"),
    *("json_attributes_topic", "json_attributes_template", "qos", "enabled_by_default"),
}
KEYS = {
    "sensor": {
        *("expire_after", "force_update", "options", "state_class"),
        *("unit_of_measurement", "suggested_display_precision"),
    },
    "binary_sensor": {"expire_after", "off_delay", "payload_on", "payload_off"},
    "event": {"event_types"},
}
DEVICE_KEYS = {
    *("identifiers", "connections", "name", "model", "manufacturer", "sw_version"),
    *("hw_version", "configuration_url", "suggested_area", "serial_number"),
}
CLASSES = {
    "sensor": {"enum", "duration", "timestamp", "temperature"},
    "binary_sensor": {"occupancy", "presence", "problem", "motion"},
    "event": {"button", "doorbell", "motion"},
}
IDENTIFIER = re.compile(r"[a-zA-Z0-9_-]+")


def broken_rules(topic: str, document: dict[str, Any]) -> list[str]:
    """The rules that a discovery document breaks."""
    prefix, component, node, name, end = topic.split("/")
    rules = {
        "topic": prefix == "homeassistant" and end == "config" and component in KEYS,
        "identifiers of the topic": all(map(IDENTIFIER.fullmatch, (node, name))),
        "known keys": document.keys() <= OF_ALL | KEYS.get(component, set()),
        "state topic": bool(document.get("state_topic")),
        "no wildcards": not set("#+") & set(document.get("state_topic", "")),
        "unique id": bool(document.get("unique_id")),
        "device": bool(document["device"].get("identifiers"))
        and document["device"].keys() <= DEVICE_KEYS,
        "origin": bool(document["origin"].get("name")),
        "device class": document.get(
            "device_class", "enum" if component == "sensor" else None
        )
        in {*CLASSES[component], None},
        "category": document.get("entity_category", "diagnostic") == "diagnostic",
        "expiry in whole seconds": type(document.get("expire_after", 1)) is int,
    }
    enum = document.get("device_class") == "enum"
    numeric = {"state_class", "unit_of_measurement", "suggested_display_precision"}
    rules["options of an enum alone"] = enum == ("options" in document)
    rules["an enum is not a number"] = not (enum and numeric & document.keys())
    rules["state class"] = document.get("state_class", "measurement") == "measurement"
    types = document.get("event_types", [])
    rules["types of an event"] = (component == "event") == bool(types)
    rules["types that differ"] = len(set(types)) == len(types)
    return [rule for rule, kept in rules.items() if not kept]


@pytest.mark.parametrize("prefix", PREFIXES)
@pytest.mark.parametrize("words", [FACE_WORDS, Words("bottle", "material")])
def test_every_document_obeys_the_rules(words: Words, prefix: str) -> None:
    broker = parse_broker(f"mqtt://host/{prefix}")
    messages = discovery_messages(
        broker, "homeassistant", LABELS, "model", words, drift=True
    )
    assert len(messages) == 8
    for topic, document in messages.items():
        assert broken_rules(topic, document) == []
    unique = [document["unique_id"] for document in messages.values()]
    assert len(set(unique)) == len(unique)
    assert all(len(json.dumps(document)) < 2**16 for document in messages.values())


@pytest.mark.parametrize(
    ("change", "rule"),
    [
        ({"state_class": "measurement"}, "an enum is not a number"),
        ({"options": None, "device_class": None}, "options of an enum alone"),
        ({"colour": "red"}, "known keys"),
        ({"device": {"name": "door"}}, "device"),
        ({"expire_after": 1.5}, "expiry in whole seconds"),
        ({"event_types": ["a"]}, "known keys"),
    ],
)
def test_rules_can_be_broken(change: dict[str, Any], rule: str) -> None:
    broker = parse_broker("mqtt://host/home/door")
    messages = discovery_messages(broker, "homeassistant", LABELS, "model")
    topic = "homeassistant/sensor/home_door/expression/config"
    document = {**messages[topic], **change}
    assert rule in broken_rules(topic, document)


@pytest.mark.filterwarnings("ignore")  # of Home Assistant
def test_home_assistant_itself_takes_every_document() -> None:
    """Where it is installed; it needs an environment of its own."""
    pytest.importorskip("homeassistant", reason="Home Assistant is not installed")
    from homeassistant.components.mqtt import binary_sensor, event, sensor

    schemas = {
        "sensor": sensor.DISCOVERY_SCHEMA,
        "binary_sensor": binary_sensor.DISCOVERY_SCHEMA,
        "event": event.DISCOVERY_SCHEMA,
    }
    for words in (FACE_WORDS, Words("bottle", "material")):
        broker = parse_broker("mqtt://host/home/door")
        messages = discovery_messages(
            broker, "homeassistant", LABELS, "model", words, drift=True
        )
        for topic, document in messages.items():
            taken = schemas[topic.split("/")[1]]({"platform": "mqtt", **document})
            lost = document.keys() - taken.keys()  # unknown keys are removed
            assert lost <= {"options"}  # 2024.3 did not know them
