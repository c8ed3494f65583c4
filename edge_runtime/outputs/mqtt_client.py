"""The client of an MQTT broker before it connects: options, password, certificates."""

from __future__ import annotations

import errno
import secrets
import socket
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from edge_runtime.errors import OutputError, missing
from edge_runtime.outputs.mqtt_topics import Broker, default_prefix
from edge_runtime.untrusted import require_regular
from edge_runtime.utils.files import read_secret

if TYPE_CHECKING:
    from paho.mqtt.client import Client

    from edge_runtime.outputs.lasting_client import LastingClient

MAX_EVENTS = 1000
# However long the broker was away, it is found within five seconds of its return.
MIN_PAUSE_S, MAX_PAUSE_S = 1, 4


@dataclass(frozen=True)
class MqttOptions:
    """How to connect to a broker.

    Attributes:
        password_file: Its first line is the password of the broker's user. Read again
            when the broker refuses: it may have changed meanwhile.
        ca_file: Certificates to trust instead of the system's.
        discovery: Home Assistant's topic prefix; None for no discovery.
    """

    broker: Broker
    password_file: Path | None = None
    ca_file: Path | None = None
    discovery: str | None = "homeassistant"


def new_client(options: MqttOptions) -> LastingClient:
    """Returns a client that is not connected.

    Raises:
        MissingDependencyError: paho-mqtt is not installed.
        OutputError: The certificates cannot be read.
    """
    try:
        from paho.mqtt.enums import CallbackAPIVersion

        from edge_runtime.outputs.lasting_client import LastingClient
    except ImportError as error:
        raise missing("paho-mqtt", "mqtt", error) from error
    broker = options.broker
    # A broker disconnects a client when another one with its id connects.
    client_id = f"{broker.node[:40]}-{secrets.token_hex(4)}"
    client = LastingClient(CallbackAPIVersion.VERSION2, client_id=client_id)
    client.will_set(broker.topic("availability"), "offline", qos=1, retain=True)
    client.reconnect_delay_set(MIN_PAUSE_S, MAX_PAUSE_S)
    client.max_queued_messages_set(MAX_EVENTS)
    ca_file = None if options.ca_file is None else str(options.ca_file)
    try:
        if broker.tls:
            if options.ca_file is not None:
                require_regular(options.ca_file)
            client.tls_set(ca_certs=ca_file)
    except OSError as error:  # ssl.SSLError is one
        raise OutputError(
            f"expected certificates (PEM) in {ca_file!r}, got: {error}"
        ) from error
    return client


def set_password(client: Client, options: MqttOptions) -> str | None:
    """Gives a client its user and password; returns the password.

    Raises:
        OutputError: The password cannot be read.
    """
    if options.broker.user is None:
        return None
    password, file = None, options.password_file
    if file is not None:
        password = read_secret(file, "--mqtt-password-file")
    client.username_pw_set(options.broker.user, password)
    return password


@contextmanager
def claim_default_prefix(broker: Broker) -> Iterator[None]:
    """Holds a name on this machine while the default prefix is used.

    Raises:
        OutputError: Another run holds it.
    """
    if broker.prefix != default_prefix() or sys.platform != "linux":
        yield
        return
    # A socket in Linux's abstract namespace: gone with the process, however it ends.
    name = f"\0fer-edge {broker.host}:{broker.port}/{broker.prefix}"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as claim:
        try:
            claim.bind(name[:100])
        except OSError as error:
            if error.errno == errno.EADDRINUSE:
                raise OutputError(
                    f"another run on this machine publishes below {broker.prefix!r}:"
                    " give each camera a prefix, as in"
                    f"  --mqtt mqtt://{broker.host}/home/door"
                ) from None
        yield
