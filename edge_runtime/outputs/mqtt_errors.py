"""Why there is no connection to an MQTT broker, in one sentence with its remedy."""

from __future__ import annotations

import socket
import ssl

from edge_runtime.outputs.mqtt_topics import Broker

# OpenSSL's X509_V_ERR numbers.
_UNKNOWN_ISSUER = frozenset((2, 18, 19, 20, 21))
_EXPIRED, _NOT_YET = 10, 9
_OTHER_NAME, _OTHER_ADDRESS = 62, 64


def connect_error(error: BaseException | None, broker: Broker) -> str:
    """Returns why a connection could not be made.

    Args:
        error: What the attempt raised; None if it is not known.
        broker: Where it went.
    """
    place = f"{broker.host}:{broker.port}"
    if isinstance(error, socket.gaierror):
        return f"no host is called {broker.host!r}: check the spelling and the network"
    if isinstance(error, ssl.SSLCertVerificationError):
        return _certificate_error(error, broker)
    if isinstance(error, ssl.SSLError) and error.reason not in _NOT_TLS:
        return tls_error(error, broker)
    if isinstance(error, ssl.SSLError) or (broker.tls and _closed(error)):
        return f"no TLS at {place}: for a broker without it write mqtt://"
    if isinstance(error, ConnectionRefusedError):
        return f"nobody listens at {place}: start the broker, or name its port"
    if isinstance(error, TimeoutError):
        return f"no answer from {place}: check that the broker is on, and its firewall"
    reason = getattr(error, "strerror", None)
    return f"no connection to {place}" + (f" ({reason})" if reason else "")


# What OpenSSL calls an answer that is none of TLS.
_NOT_TLS = frozenset(
    ("WRONG_VERSION_NUMBER", "RECORD_LAYER_FAILURE", "UNEXPECTED_EOF_WHILE_READING")
)


def tls_error(error: ssl.SSLError, broker: Broker) -> str:
    """Returns why a broker that speaks TLS ends the connection."""
    place, reason = f"{broker.host}:{broker.port}", error.reason or str(error)
    if "CERTIFICATE_REQUIRED" in reason or "HANDSHAKE_FAILURE" in reason:
        return (
            f"{place} ends the TLS connection ({reason}): it may ask its clients for a"
            " certificate, which --mqtt cannot give; let it take a password instead"
        )
    return f"the TLS connection to {place} fails: {reason}"


def _closed(error: BaseException | None) -> bool:
    return isinstance(error, ConnectionResetError | BrokenPipeError | EOFError)


def _certificate_error(error: ssl.SSLCertVerificationError, broker: Broker) -> str:
    place = f"{broker.host}:{broker.port}"
    if error.verify_code in (_OTHER_NAME, _OTHER_ADDRESS):
        return (
            f"the certificate of {place} is of another name: write the name that is in"
            " it into --mqtt"
        )
    if error.verify_code == _EXPIRED:
        return f"the certificate of {place} has expired: renew it, or set this clock"
    if error.verify_code == _NOT_YET:
        return f"the certificate of {place} is not valid yet: set this clock"
    if error.verify_code not in _UNKNOWN_ISSUER:
        return f"the certificate of {place} is refused: {error.verify_message}"
    return (
        f"the certificate of {place} is not of a known authority: give the authority's"
        " own with --mqtt-ca FILE"
    )


def refusal(reason: str, broker: Broker) -> str:
    """Returns what a broker's refusal means.

    Args:
        reason: As paho names it.
        broker: With the user that was refused.
    """
    if reason.lower() not in ("not authorized", "bad user name or password"):
        return f"the broker refuses: {reason}"
    if broker.user is None:
        return (
            "the broker refuses clients without a user: write mqtt://USER@HOST and give"
            " --mqtt-password-file FILE"
        )
    return (
        f"the broker refuses user {broker.user!r} or its password: check both, and"
        " --mqtt-password-file"
    )


def not_passed_on(broker: Broker) -> str:
    """Returns the message for a broker that does not deliver what was published."""
    user = "a client without a name" if broker.user is None else repr(broker.user)
    return (
        f"the broker takes what is published below {broker.prefix!r} and does not pass"
        f" it on: allow {user} to read and write {broker.prefix}/# (its access list)"
    )


def no_answer(broker: Broker) -> str:
    """Returns the message for an open port that does not speak MQTT."""
    other = "mqtt:// (1883)" if broker.tls else "mqtts:// (8883) where it speaks TLS"
    return (
        f"{broker.host}:{broker.port} takes the connection and does not answer as a"
        f" broker: name its port, or write {other}"
    )
