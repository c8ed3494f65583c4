"""Opens ``http://`` addresses with the user and password that are in them."""

from __future__ import annotations

import hashlib
import ssl
from collections.abc import Callable, Sequence
from http.cookiejar import Cookie, CookieJar
from typing import Any
from urllib import request
from urllib.parse import quote, unquote, urljoin, urlsplit, urlunsplit

from edge_runtime.version import VERSION

MOST_COOKIES = 20
_PLAIN = "%/:=&?~+!$,;'@()*[]"  # not to be quoted again
# What a camera may ask for, best first: as its challenge writes it, and as hashlib.
_ALGORITHMS = {"SHA-256": "sha256", "MD5": "md5", "SHA": "sha1"}


def opener_of(url: str) -> tuple[request.OpenerDirector, str]:
    """Returns what opens an address with its user and password, and the rest of it.

    Raises:
        ValueError: It is not an address.
    """
    parts = urlsplit(url)
    host = parts.netloc.rpartition("@")[2]
    passwords = request.HTTPPasswordMgrWithPriorAuth()
    plain = urlunsplit((parts.scheme, host, quote(parts.path, _PLAIN), "", ""))
    if parts.query:
        plain += f"?{quote(parts.query, _PLAIN)}"
    if parts.username is not None:
        user, password = unquote(parts.username), unquote(parts.password or "")
        # Of all paths there: an address may lead to another one.
        root = urlunsplit((parts.scheme, host, "/", "", ""))
        passwords.add_password(None, root, user, password)
    opener = request.build_opener(
        request.HTTPSHandler(context=_any_tls()),
        request.HTTPCookieProcessor(_FewCookies()),  # some want back what they gave
        _Digest(passwords),
        _Basic(passwords),
    )
    opener.addheaders = [("User-Agent", f"fer-edge/{VERSION}")]  # some refuse Python's
    return opener, plain


class _FewCookies(CookieJar):
    """Cookies that do not become more with each image that is asked for."""

    def set_cookie(self, cookie: Cookie) -> None:
        if len(self) >= MOST_COOKIES:
            self.clear()
        super().set_cookie(cookie)


def _any_tls() -> ssl.SSLContext:
    """Returns what connects to any camera: those of ten years ago have TLS 1.0."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    context.minimum_version = ssl.TLSVersion.MINIMUM_SUPPORTED
    context.set_ciphers("DEFAULT:@SECLEVEL=0")
    return context


class _Basic(request.HTTPBasicAuthHandler):
    """Basic authentication, without being asked again once it was accepted.

    Python's own takes any answer for that: the next request has the password as plain
    text where Digest was asked for, and ``None:None`` where nothing was.
    """

    def __init__(self, passwords: request.HTTPPasswordMgrWithPriorAuth) -> None:
        super().__init__(passwords)
        self._note = passwords.update_authenticated

    def http_response(self, req: request.Request, response: Any) -> Any:
        """Notes where a password was accepted; returns the answer."""
        if req.get_header("Authorization", "").startswith("Basic"):
            accepted = 200 <= response.code < 300
            self._note(urljoin(req.full_url, "/"), accepted)
        return response

    https_response = http_response


class _Digest(request.HTTPDigestAuthHandler):
    """Digest authentication also with SHA-256 (RFC 7616), among several challenges.

    Python's own takes the first challenge only, and gives up where it does not know it.
    """

    def http_error_401(
        self, req: request.Request, fp: Any, code: int, msg: str, headers: Any
    ) -> Any:
        """Answers the best challenge that is understood; None for none.

        A password is sent once: cameras lock an account after a few wrong ones.
        """
        fp.close()  # Python's own leaves it open where it asks again
        readable = map(_readable, headers.get_all("WWW-Authenticate", []))
        challenges = sorted(filter(_is_known, readable), key=_rank)
        if req.get_header("Authorization", "").startswith("Digest"):
            challenges = list(filter(_is_stale, challenges))
        _replace(headers, challenges)
        answer = super().http_error_401(req, fp, code, msg, headers)
        # Basic comes next, and fails on others.
        _replace(headers, list(filter(_is_basic, challenges)))
        return answer

    def get_algorithm_impls(
        self, algorithm: str
    ) -> tuple[Callable[[str], str], Callable[[str, str], str]]:
        """Returns the hash function of a challenge, and the one of two parts."""
        name = _ALGORITHMS[algorithm.upper()]

        def digest(text: str) -> str:
            data = text.encode()
            return hashlib.new(name, data, usedforsecurity=False).hexdigest()

        return digest, lambda secret, data: digest(f"{secret}:{data}")


def _replace(headers: Any, challenges: Sequence[str]) -> None:
    del headers["WWW-Authenticate"]
    for challenge in challenges:
        headers["WWW-Authenticate"] = challenge


def _is_basic(challenge: str) -> bool:
    return _rank(challenge) == len(_ALGORITHMS)


def _readable(challenge: str) -> str:
    """Returns a Digest challenge as Python's own code reads it, others as they are.

    That fails on a value that is empty without quotes, such as ``opaque=``.
    """
    scheme, _, rest = challenge.partition(" ")
    if scheme.lower() != "digest":
        return challenge
    pairs = (pair.partition("=") for pair in request.parse_http_list(rest))
    values = {key.strip().lower(): value.strip() for key, _, value in pairs}
    return f"{scheme} " + ", ".join(
        f"{key}={_quoted(value)}" for key, value in values.items() if value
    )


def _quoted(value: str) -> str:
    if len(value) > 1 and value[0] == value[-1] == '"':
        value = value[1:-1]
    escaped = value.replace("\\", r"\\").replace('"', r"\"")
    return f'"{escaped}"'


def _is_stale(challenge: str) -> bool:
    """Returns whether only the nonce was too old: the password may be right."""
    return _values(challenge.partition(" ")[2]).get("stale", "").lower() == "true"


def _is_known(challenge: str) -> bool:
    return _rank(challenge) <= len(_ALGORITHMS)


def _rank(challenge: str) -> int:
    """Returns 0 for the best challenge, larger numbers for others."""
    scheme, _, rest = challenge.partition(" ")
    if scheme.lower() == "basic":
        return len(_ALGORITHMS)
    if scheme.lower() != "digest":
        return len(_ALGORITHMS) + 1
    algorithm = _values(rest).get("algorithm", "MD5").upper()
    if algorithm not in _ALGORITHMS:
        return len(_ALGORITHMS) + 1
    return list(_ALGORITHMS).index(algorithm)


def _values(challenge: str) -> dict[str, str]:
    return request.parse_keqv_list(request.parse_http_list(challenge))
