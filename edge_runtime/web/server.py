"""The web server: a thread with an event loop of its own, and bounds on connections."""

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
from edge_runtime.web.access import Access
from edge_runtime.web.address import Address
from edge_runtime.web.metrics import Metrics
from edge_runtime.web.routes import WRITE_PATIENCE_S, make_application
from edge_runtime.web.state import States
from edge_runtime.web.stream import Stream

logger = logging.getLogger(__name__)

MOST_CONNECTIONS = 128
SILENT_S = 10.0  # a connection without a complete request for so long is closed
KEEPALIVE_S = 15.0
MOST_LOOKS = 6  # of WRITE_PATIENCE_S each, for one that takes a little now and then
BOARD_EVERY_S = 5.0
START_S, STOP_S = 10.0, 0.3
SHUTDOWN_S = 0.05  # for answers in progress, and again for clients that read nothing


class Server:
    """Serves an application until it is stopped."""

    def __init__(
        self,
        address: Address,
        token: str | None,
        states: States,
        stream: Stream,
        metrics: Metrics,
        more_state: dict[str, bool],
    ) -> None:
        """Starts the thread and waits until the port is open.

        Raises:
            OutputError: The address cannot be listened at.
        """
        self._address, self._states, self._stream = address, states, stream
        self._started: Future[int] = Future()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._stop = asyncio.Event()

        def make() -> web.Application:
            return make_application(states, stream, metrics, Access(token), more_state)

        self._make_application = make
        self._thread = threading.Thread(target=self._run, name="page", daemon=True)
        self._thread.start()
        try:
            self.port = self._started.result(START_S)
        except OSError as error:
            raise OutputError(_cannot_listen(address, error)) from error

    def close(self) -> None:
        """Ends it, with all connections, within 0.3 s."""
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
        self._stream.run_in(self._loop)
        runner = web.AppRunner(
            self._make_application(),
            handle_signals=False,
            access_log=None,  # it would hold addresses, and fill a card
            keepalive_timeout=KEEPALIVE_S,
            shutdown_timeout=SHUTDOWN_S,
            logger=_logger(),
        )
        await runner.setup()
        board = asyncio.create_task(self._watch_board())
        try:
            listening = await self._listen(runner)
            self._started.set_result(listening.sockets[0].getsockname()[1])
            await self._stop.wait()
            self._stream.newest.end()
            listening.close()
        finally:
            board.cancel()
            await runner.cleanup()

    async def _listen(self, runner: web.AppRunner) -> asyncio.Server:
        if runner.server is None:
            raise RuntimeError("expected a runner that is set up")
        make = _bounded(runner.server)
        host, port = self._address.host, self._address.port
        return await asyncio.get_running_loop().create_server(make, host, port)

    async def _watch_board(self) -> None:
        while True:
            self._states.board = await asyncio.to_thread(read_board)
            await asyncio.sleep(BOARD_EVERY_S)


class _Guarded(asyncio.Protocol):
    """A connection that is dropped where the client does not take what it is sent.

    All events go on to aiohttp's own protocol. Its transport has no room above the
    kernel's: that calls ``pause_writing`` as soon as something waits for the client,
    and ``resume_writing`` when nothing does.
    """

    def __init__(self, inner: asyncio.Protocol) -> None:
        self._inner = inner
        self._transport: asyncio.Transport | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._waiting = self._looks = 0

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
        self._calm()
        self._inner.connection_lost(error)

    def pause_writing(self) -> None:
        self._inner.pause_writing()
        self._looks = 0
        self._look_later()

    def resume_writing(self) -> None:
        self._calm()
        self._inner.resume_writing()

    def _look_later(self) -> None:
        if self._transport is not None:
            self._waiting = self._transport.get_write_buffer_size()
            loop = asyncio.get_running_loop()
            self._timer = loop.call_later(WRITE_PATIENCE_S, self._look)

    def _look(self) -> None:
        if self._transport is None:
            return
        self._looks += 1
        taken = self._transport.get_write_buffer_size() < self._waiting
        if taken and self._looks < MOST_LOOKS:
            self._look_later()
        else:
            self._transport.abort()  # close() would wait for it to read

    def _calm(self) -> None:
        if self._timer is not None:
            self._timer.cancel()


class _Refusal(asyncio.Protocol):
    """One connection too many: closed before a byte is read."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        transport.close()


def _bounded(server: web.Server) -> Callable[[], asyncio.BaseProtocol]:
    """Returns a maker of connections: not too many, none silent, none that is deaf."""
    silent: dict[object, asyncio.TimerHandle] = {}
    handle = server.request_handler

    async def note(request: Any) -> web.StreamResponse:
        timer = silent.pop(request.protocol, None)
        if timer is not None:
            timer.cancel()
        return await handle(request)

    server.request_handler = note

    def make() -> asyncio.BaseProtocol:
        if len(server.connections) >= MOST_CONNECTIONS:
            return _Refusal()
        protocol = server()

        def close() -> None:
            del silent[protocol]
            protocol.force_close()

        loop = asyncio.get_running_loop()
        silent[protocol] = loop.call_later(SILENT_S, close)
        return _Guarded(protocol)

    return make


def _logger() -> logging.Logger:
    """Returns a logger for aiohttp that says each kind of mishap once.

    What strangers send must not fill the log of a device that runs for months.
    """
    mishaps = logging.getLogger(f"{__name__}.mishaps")
    seen: set[str] = set()

    def first(record: logging.LogRecord) -> bool:
        kind = f"{record.msg}{record.exc_info and record.exc_info[0]}"
        new = kind not in seen and len(seen) < 20
        seen.add(kind) if new else None
        return new

    if not mishaps.filters:
        mishaps.addFilter(first)
    return mishaps


def _cannot_listen(address: Address, error: OSError) -> str:
    where = f"{address.host}:{address.port}"
    if error.errno == errno.EADDRINUSE:
        return f"{where} is taken: give --serve {address.host}:{address.port + 1}"
    return f"cannot listen at {where}: {error.strerror or error}"
