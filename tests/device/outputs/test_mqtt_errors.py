"""Why there is no connection to a broker: the true reason for each kind."""

from __future__ import annotations

import ssl

import pytest

from edge_runtime.outputs.mqtt_errors import connect_error
from edge_runtime.outputs.mqtt_topics import parse_broker

BROKER = parse_broker("mqtts://host/home/door")


def tls(reason: str) -> ssl.SSLError:
    error = ssl.SSLError(1, f"[SSL: {reason}] words")
    error.reason = reason
    return error


def certificate(code: int, message: str) -> ssl.SSLCertVerificationError:
    error = ssl.SSLCertVerificationError(1, "certificate verify failed")
    error.reason = "CERTIFICATE_VERIFY_FAILED"
    error.verify_code, error.verify_message = code, message
    return error


@pytest.mark.parametrize(
    ("error", "part"),
    [
        (tls("WRONG_VERSION_NUMBER"), "no TLS at host:8883"),
        (ConnectionResetError(), "no TLS at host:8883"),
        (tls("SSLV3_ALERT_HANDSHAKE_FAILURE"), "ask its clients for a certificate"),
        (tls("UNSUPPORTED_PROTOCOL"), "host:8883 fails: UNSUPPORTED_PROTOCOL"),
        (certificate(20, "unable to get local issuer"), "known authority"),
        (certificate(18, "self-signed certificate"), "known authority"),
        (certificate(10, "expired"), "has expired"),
        (certificate(62, "hostname mismatch"), "another name"),
        (certificate(66, "EE certificate key too weak"), "refused: EE certificate key"),
    ],
    ids=lambda value: str(value)[:40],
)
def test_each_failure_of_tls_has_its_own_reason(error: Exception, part: str) -> None:
    assert part in connect_error(error, BROKER)
