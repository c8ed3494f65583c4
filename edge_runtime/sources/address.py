"""Addresses of network cameras: what may be shown, and why one does not open."""

from __future__ import annotations

import re
import socket
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

_CONNECT_TIMEOUT_S = 2.0
_PORTS = {"rtsp": 554, "rtsps": 322, "http": 80, "https": 443}
_RTSP_STATUS = re.compile(rb"RTSP/1\.\d (\d{3})\b")
_HOST = re.compile(r"(?:[\w.-]+|\[[0-9A-Fa-f:.%]+\])(?::\d+)?")


def scheme_of(text: str) -> str:
    """Returns the scheme of an address in lower case; empty for anything else."""
    scheme, separator, _ = text.partition("://")
    return scheme.lower() if separator else ""


def with_plain_scheme(text: str) -> str:
    """Returns an address with its scheme in lower case, as FFmpeg needs it."""
    scheme, separator, rest = text.partition("://")
    return f"{scheme.lower()}{separator}{rest}" if separator else text


def without_secrets(url: str) -> str:
    """Returns an address for logs, without passwords: ``rtsp://host:554/...``.

    Cameras take passwords before the host, in the query and in the path: only scheme,
    host and port are kept. If a password may be in the place of the host (it contains a
    ``/``), the host is left out, too.
    """
    scheme, _, rest = url.partition("://")
    authority, *after = re.split(r"[/?#]", rest, maxsplit=1)
    host = authority.rpartition("@")[2]
    tail = after[0] if after else ""
    if "@" in tail or not _HOST.fullmatch(host):
        return f"{scheme}://..."
    return f"{scheme}://{host}" + ("/..." if tail else "")


def by_proxy(url: str) -> str:
    """Returns a note if an address is reached through a proxy, else nothing."""
    try:
        parts = urlsplit(url)
        host, proxy = parts.hostname or "", getproxies().get(parts.scheme)
    except ValueError:
        return ""
    if not proxy or proxy_bypass(host):
        return ""
    return (
        f" (by way of the proxy {without_secrets(proxy)}, which {parts.scheme}_proxy"
        f" names: no_proxy={host} leaves the camera out)"
    )


def _rtsp_status(connection: socket.socket, url: str) -> int:
    """Returns the status for who gives no password (RFC 2326); 0 without an answer."""
    parts = urlsplit(url)
    plain = parts._replace(netloc=parts.netloc.rpartition("@")[2]).geturl()
    request = f"DESCRIBE {plain} RTSP/1.0\r\nCSeq: 1\r\nAccept: application/sdp\r\n\r\n"
    try:
        connection.sendall(request.encode())
        match = _RTSP_STATUS.match(connection.recv(64))
    except OSError:
        return 0
    return int(match[1]) if match else 0


def diagnose(url: str) -> str:
    """Returns why an address does not open, and what to do."""
    hidden = without_secrets(url).endswith("://...")
    if hidden and "@" in url:
        return (
            "an @, / or # in a place where it ends the password: in user and password"
            " write @ as %40, / as %2F, # as %23, ? as %3F, : as %3A"
        )
    try:
        parts = urlsplit(url)
        if not parts.hostname:
            return f"no host: write  {parts.scheme}://HOST/PATH"
        port = parts.port or _PORTS[parts.scheme]
        with socket.create_connection(
            (parts.hostname, port), _CONNECT_TIMEOUT_S
        ) as connection:
            status = _rtsp_status(connection, url) if parts.scheme == "rtsp" else 0
    except UnicodeError:  # IDNA has rules for host names
        return "a host name with an empty or too long part, or with odd letters"
    except ValueError:
        return (
            "no host with a port from 1 to 65535: write  rtsp://host:554/path,  an IPv6"
            " address in brackets, and in a password %2F for / and %40 for @"
        )
    except socket.gaierror:
        return "no host of that name: check the spelling and the network"
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        return f"no answer ({reason}): check that the camera is on, and the port"
    if status == 401 and parts.username is None:
        return "a refusal (401): it asks for a user: rtsp://USER:PASSWORD@HOST/PATH"
    if status == 404:
        return "no such path (404): look it up in the camera's manual"
    return (
        "an answer that is not a video: check path, user and password, as with"
        f"  ffplay {parts.scheme}://USER:PASSWORD@{parts.netloc.rpartition('@')[2]}/PATH"
    )
