"""Where the page listens, and who may come in."""

from __future__ import annotations

import ipaddress
import re
import socket
from dataclasses import dataclass
from pathlib import Path

from edge_runtime.errors import OutputError
from edge_runtime.utils.files import read_secret

LOCAL = "127.0.0.1"
# Of all addresses: the family, its loopback, and one that is nobody's (RFC 5737, 3849).
_ANY = {
    "0.0.0.0": (socket.AF_INET, LOCAL, "192.0.2.1"),
    "::": (socket.AF_INET6, "::1", "2001:db8::1"),
}
SHORTEST_TOKEN = 16
_EXPECTED = "expected --serve PORT, HOST:PORT or [IPV6]:PORT"
_FORM = re.compile(r"(?:(?:\[([^\]]+)\]|([^:\[\]]+)):)?([0-9]{1,5})")


@dataclass(frozen=True)
class Address:
    """An address to listen at.

    Attributes:
        host: Name or number of one of this machine's addresses.
        port: TCP port; 0 takes a free one.
    """

    host: str
    port: int

    @property
    def local(self) -> bool:
        """Whether only programs on this machine reach it."""
        return is_loopback(self.host)

    def url(self, port: int) -> str:
        """Returns what to type into a browser, on another machine where that may be."""
        host = outward(self.host) if self.host in _ANY else self.host
        return f"http://[{host}]:{port}/" if ":" in host else f"http://{host}:{port}/"


def is_loopback(host: str) -> bool:
    """Returns whether a name or number is this machine's, for itself alone."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def outward(host: str) -> str:
    """Returns the address by which other machines see this one.

    Args:
        host: ``"0.0.0.0"`` or ``"::"``; the loopback's address of its kind is returned
            where there is no network.
    """
    family, loopback, elsewhere = _ANY[host]
    try:
        with socket.socket(family, socket.SOCK_DGRAM) as unsent:
            unsent.connect((elsewhere, 9))  # asks the routes, sends nothing
            return str(unsent.getsockname()[0])
    except OSError:  # no network, or none of this family
        return loopback


def parse_address(text: str) -> Address:
    """Returns the address that ``--serve`` names.

    Raises:
        OutputError: It names none.
    """
    match = _FORM.fullmatch(text.strip())
    if match is None or int(match[3]) > 65535:
        raise OutputError(f"{_EXPECTED}, got {text[:80]!r}")
    return Address(match[1] or match[2] or LOCAL, int(match[3]))


def read_token(address: Address, token_file: Path | None) -> str | None:
    """Returns the token that lets people in; None where nobody is asked for one.

    Raises:
        OutputError: Others could reach the address and there is no token; or the file
            cannot be read.
    """
    if token_file is not None:
        return read_secret(token_file, "--token-file", shortest=SHORTEST_TOKEN)
    if address.local:
        return None
    raise OutputError(
        f"expected --token-file FILE to serve at {address.host}, where others can"
        " connect: make one with  python -c 'import secrets;"
        " print(secrets.token_urlsafe(24))' > token.txt  or serve at 127.0.0.1"
    )
