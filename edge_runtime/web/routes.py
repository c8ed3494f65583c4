"""The paths of the page and their handlers."""

from __future__ import annotations

import asyncio
import contextlib
import json
import re
import socket
from functools import partial
from importlib.resources import files
from urllib.parse import parse_qs

from aiohttp import web
from prometheus_client import CONTENT_TYPE_LATEST

from edge_runtime.outputs.collection.review import Review
from edge_runtime.web.access import Access, secure
from edge_runtime.web.metrics import Metrics
from edge_runtime.web.review_routes import ReviewRoutes
from edge_runtime.web.state import PageState
from edge_runtime.web.stream import MAX_VIEWERS, LatestJpeg, Stream

MAX_BODY_BYTES = 4096
BODY_TIMEOUT_S = 5.0
# A client that reads nothing for so long is dropped; the others never wait for it.
WRITE_TIMEOUT_S = 5.0
SNAPSHOT_TIMEOUT_S = 3.0
SOON_S = 0.3
POLL_S = 1.0  # while there is no frame: whether the client is still connected
SEND_BUFFER_BYTES = 128 * 1024
BOUNDARY = "fer-edge-frame"
STATIC = {
    "page.js": "text/javascript",
    "charts.js": "text/javascript",
    "login.js": "text/javascript",
    "region.js": "text/javascript",
    "review.js": "text/javascript",
    "storage.js": "text/javascript",
    "review.css": "text/css",
    "style.css": "text/css",
    "icon.svg": "image/svg+xml",
}


class Routes:
    """The handlers of all paths."""

    def __init__(
        self,
        state: PageState,
        stream: Stream,
        metrics: Metrics,
        access: Access,
        privacy: dict[str, bool],
        review: Review | None = None,
    ) -> None:
        """Reads the static files; ``privacy`` is added to ``/api/state``."""
        self.state, self.stream = state, stream
        self._review = ReviewRoutes(review)
        self.access = access
        self._metrics, self._privacy = metrics, privacy
        folder = files("edge_runtime.web") / "static"
        names = (*STATIC, "index.html", "login.html", "review.html")
        self._files = {name: (folder / name).read_bytes() for name in names}

    def application(self) -> web.Application:
        """Returns the application, to be made in the thread that serves it."""
        application = web.Application(
            client_max_size=MAX_BODY_BYTES, middlewares=[self.access.middleware()]
        )
        application.on_response_prepare.append(secure)
        router = application.router
        router.add_get("/", partial(self._html, "index.html"))
        router.add_get("/review", partial(self._html, "review.html"))
        self._review.add_to(router)
        router.add_get("/login", partial(self._html, "login.html"))
        router.add_post("/login", self._login)
        router.add_get("/static/{name}", self._static)
        router.add_get("/api/state", self._api_state)
        router.add_get("/metrics", self._prometheus)
        router.add_get("/healthz", self._health)
        router.add_get("/snapshot.jpg", self._snapshot, allow_head=False)
        router.add_get("/stream", self._live_view, allow_head=False)
        return application

    async def _html(self, name: str, _: web.Request) -> web.Response:
        return web.Response(
            body=self._files[name], content_type="text/html", charset="utf-8"
        )

    async def _login(self, request: web.Request) -> web.Response:
        """Redirects to the page with a cookie, or back to the form."""
        try:
            async with asyncio.timeout(BODY_TIMEOUT_S):
                body = await request.read()
        except (TimeoutError, web.RequestPayloadError) as error:
            raise web.HTTPBadRequest from error
        # Not request.post(): it uses the charset and encoding that the client claims.
        form = parse_qs(body.decode(errors="replace"))
        token = form.get("token", [""])[0].strip()
        if not await self.access.is_token(token, request):
            raise web.HTTPSeeOther("login?wrong")
        self.access.on_token(request)
        response = web.Response(status=303, headers={"Location": "./"})
        self.access.set_cookie(response, request)
        return response

    async def _static(self, request: web.Request) -> web.Response:
        name = request.match_info["name"]
        if name not in STATIC:
            raise web.HTTPNotFound
        return web.Response(
            body=self._files[name],
            content_type=STATIC[name],
            charset="utf-8",
            headers={"Cache-Control": "no-cache"},
        )

    async def _api_state(self, request: web.Request) -> web.Response:
        text = request.query.get("since", "-1")
        if not re.fullmatch("-?[0-9]{1,10}", text):
            raise web.HTTPBadRequest(text="expected since=SECOND, a whole number\n")
        document = self.state.document(since=int(text)) | self._privacy
        document["watchers"] = self.stream.viewers
        return web.Response(text=json.dumps(document), content_type="application/json")

    async def _prometheus(self, _: web.Request) -> web.Response:
        headers = {"Content-Type": CONTENT_TYPE_LATEST}
        return web.Response(body=self._metrics.text(), headers=headers)

    async def _health(self, _: web.Request) -> web.Response:
        if self.state.healthy:
            return web.Response(text="ok\n")
        since_s = self.state.since_last_frame_s
        return web.Response(status=503, text=f"no frame for {since_s:.0f} s\n")

    async def _snapshot(self, _: web.Request) -> web.Response:
        try:
            async with asyncio.timeout(SNAPSHOT_TIMEOUT_S):
                with self.stream.viewing() as newest:
                    image = await newest.after(newest.count)
        except TimeoutError:
            image = None
        if image is None:
            raise web.HTTPServiceUnavailable(text="no frame came\n")
        return web.Response(body=image[1], content_type="image/jpeg")

    async def _live_view(self, request: web.Request) -> web.StreamResponse:
        """Sends frames until the client disconnects, or reads nothing for too long."""
        if self.stream.viewers >= MAX_VIEWERS:
            raise web.HTTPServiceUnavailable(text="too many viewers\n")
        kind = f"multipart/x-mixed-replace; boundary={BOUNDARY}"
        # nginx would keep frames back, up to a gigabyte of them.
        headers = {"Content-Type": kind, "X-Accel-Buffering": "no"}
        response = web.StreamResponse(headers=headers)
        _shorten_buffer(request)
        with self.stream.viewing() as newest:
            await response.prepare(request)
            count = newest.count
            while (image := await _next(newest, count, request)) is not None:
                count, jpeg = image
                try:
                    await _write(response, jpeg)
                    if not await _follows(newest, count):
                        # Browsers show an image only when another one begins.
                        await _write(response, jpeg)
                except (TimeoutError, ConnectionError):
                    break
        if request.transport is not None:
            request.transport.abort()  # close() would wait until it reads
        return response


async def _write(response: web.StreamResponse, jpeg: bytes) -> None:
    """Sends an image.

    Raises:
        TimeoutError: The client does not read.
        ConnectionError: It has gone.
    """
    async with asyncio.timeout(WRITE_TIMEOUT_S):
        await response.write(_part(jpeg))


async def _follows(newest: LatestJpeg, count: int) -> bool:
    """Returns whether another image, or the end, comes soon after number ``count``."""
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(SOON_S):
            await newest.after(count)
            return True
    return False


async def _next(
    newest: LatestJpeg, count: int, request: web.Request
) -> tuple[int, bytes] | None:
    """Returns the image after number ``count``; None at the end of run or client."""
    while request.transport is not None and not request.transport.is_closing():
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(POLL_S):
                return await newest.after(count)
    return None


def _shorten_buffer(request: web.Request) -> None:
    """Limits the kernel's buffer, or a slow client would see old frames."""
    transport = request.transport
    connection = transport.get_extra_info("socket") if transport else None
    if connection is not None:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SEND_BUFFER_BYTES)


def _part(jpeg: bytes) -> bytes:
    head = f"Content-Type: image/jpeg\r\nContent-Length: {len(jpeg)}\r\n\r\n"
    return b"--%s\r\n%s%s\r\n" % (BOUNDARY.encode(), head.encode(), jpeg)
