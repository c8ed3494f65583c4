"""Access control: a token, or else only this machine under its own names."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
import time
from collections import Counter
from collections.abc import Callable
from urllib.parse import urlsplit

from aiohttp import web
from aiohttp.typedefs import Handler, Middleware

from edge_runtime.web.address import is_loopback

COOKIE = "fer_edge_session_"  # begins its name
SESSION_S = 30 * 24 * 3600
CLOCK_STEP_S = SESSION_S  # by so much a clock may step back, and nobody is logged out
# Other programs show these, such as Home Assistant: most can only send a name and a
# password. Not on other paths: browsers send these by themselves once they were typed.
BASIC_PATHS = ("/stream", "/snapshot.jpg")
PAGES = ("/", "/review")  # without the token they lead to its form
OPEN_PATHS = ("/healthz", "/login", "/static/")
NOWHERE = (
    "404: the page has no such path. A proxy must take its own part off: in nginx\n"
    "proxy_pass  ends in a slash, Caddy has  handle_path,  Traefik  StripPrefix.\n"
)
WRONG_TOKEN_DELAY_S = 1.0
MAX_WRONG_AT_ONCE = 8  # of one address
MAX_WRONG_ADDRESSES = 256

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
    """Accepts or refuses requests.

    Attributes:
        on_token: Called with each request that shows the token, or its cookie.
    """

    def __init__(self, token: str | None) -> None:
        """Takes the token; None accepts every program on this machine."""
        self._token = None if token is None else token.encode()
        # Browsers send the cookies of one host to all its ports, so that of another
        # camera there has another name.
        self._cookie = COOKIE + self._signature("cookie")[:8]
        self.on_token: Callable[[web.Request], None] = lambda request: None
        self._latest_s = time.time()
        # Wrong tokens that are being delayed, by address; no address has 0.
        self._wrong: Counter[str] = Counter()

    @property
    def asks_for_token(self) -> bool:
        """Whether there is a token."""
        return self._token is not None

    def middleware(self) -> Middleware:
        """Returns a function that aiohttp calls around every handler."""

        @web.middleware
        async def guard(request: web.Request, handler: Handler) -> web.StreamResponse:
            if self._token is None:
                _check_host(request)
            if isinstance(request.match_info.http_exception, web.HTTPNotFound):
                raise web.HTTPNotFound(text=NOWHERE)
            if self._token and not request.path.startswith(OPEN_PATHS):
                await self._check_credentials(request)
                self.on_token(request)
            return await handler(request)

        return guard

    async def is_token(self, candidate: str, request: web.Request) -> bool:
        """Returns whether a text is the token; False takes a second.

        Raises:
            web.HTTPTooManyRequests: Too many wrong tokens of this address are waiting.
        """
        address, wrong = request.remote or "", self._wrong
        if wrong[address] >= MAX_WRONG_AT_ONCE or (
            address not in wrong and len(wrong) >= MAX_WRONG_ADDRESSES
        ):
            raise web.HTTPTooManyRequests(headers={"Retry-After": "5"})
        if self._token is None or _equal(_encode(candidate), self._token):
            return True
        wrong[address] += 1
        try:
            await asyncio.sleep(WRONG_TOKEN_DELAY_S)
        finally:
            wrong[address] -= 1
            if not wrong[address]:
                del wrong[address]
        return False

    def set_cookie(self, response: web.StreamResponse, request: web.Request) -> None:
        """Sets the cookie with which a browser is accepted from then on."""
        proxied = request.headers.get("X-Forwarded-Proto") == "https"
        response.set_cookie(
            self._cookie,
            self._session(int(self._now_s()) + SESSION_S),
            max_age=SESSION_S,
            httponly=True,
            samesite="Strict",
            secure=proxied,
        )
        # Without a path the browser takes the folder that it sees: behind a proxy that
        # is /cam1/, and another camera's cookie is another one.
        response.cookies[self._cookie]["path"] = ""

    async def _check_credentials(self, request: web.Request) -> None:
        kind, _, token = request.headers.get("Authorization", "").partition(" ")
        kind, basic = kind.lower(), request.path in BASIC_PATHS
        # A browser adds a password that was once typed, or that a proxy asks for.
        if kind != "bearer" and self._is_session(request.cookies.get(self._cookie, "")):
            return
        if kind == "basic" and basic:
            kind, token = "bearer", _basic_password(token)
        if kind == "bearer" and await self.is_token(token.strip(), request):
            return
        if request.path in PAGES:
            raise web.HTTPSeeOther("login")  # relative: behind a proxy, too
        ask = basic and not _is_of_page(request)
        challenge = 'Basic realm="fer-edge"' if ask else "Bearer"
        raise web.HTTPUnauthorized(
            text="expected the token:  Authorization: Bearer TOKEN\n",
            headers={"WWW-Authenticate": challenge},
        )

    def _now_s(self) -> float:
        """Returns the time of day, which steps back only when the program restarts.

        A board without a battery starts with an old time until the network tells it
        the right one. A session that has ended stays ended.
        """
        self._latest_s = max(self._latest_s, time.time())
        return self._latest_s

    def _session(self, expires: int) -> str:
        """Returns a cookie that is signed with the token, but does not contain it."""
        return f"{expires}.{self._signature(f'session {expires}')}"

    def _signature(self, text: str) -> str:
        key = self._token or b""
        return hmac.new(key, f"fer-edge {text}".encode(), hashlib.sha256).hexdigest()

    def _is_session(self, cookie: str) -> bool:
        text = cookie.partition(".")[0]
        if not (text.isascii() and text.isdecimal() and len(text) <= 12):
            return False
        ahead_s = int(text) - self._now_s()
        valid = 0 < ahead_s <= SESSION_S + CLOCK_STEP_S
        return valid and _equal(_encode(cookie), self._session(int(text)).encode())


async def secure(_request: web.Request, response: web.StreamResponse) -> None:
    """Adds the security headers to a response; no cache may keep it."""
    secure_headers(response)


def secure_headers(response: web.StreamResponse) -> None:
    """Adds the security headers to a response that goes out by another way."""
    response.headers.update(SECURITY_HEADERS)
    response.headers.setdefault("Cache-Control", "no-store")


def _is_of_page(request: web.Request) -> bool:
    """Returns whether a request comes from the page, which has a login form.

    Its ``<img>`` goes on asking after the session has ended.
    """
    image = request.headers.get("Accept", "").startswith("image/")
    return image or any(name.startswith(COOKIE) for name in request.cookies)


def _basic_password(credentials: str) -> str:
    """Returns the password of ``Authorization: Basic``; the user may have any name."""
    try:
        text = base64.b64decode(credentials.strip(), validate=True).decode()
    except ValueError:  # UnicodeDecodeError is one
        return ""
    return text.partition(":")[2]


def _encode(text: str) -> bytes:
    """Returns UTF-8; bytes of a header that are none raise no error."""
    return text.encode(errors="surrogatepass")


def _equal(a: bytes, b: bytes) -> bool:
    """Compares in a time that depends neither on length nor on content."""
    return hmac.compare_digest(hashlib.sha256(a).digest(), hashlib.sha256(b).digest())


def _check_host(request: web.Request) -> None:
    """Refuses other host names, against DNS rebinding by a hostile page."""
    try:
        name = urlsplit(f"//{request.host}").hostname
    except ValueError:
        name = None
    if name is None or not is_loopback(name):
        raise web.HTTPMisdirectedRequest(
            text="expected the host localhost or 127.0.0.1: behind a proxy or a"
            " tunnel with another name, give --token-file\n"
        )
