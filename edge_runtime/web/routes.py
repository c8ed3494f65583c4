"""What is answered at which path."""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket
from importlib.resources import files
from urllib.parse import parse_qs

from aiohttp import web

from edge_runtime.web.access import Access, secure
from edge_runtime.web.metrics import CONTENT_TYPE, Metrics
from edge_runtime.web.state import States
from edge_runtime.web.stream import MAX_VIEWERS, LatestJpeg, Stream

MOST_BODY_BYTES = 4096
BODY_PATIENCE_S = 5.0
# A client that takes nothing for so long is dropped; the others never wait for it.
WRITE_PATIENCE_S = 5.0
SNAPSHOT_PATIENCE_S = 3.0
LOOK_S = 1.0  # while no picture comes: is the client still there?
SEND_BUFFER_BYTES = 128 * 1024
BOUNDARY = "fer-edge-frame"
STATIC = {
    "page.js": "text/javascript",
    "charts.js": "text/javascript",
    "login.js": "text/javascript",
    "style.css": "text/css",
    "icon.svg": "image/svg+xml",
}


def make_application(
    states: States,
    stream: Stream,
    metrics: Metrics,
    access: Access,
    more_state: dict[str, bool],
) -> web.Application:
    """Returns the application.

    Args:
        states: What is known.
        stream: The live picture.
        metrics: The counters.
        access: Who may come in.
        more_state: Added to ``/api/state``: what the page says about privacy.
    """
    application = web.Application(
        client_max_size=MOST_BODY_BYTES, middlewares=[access.middleware()]
    )
    application.on_response_prepare.append(secure)
    routes = _Routes(states, stream, metrics, access, more_state)
    get, router = application.router.add_get, application.router
    get("/", routes.index)
    get("/login", routes.login_form)
    router.add_post("/login", routes.login)
    get("/static/{name}", routes.static)
    get("/api/state", routes.state)
    get("/metrics", routes.metrics)
    get("/healthz", routes.health)
    get("/snapshot.jpg", routes.snapshot, allow_head=False)
    get("/stream", routes.stream, allow_head=False)
    return application


class _Routes:
    def __init__(
        self,
        states: States,
        stream: Stream,
        metrics: Metrics,
        access: Access,
        more_state: dict[str, bool],
    ) -> None:
        self._states, self._stream, self._metrics = states, stream, metrics
        self._access, self._more_state = access, more_state
        folder = files("edge_runtime.web") / "static"
        names = (*STATIC, "index.html", "login.html")
        self._files = {name: (folder / name).read_bytes() for name in names}

    async def index(self, _: web.Request) -> web.Response:
        return self._html("index.html")

    async def login_form(self, _: web.Request) -> web.Response:
        return self._html("login.html")

    async def login(self, request: web.Request) -> web.Response:
        """Answers the form: back to it, or in with a cookie."""
        try:
            async with asyncio.timeout(BODY_PATIENCE_S):
                body = await request.read()
        except (TimeoutError, web.RequestPayloadError) as error:
            raise web.HTTPBadRequest from error
        # Not request.post(): it follows what the client says of charset and encoding.
        form = parse_qs(body.decode(errors="replace"))
        given = form.get("token", [""])[0].strip()
        if not await self._access.is_token(given, request):
            raise web.HTTPSeeOther("/login?wrong")
        response = web.Response(status=303, headers={"Location": "/"})
        self._access.let_in(response, request)
        return response

    async def static(self, request: web.Request) -> web.Response:
        name = request.match_info["name"]
        if name not in STATIC:
            raise web.HTTPNotFound
        headers = {"Cache-Control": "no-cache"}
        return web.Response(
            body=self._files[name],
            content_type=STATIC[name],
            charset="utf-8",
            headers=headers,
        )

    async def state(self, request: web.Request) -> web.Response:
        text = request.query.get("since", "-1")
        short = len(text) <= 10 and text.removeprefix("-").isascii()
        if not (short and text.removeprefix("-").isdecimal()):
            raise web.HTTPBadRequest(text="expected since=SECOND, a whole number\n")
        document = self._states.document(since=int(text)) | self._more_state
        document["watchers"] = self._stream.viewers
        return web.Response(text=json.dumps(document), content_type="application/json")

    async def metrics(self, _: web.Request) -> web.Response:
        headers = {"Content-Type": CONTENT_TYPE}
        return web.Response(body=self._metrics.text(), headers=headers)

    async def health(self, _: web.Request) -> web.Response:
        if self._states.healthy:
            return web.Response(text="ok\n")
        since = self._states.since_last_frame_s
        return web.Response(status=503, text=f"no frame for {since:.0f} s\n")

    async def snapshot(self, _: web.Request) -> web.Response:
        try:
            async with asyncio.timeout(SNAPSHOT_PATIENCE_S):
                with self._stream.viewing() as newest:
                    found = await newest.after(newest.count)
        except TimeoutError:
            found = None
        if found is None:
            raise web.HTTPServiceUnavailable(text="no frame came\n")
        return web.Response(body=found[1], content_type="image/jpeg")

    async def stream(self, request: web.Request) -> web.StreamResponse:
        """Sends pictures until the client goes, or takes none for too long."""
        if self._stream.viewers >= MAX_VIEWERS:
            raise web.HTTPServiceUnavailable(text="too many are watching\n")
        kind = f"multipart/x-mixed-replace; boundary={BOUNDARY}"
        response = web.StreamResponse(headers={"Content-Type": kind})
        _shorten_buffer(request)
        with self._stream.viewing() as newest:
            await response.prepare(request)
            count = newest.count
            while (found := await _next(newest, count, request)) is not None:
                count, jpeg = found
                try:
                    async with asyncio.timeout(WRITE_PATIENCE_S):
                        await response.write(_part(jpeg))
                except (TimeoutError, ConnectionError):
                    break
        if request.transport is not None:
            request.transport.abort()  # close() would wait for it to read
        return response

    def _html(self, name: str) -> web.Response:
        return web.Response(
            body=self._files[name], content_type="text/html", charset="utf-8"
        )


async def _next(
    newest: LatestJpeg, count: int, request: web.Request
) -> tuple[int, bytes] | None:
    """Returns the picture after number ``count``; None at the end or with nobody."""
    while request.transport is not None and not request.transport.is_closing():
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(LOOK_S):
                return await newest.after(count)
    return None


def _shorten_buffer(request: web.Request) -> None:
    """Has the kernel hold little for a slow client, which would see the past."""
    transport = request.transport
    line = transport.get_extra_info("socket") if transport else None
    if line is not None:
        line.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SEND_BUFFER_BYTES)


def _part(jpeg: bytes) -> bytes:
    # The boundary comes after the picture too: browsers show it only then.
    head = f"Content-Type: image/jpeg\r\nContent-Length: {len(jpeg)}\r\n\r\n"
    return b"--%s\r\n%s%s\r\n" % (BOUNDARY.encode(), head.encode(), jpeg)
