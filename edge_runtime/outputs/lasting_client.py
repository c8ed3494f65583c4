"""An MQTT client whose thread lasts, and whose broker cannot fill the memory."""

from __future__ import annotations

import contextlib
import logging
import ssl
import time
from typing import Any

from paho.mqtt.client import MQTT_LOG_ERR, Client
from paho.mqtt.enums import MQTTErrorCode

logger = logging.getLogger(__name__)

# MQTT allows packets of 256 MB, also where nothing is subscribed. Those that this
# client expects have a few bytes.
MAX_PACKET_BYTES = 2**20
QOS_BITS = 0b110  # of a PUBLISH
PAUSE_S = 1.0  # after an unexpected error


class LastingClient(Client):
    """paho's ``Client``, which an unexpected error does not end for good.

    Attributes:
        tls_error: Of the last connection: what ended it, if it was TLS.
    """

    def __init__(self, *arguments: Any, **settings: Any) -> None:
        """Takes the arguments of ``Client``."""
        super().__init__(*arguments, **settings)
        self._ended = False
        self.tls_error: ssl.SSLError | None = None
        self.suppress_exceptions = True  # of callbacks: ``_log_exception`` tells
        self.on_log = _log_exception

    def disconnect(self, *arguments: Any, **settings: Any) -> MQTTErrorCode:
        """Disconnects for good."""
        self._ended = True
        return super().disconnect(*arguments, **settings)

    def loop_forever(
        self, timeout: float = 1.0, retry_first_connection: bool = False
    ) -> MQTTErrorCode:
        """Runs in the thread: talks to the broker until ``disconnect``."""
        failed = False
        while True:
            try:
                if failed:
                    time.sleep(PAUSE_S)
                    with contextlib.suppress(OSError):  # the loop goes on trying
                        self.reconnect()
                return super().loop_forever(timeout, retry_first_connection)
            except Exception as error:  # such as of a packet that paho cannot parse
                if self._ended:
                    raise
                kind = type(error).__name__
                logger.warning("--mqtt: %s: %s; reconnecting", kind, error)
                logger.debug("details", exc_info=True)
                failed = True

    def _handle_publish(self) -> MQTTErrorCode:
        """Ends the connection for a message that paho would keep or answer.

        Of what is subscribed with QoS 0, all messages have it.
        """
        if self._in_packet["command"] & QOS_BITS:
            return MQTTErrorCode.MQTT_ERR_PROTOCOL
        return super()._handle_publish()

    def _sock_recv(self, bufsize: int) -> bytes:
        """Receives a part of a packet; paho asks for all that is left of it."""
        if bufsize > MAX_PACKET_BYTES:
            raise ConnectionError(f"a packet of {bufsize} bytes")
        try:
            return super()._sock_recv(bufsize)
        except ssl.SSLError as error:  # paho says only that the connection is lost
            self.tls_error = error
            raise


def _log_exception(_client: Client, _data: Any, level: int, text: str) -> None:
    if level == MQTT_LOG_ERR and text.startswith("Caught exception"):
        logger.warning("--mqtt: %s", text)
