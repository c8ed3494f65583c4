"""Where the page says it is."""

from __future__ import annotations

import ipaddress
import socket

import pytest

from edge_runtime.web.address import Address, external_address


@pytest.mark.parametrize(
    ("host", "url"),
    [
        ("127.0.0.1", "http://127.0.0.1:8080/"),
        ("box.local", "http://box.local:8080/"),
        ("::1", "http://[::1]:8080/"),
    ],
)
def test_url_of_a_named_address_has_that_name(host: str, url: str) -> None:
    assert Address(host, 0).url(8080) == url


def test_url_of_all_addresses_has_an_address_of_this_machine() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as own:
        own.bind(
            (external_address("0.0.0.0"), 0)
        )  # of another machine's address it would fail
        assert own.getsockname()[0] != "0.0.0.0"
    found = ipaddress.ip_address(external_address("::"))
    assert found.version == 6
    assert not found.is_unspecified


@pytest.mark.parametrize(
    ("host", "url"), [("0.0.0.0", "http://127.0.0.1:80/"), ("::", "http://[::1]:80/")]
)
def test_without_a_network_it_is_the_loopback(
    host: str, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Unconnected(socket.socket):
        def connect(self, address: object) -> None:
            raise OSError(101, "Network is unreachable")

    monkeypatch.setattr(socket, "socket", Unconnected)
    assert Address(host, 0).url(80) == url
