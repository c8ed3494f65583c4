"""Opens ``http://`` addresses with the user and password that are in them."""

from __future__ import annotations

import hashlib
import ssl
from collections.abc import Callable
from typing import Any
from urllib import request
from urllib.parse import quote, unquote, urlsplit, urlunsplit

_PLAIN = "%/:=&?~+!$,;'@()*[]"  # not to be quoted again
# What a camera may ask for, best first: as its challenge writes it, and as hashlib.
_ALGORITHMS = {"SHA-256": "sha256", "MD5": "md5", "SHA": "sha1"}


def opener_of(url: str) -> tuple[request.OpenerDirector, str]:
    """Returns what opens an address with its user and password, and the rest of it.

    Raises:
        ValueError: It is no address.
    """
    parts = urlsplit(url)
    host = parts.netloc.rpartition("@")[2]
    passwords = request.HTTPPasswordMgrWithPriorAuth()
    plain = urlunsplit((parts.scheme, host, quote(parts.path, _PLAIN), "", ""))
    if parts.query:
        plain += f"?{quote(parts.query, _PLAIN)}"
    if parts.username is not None:
        user, password = unquote(parts.username), unquote(parts.password or "")
        passwords.add_password(None, plain, user, password)
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    opener = request.build_opener(
        request.HTTPSHandler(context=context),
        _Digest(passwords),
        request.HTTPBasicAuthHandler(passwords),
    )
    return opener, plain


class _Digest(request.HTTPDigestAuthHandler):
    """Digest authentication also with SHA-256 (RFC 7616), among several challenges.

    Python's own takes the first challenge only, and gives up where it does not know it.
    """

    def http_error_401(
        self, req: request.Request, fp: Any, code: int, msg: str, headers: Any
    ) -> Any:
        """Answers the best challenge that is understood; None for none."""
        challenges = headers.get_all("WWW-Authenticate", [])
        del headers["WWW-Authenticate"]
        for challenge in sorted(filter(_is_known, challenges), key=_rank):
            headers["WWW-Authenticate"] = challenge
        return super().http_error_401(req, fp, code, msg, headers)

    def get_algorithm_impls(
        self, algorithm: str
    ) -> tuple[Callable[[str], str], Callable[[str, str], str]]:
        """Returns the hash function of a challenge, and the one of two parts."""
        name = _ALGORITHMS[algorithm.upper()]

        def digest(text: str) -> str:
            data = text.encode()
            return hashlib.new(name, data, usedforsecurity=False).hexdigest()

        return digest, lambda secret, data: digest(f"{secret}:{data}")


def _is_known(challenge: str) -> bool:
    return _rank(challenge) <= len(_ALGORITHMS)


def _rank(challenge: str) -> int:
    """Returns 0 for the best challenge, larger numbers for others."""
    scheme, _, rest = challenge.partition(" ")
    if scheme.lower() == "basic":
        return len(_ALGORITHMS)
    values = request.parse_keqv_list(
        [pair for pair in request.parse_http_list(rest) if "=" in pair]
    )
    names = {key.lower(): value for key, value in values.items()}
    algorithm = names.get("algorithm", "MD5").upper()
    if scheme.lower() != "digest" or algorithm not in _ALGORITHMS:
        return len(_ALGORITHMS) + 1
    return list(_ALGORITHMS).index(algorithm)
