"""Where a broker is, and what this device is called there."""

from __future__ import annotations

import pytest

from edge_runtime.errors import OutputError
from edge_runtime.outputs.mqtt_topics import parse_broker


def test_devices_of_different_prefixes_have_different_names() -> None:
    prefixes = ("кухня", "дверь", "a.b", "a-b", "home/door")
    nodes = [parse_broker(f"mqtt://host/{one}").node for one in prefixes]
    assert len(set(nodes)) == len(nodes)
    assert nodes[-2:] == ["a-b", "home_door"]
    assert all(one.replace("_", "").replace("-", "").isascii() for one in nodes)


@pytest.mark.parametrize("host", ["a..b", ".a", "a" * 64, ""])
def test_host_that_no_network_knows_is_refused(host: str) -> None:
    with pytest.raises(OutputError, match="expected --mqtt"):
        parse_broker(f"mqtt://{host}/x")


def test_address_is_a_host_too() -> None:
    assert parse_broker("mqtt://[::1]:1884/x").host == "::1"
    assert parse_broker("mqtt://bücher.example/x").host == "bücher.example"
