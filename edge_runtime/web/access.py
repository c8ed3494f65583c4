"""Who may come in: a token where others can connect, this machine's own names else."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import time
from collections import Counter
from urllib.parse import urlsplit

from aiohttp import web
from aiohttp.typedefs import Handler, Middleware

from edge_runtime.web.address import is_loopback

COOKIE = "fer_edge_session"

SESSION_S = 30 * 24 * 3600

OPEN_PATHS = ("/healthz", "/login", "/static/")

WRONG_PAUSE_S = 1.0

MOST_WRONG_AT_ONCE = 8  # of one address

MOST_WRONG_ADDRESSES = 256

SECURITY_HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self';"
        " connect-src 'self'; form-action 'self'; base-uri 'none';"
        " frame-ancestors 'none'"
    ),
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), microphone=(), geolocation=()",
    "Referrer-Policy": "no-referrer",
    "Server": "fer-edge",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
}


class Access:
    """Lets requests in, or not."""

    def __init__(self, token: str | None) -> None:
        """Takes the token; None lets in whoever is on this machine."""
        self._token = None if token is None else token.encode()
        self._wrong_now: Counter[str] = Counter()  # by address, none of them 0

    @property
    def needs_token(self) -> bool:
        """Whether a token is asked for."""
        return self._token is not None

    def middleware(self) -> Middleware:
        """Returns what aiohttp calls around every handler."""

        @web.middleware
        async def guard(request: web.Request, handler: Handler) -> web.StreamResponse:
            if self._token is None:
                _check_host(request)
            elif not request.path.startswith(OPEN_PATHS):
                await self._check_credentials(request)
            return await handler(request)

        return guard

    async def is_token(self, given: str, request: web.Request) -> bool:
        """Returns whether it is the token; a wrong one takes a second.

        Args:
            given: Perhaps the token.
            request: Who gave it is in here.

        Raises:
            web.HTTPTooManyRequests: Too many wrong ones of this address are waiting.
        """
        address, wrong = request.remote or "", self._wrong_now
        if wrong[address] >= MOST_WRONG_AT_ONCE or (
            address not in wrong and len(wrong) >= MOST_WRONG_ADDRESSES
        ):
            raise web.HTTPTooManyRequests(headers={"Retry-After": "5"})
        if self._token is None or _same(_encoded(given), self._token):
            return True
        wrong[address] += 1
        try:
            await asyncio.sleep(WRONG_PAUSE_S)
        finally:
            wrong[address] -= 1
            if not wrong[address]:
                del wrong[address]
        return False

    def let_in(self, response: web.StreamResponse, request: web.Request) -> None:
        """Gives a browser the cookie that stands for the token."""
        proxied = request.headers.get("X-Forwarded-Proto") == "https"
        response.set_cookie(
            COOKIE,
            self._session(int(time.time()) + SESSION_S),
            max_age=SESSION_S,
            httponly=True,
            samesite="Strict",
            secure=proxied,
        )

    async def _check_credentials(self, request: web.Request) -> None:
        kind, _, given = request.headers.get("Authorization", "").partition(" ")
        if kind.lower() == "bearer" and await self.is_token(given.strip(), request):
            return
        if not kind and self._is_session(request.cookies.get(COOKIE, "")):
            return
        if request.path == "/":
            raise web.HTTPSeeOther("/login")
        raise web.HTTPUnauthorized(
            text="expected the token:  Authorization: Bearer TOKEN\n",
            headers={"WWW-Authenticate": "Bearer"},
        )

    def _session(self, expires: int) -> str:
        """Returns a cookie that only who knows the token can make; not the token."""
        key = self._token or b""
        proof = hmac.new(key, f"fer-edge session {expires}".encode(), hashlib.sha256)
        return f"{expires}.{proof.hexdigest()}"

    def _is_session(self, cookie: str) -> bool:
        text = cookie.partition(".")[0]
        if not (text.isascii() and text.isdecimal() and len(text) <= 12):
            return False
        fresh = time.time() < int(text) <= time.time() + SESSION_S
        return fresh and _same(_encoded(cookie), self._session(int(text)).encode())


async def secure(_request: web.Request, response: web.StreamResponse) -> None:
    """Adds the security headers to a response; nothing of the page is to be kept."""
    response.headers.update(SECURITY_HEADERS)
    response.headers.setdefault("Cache-Control", "no-store")


def _encoded(text: str) -> bytes:
    """Returns UTF-8; of bytes in a header that are none, something, not an error."""
    return text.encode(errors="surrogatepass")


def _same(a: bytes, b: bytes) -> bool:
    """Compares in a time that tells neither length nor place of a difference."""
    digests = (hashlib.sha256(one).digest() for one in (a, b))
    return hmac.compare_digest(*digests)


def _check_host(request: web.Request) -> None:
    """Refuses other names: a hostile page could point its own name at this machine."""
    try:
        name = urlsplit(f"//{request.host}").hostname
    except ValueError:
        name = None
    if name is None or not is_loopback(name):
        raise web.HTTPMisdirectedRequest(
            text="expected the host localhost or 127.0.0.1: behind a proxy or a"
            " tunnel with another name, give --token-file\n"
        )
