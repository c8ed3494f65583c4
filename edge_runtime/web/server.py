"""The web server: a thread with an event loop."""

from __future__ import annotations

import asyncio
import errno
import logging
import threading
from concurrent.futures import Future

from aiohttp import web

from edge_runtime.errors import OutputError
from edge_runtime.hardware.sensors import read_board
from edge_runtime.web.address import Address
from edge_runtime.web.connections import Connections
from edge_runtime.web.routes import Routes

logger = logging.getLogger(__name__)

KEEPALIVE_S = 15.0
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
            shutdown_timeout=SHUTDOWN_S,
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
        access = self._routes.access
        connections = Connections(
            runner.server,
            token=access.asks_for_token,
            access_log=None,  # it would contain addresses, and fill the SD card
            keepalive_timeout=KEEPALIVE_S,
            logger=_logger(),
        )
        access.on_token = connections.show_token
        return await asyncio.get_running_loop().create_server(
            connections.make, self._address.host, self._address.port
        )

    async def _read_board(self) -> None:
        while True:
            self._routes.state.board = await asyncio.to_thread(read_board)
            await asyncio.sleep(BOARD_EVERY_S)


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
