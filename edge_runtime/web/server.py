"""The web server: a thread with an event loop, and limits for connections."""

from __future__ import annotations

import asyncio
import errno
import logging
import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any

from aiohttp import web

from edge_runtime.errors import OutputError
from edge_runtime.hardware.sensors import read_board
from edge_runtime.web.address import Address
from edge_runtime.web.routes import WRITE_TIMEOUT_S, Routes

logger = logging.getLogger(__name__)

MAX_CONNECTIONS = 128
REQUEST_TIMEOUT_S = 10.0  # for a complete first request
KEEPALIVE_S = 15.0
MAX_WRITE_CHECKS = 6  # WRITE_TIMEOUT_S apart, for a client that reads a little
BOARD_EVERY_S = 5.0
START_S, STOP_S = 10.0, 0.3
SHUTDOWN_S = 0.05  # for responses in progress, and again for clients that do not read


class Server:
    """Serves the page on a TCP port until it is closed."""

    def __init__(self, address: Address, routes: Routes) -> None:
        """Starts the thread and waits until the port is open.

        Raises:
            OutputError: It cannot listen on the address.
        """
        self._address, self._routes = address, routes
        self._started: Future[int] = Future()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._stop = asyncio.Event()
        self._thread = threading.Thread(target=self._run, name="page", daemon=True)
        self._thread.start()
        try:
            self.port = self._started.result(START_S)
        except OSError as error:
            raise OutputError(_cannot_listen(address, error)) from error

    def close(self) -> None:
        """Closes all connections and ends the thread, within 0.3 s."""
        if self._loop is not None and not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(STOP_S)

    def _run(self) -> None:
        try:
            asyncio.run(self._serve())
        except BaseException as error:
            if self._started.done():
                raise
            self._started.set_exception(error)

    async def _serve(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._routes.stream.loop = self._loop
        runner = web.AppRunner(
            self._routes.application(),
            handle_signals=False,
            access_log=None,  # it would contain addresses, and fill the SD card
            keepalive_timeout=KEEPALIVE_S,
            shutdown_timeout=SHUTDOWN_S,
            logger=_logger(),
        )
        await runner.setup()
        board = asyncio.create_task(self._read_board())
        try:
            listening = await self._listen(runner)
            self._started.set_result(listening.sockets[0].getsockname()[1])
            await self._stop.wait()
            self._routes.stream.newest.end()
            listening.close()
        finally:
            board.cancel()
            await runner.cleanup()

    async def _listen(self, runner: web.AppRunner) -> asyncio.Server:
        if runner.server is None:
            raise RuntimeError("expected a runner that is set up")
        make = _limit_connections(runner.server)
        host, port = self._address.host, self._address.port
        return await asyncio.get_running_loop().create_server(make, host, port)

    async def _read_board(self) -> None:
        while True:
            self._routes.state.board = await asyncio.to_thread(read_board)
            await asyncio.sleep(BOARD_EVERY_S)


class _WriteTimeout(asyncio.Protocol):
    """A connection that is dropped if the client does not read.

    All events are passed on to aiohttp's own protocol. The transport has no buffer
    above the kernel's: it calls ``pause_writing`` as soon as data waits for the client,
    and ``resume_writing`` when none does.
    """

    def __init__(self, inner: asyncio.Protocol) -> None:
        self._inner = inner
        self._transport: asyncio.Transport | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._unsent = self._checks = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        if isinstance(transport, asyncio.Transport):
            transport.set_write_buffer_limits(high=0)
            self._transport = transport
        self._inner.connection_made(transport)

    def data_received(self, data: bytes) -> None:
        self._inner.data_received(data)

    def eof_received(self) -> bool | None:
        return self._inner.eof_received()

    def connection_lost(self, error: Exception | None) -> None:
        self._cancel()
        self._inner.connection_lost(error)

    def pause_writing(self) -> None:
        self._inner.pause_writing()
        self._checks = 0
        self._check_later()

    def resume_writing(self) -> None:
        self._cancel()
        self._inner.resume_writing()

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
            self._transport.abort()  # close() would wait until it reads

    def _cancel(self) -> None:
        if self._timer is not None:
            self._timer.cancel()


class _Refusal(asyncio.Protocol):
    """A connection beyond the limit: closed before a byte is read."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        transport.close()


def _limit_connections(server: web.Server) -> Callable[[], asyncio.BaseProtocol]:
    """Returns a protocol factory with a limit and with timeouts for both directions."""
    silent: dict[object, asyncio.TimerHandle] = {}  # without a request so far
    handle = server.request_handler

    async def handle_first(request: Any) -> web.StreamResponse:
        timer = silent.pop(request.protocol, None)
        if timer is not None:
            timer.cancel()
        return await handle(request)

    server.request_handler = handle_first

    def make() -> asyncio.BaseProtocol:
        if len(server.connections) >= MAX_CONNECTIONS:
            return _Refusal()
        protocol = server()

        def close() -> None:
            del silent[protocol]
            protocol.force_close()

        loop = asyncio.get_running_loop()
        silent[protocol] = loop.call_later(REQUEST_TIMEOUT_S, close)
        return _WriteTimeout(protocol)

    return make


def _logger() -> logging.Logger:
    """Returns a logger for aiohttp that logs each kind of error once.

    Requests of strangers must not fill the log of a device that runs for months.
    """
    errors = logging.getLogger(f"{__name__}.aiohttp")
    seen: set[str] = set()

    def is_new(record: logging.LogRecord) -> bool:
        kind = f"{record.msg}{record.exc_info and record.exc_info[0]}"
        new = kind not in seen and len(seen) < 20
        if new:
            seen.add(kind)
        return new

    if not errors.filters:
        errors.addFilter(is_new)
    return errors


def _cannot_listen(address: Address, error: OSError) -> str:
    name = f"{address.host}:{address.port}"
    if error.errno == errno.EADDRINUSE:
        return f"{name} is in use: give --serve {address.host}:{address.port + 1}"
    return f"cannot listen on {name}: {error.strerror or error}"
