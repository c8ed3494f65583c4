"""Where a broker is, and the topics of this device there."""

from __future__ import annotations

import hashlib
import re
import socket
from dataclasses import dataclass
from urllib.parse import unquote, urlsplit

from edge_runtime.errors import OutputError

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
