"""The address of the page (``--serve``) and its token."""

from __future__ import annotations

import ipaddress
import re
import socket
from dataclasses import dataclass
from pathlib import Path

from edge_runtime.errors import OutputError
from edge_runtime.utils.files import read_secret

LOCAL = "127.0.0.1"
# For all addresses of a family: the family, its loopback address, and an address
# that is reserved for documentation (RFC 5737, 3849).
_ANY = {
    "0.0.0.0": (socket.AF_INET, LOCAL, "192.0.2.1"),
    "::": (socket.AF_INET6, "::1", "2001:db8::1"),
}
MIN_TOKEN_LENGTH = 16
_EXPECTED = "expected --serve PORT, HOST:PORT or [IPV6]:PORT"
_FORM = re.compile(r"(?:(?:\[([^\]]+)\]|([^:\[\]]+)):)?([0-9]{1,5})")


@dataclass(frozen=True)
class Address:
    """An address of this machine to listen on; port 0 takes a free one."""

    host: str
    port: int

    def url(self, port: int) -> str:
        """Returns the URL for a browser, on another machine if that can connect."""
        host = external_address(self.host) if self.host in _ANY else self.host
        return f"http://[{host}]:{port}/" if ":" in host else f"http://{host}:{port}/"


def is_loopback(host: str) -> bool:
    """Returns whether a name or IP address is this machine's loopback."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def external_address(host: str) -> str:
    """Returns this machine's address in the network.

    Args:
        host: ``"0.0.0.0"`` or ``"::"``. Without a network of its family, the loopback
            address is returned.
    """
    family, loopback, reserved = _ANY[host]
    try:
        with socket.socket(family, socket.SOCK_DGRAM) as probe:
            probe.connect((reserved, 9))  # looks up the route, sends nothing
            return str(probe.getsockname()[0])
    except OSError:
        return loopback


def parse_address(text: str) -> Address:
    """Returns the address given with ``--serve``.

    Raises:
        OutputError: It is not one.
    """
    match = _FORM.fullmatch(text.strip())
    if match is None or int(match[3]) > 65535:
        raise OutputError(f"{_EXPECTED}, got {text[:80]!r}")
    return Address(match[1] or match[2] or LOCAL, int(match[3]))


def read_token(address: Address, token_file: Path | None) -> str | None:
    """Returns the token that is required; None for none.

    Raises:
        OutputError: Other machines could connect and there is no token; or the file
            cannot be read.
    """
    if token_file is not None:
        return read_secret(token_file, "--token-file", min_length=MIN_TOKEN_LENGTH)
    if is_loopback(address.host):
        return None
    raise OutputError(
        f"expected --token-file FILE to serve at {address.host}, where others can"
        " connect: make one with  (umask 077; python -c 'import secrets;"
        " print(secrets.token_urlsafe(24))' > token.txt)  or serve at 127.0.0.1"
    )
