"""The connections of the page: who may have how many, and for how long.

Strangers must not lock out the owner. So one address has a part of the connections, a
part of them is kept for those who have shown the token, and where there is no room, a
newcomer takes the place of a stranger: of an idle one if there is any, of the address
that has most, the oldest.
"""

from __future__ import annotations

import asyncio
import ipaddress
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from typing import Any

from aiohttp import web

from edge_runtime.web.access import secure_headers
from edge_runtime.web.routes import WRITE_TIMEOUT_S

MAX_CONNECTIONS = 128
KEPT_FOR_TOKEN = 32  # of them
MAX_OF_ADDRESS = 64  # without the token
NEW_S = 1.0  # for so long a connection has to send its first request
REQUEST_TIMEOUT_S = 10.0  # for a complete first request
MAX_WRITE_CHECKS = 6  # WRITE_TIMEOUT_S apart, for a client that reads a little


class Connections:
    """All open connections of a server."""

    def __init__(self, server: web.Server, *, token: bool, **settings: Any) -> None:
        """Takes part in each request of the server from now on.

        Args:
            server: aiohttp's.
            token: Whether there is one that a stranger lacks.
            settings: Of aiohttp's ``RequestHandler``.
        """
        self._server, self._settings = server, settings
        self._max_strangers = MAX_CONNECTIONS - (KEPT_FOR_TOKEN if token else 0)
        self._open: set[Connection] = set()
        self._by_handler: dict[object, Connection] = {}
        handle = server.request_handler

        async def handle_request(request: Any) -> web.StreamResponse:
            connection = self._by_handler.get(request.protocol)
            with nullcontext() if connection is None else connection.working():
                return await handle(request)

        server.request_handler = handle_request

    def make(self) -> Connection:
        """Returns the protocol of the next connection, for asyncio."""
        return Connection(self)

    def make_handler(self) -> web.RequestHandler:
        """Returns aiohttp's part of a connection."""
        loop = asyncio.get_running_loop()
        return _Handler(self._server, loop=loop, **self._settings)

    def show_token(self, request: web.Request) -> None:
        """Notes that a request has shown the token: its client is not a stranger."""
        connection = self._by_handler.get(request.protocol)
        if connection is not None:
            connection.stranger = False

    def admit(self, newcomer: Connection) -> bool:
        """Returns whether there is room, or was made, for a connection."""
        strangers = [one for one in self._open if one.stranger]
        by_address = Counter(one.address for one in strangers)
        own = by_address[newcomer.address]
        rivals = None
        if own >= MAX_OF_ADDRESS:
            rivals = [one for one in strangers if one.address == newcomer.address]
        elif (
            len(strangers) >= self._max_strangers or len(self._open) >= MAX_CONNECTIONS
        ):
            rivals = strangers
        if rivals is not None:
            # A request of a stranger may be one that never ends: it protects him only
            # from those who have as many connections.
            leaving = max(
                (one for one in rivals if one.unused or by_address[one.address] > own),
                key=lambda one: (one.unused, by_address[one.address], one.age_s),
                default=None,
            )
            if leaving is None:
                return False
            leaving.abort()
        self._open.add(newcomer)
        self._by_handler[newcomer.handler] = newcomer
        return True

    def remove(self, connection: Connection) -> None:
        """Forgets a connection that has ended."""
        self._open.discard(connection)
        self._by_handler.pop(connection.handler, None)


class Connection(asyncio.Protocol):
    """A connection that is dropped if its client sends no request, or does not read.

    All events are passed on to aiohttp's own protocol. The transport has no buffer
    above the kernel's: it calls ``pause_writing`` as soon as data waits for the client,
    and ``resume_writing`` when none does.

    Attributes:
        handler: aiohttp's own protocol.
        address: Of the client; of IPv6 its network, in which it may choose any.
        stranger: Whether it has not shown the token.
        idle: Whether no request is being answered.
    """

    def __init__(self, connections: Connections) -> None:
        self._connections = connections
        self.handler = connections.make_handler()
        self.address, self.stranger, self.idle = "", True, True
        self._since_s = time.monotonic()
        self._transport: asyncio.Transport | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._first: asyncio.TimerHandle | None = None  # until the first request
        self._unsent = self._checks = 0

    @property
    def age_s(self) -> float:
        """Seconds since it was opened."""
        return time.monotonic() - self._since_s

    @property
    def unused(self) -> bool:
        """Whether it is idle, and had the time to send a request."""
        return self.idle and self.age_s > NEW_S

    def abort(self) -> None:
        """Ends it at once; ``close`` would wait until the client reads."""
        self._connections.remove(self)
        if self._transport is not None:
            self._transport.abort()

    @contextmanager
    def working(self) -> Iterator[None]:
        """Is entered while a request is answered."""
        _cancel(self._first)
        self.idle = False
        try:
            yield
        finally:
            self.idle = True

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Passes it on if there is room; else it ends before a byte is read."""
        self.address = network_of(transport.get_extra_info("peername"))
        if not isinstance(transport, asyncio.Transport):
            raise TypeError(f"expected a stream, got {transport!r}")
        if not self._connections.admit(self):
            transport.abort()
            return
        transport.set_write_buffer_limits(high=0)
        self._transport = transport
        loop = asyncio.get_running_loop()
        self._first = loop.call_later(REQUEST_TIMEOUT_S, self.handler.force_close)
        self.handler.connection_made(transport)

    def data_received(self, data: bytes) -> None:
        """Passes on what the client sent."""
        if self._transport is not None:
            self.handler.data_received(data)

    def eof_received(self) -> None:
        """Passes on that the client sends no more."""
        if self._transport is not None:
            self.handler.eof_received()

    def connection_lost(self, error: Exception | None) -> None:
        """Passes on the end."""
        _cancel(self._timer)
        _cancel(self._first)
        self._connections.remove(self)
        if self._transport is not None:
            self.handler.connection_lost(error)

    def pause_writing(self) -> None:
        """Is called when data waits for the client."""
        self.handler.pause_writing()
        self._checks = 0
        self._check_later()

    def resume_writing(self) -> None:
        """Is called when none does."""
        _cancel(self._timer)
        self.handler.resume_writing()

    def _check_later(self) -> None:
        if self._transport is not None:
            self._unsent = self._transport.get_write_buffer_size()
            loop = asyncio.get_running_loop()
            self._timer = loop.call_later(WRITE_TIMEOUT_S, self._check)

    def _check(self) -> None:
        if self._transport is None:
            return
        self._checks += 1
        client_reads = self._transport.get_write_buffer_size() < self._unsent
        if client_reads and self._checks < MAX_WRITE_CHECKS:
            self._check_later()
        else:
            self.abort()


class _Handler(web.RequestHandler):
    """aiohttp's protocol, whose answers to what is not HTTP are as all others."""

    __slots__ = ()

    def handle_error(self, *arguments: Any, **settings: Any) -> web.StreamResponse:
        response = super().handle_error(*arguments, **settings)
        secure_headers(response)
        if isinstance(response, web.Response):  # not what the parser found
            response.text = f"{response.status}: {response.reason}\n"
        return response


def network_of(peer: Any) -> str:
    """Returns the address of a client, of IPv6 its network of 64 bits.

    Args:
        peer: As ``getpeername`` returns it.
    """
    try:
        address = ipaddress.ip_address(peer[0].partition("%")[0])
    except (AttributeError, IndexError, TypeError, ValueError):
        return ""
    if address.version == 4:
        return str(address)
    if address.ipv4_mapped:
        return str(address.ipv4_mapped)
    return str(ipaddress.ip_network((address, 64), strict=False))


def _cancel(timer: asyncio.TimerHandle | None) -> None:
    if timer is not None:
        timer.cancel()
