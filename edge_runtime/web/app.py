"""Opens the web page for a run."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from typing import Any

from edge_runtime.errors import missing
from edge_runtime.outputs.rendering import FrameRenderer
from edge_runtime.pipeline.stats import Status
from edge_runtime.web.address import Address
from edge_runtime.web.state import PageState
from edge_runtime.web.stream import Stream


@dataclass(frozen=True)
class PageOptions:
    """How the page is served.

    Attributes:
        address: Where it listens.
        token: Required of every client; None where only this machine can connect.
        blurred: Whether faces are blurred: the page says so.
        recording: Whether frames are kept on disk: the page says so.
    """

    address: Address
    token: str | None = field(default=None, repr=False)
    blurred: bool = False
    recording: bool = False


@dataclass(frozen=True)
class Page:
    """A page that is being served.

    Attributes:
        state: The ``Sink`` that collects results for it.
        stream: Its live view; ``stream.write`` takes rendered frames.
        counts: Returns how many frames were encoded and dropped.
    """

    state: PageState
    stream: Stream
    counts: Callable[[], dict[str, Any]]


@contextmanager
def open_page(
    options: PageOptions, renderer: FrameRenderer, status: Status
) -> Iterator[Page]:
    """Yields the page, served until the end of the block; prints its URL on stderr.

    Raises:
        MissingDependencyError: aiohttp or prometheus_client is not installed.
        OutputError: The address is in use, or not one of this machine.
    """
    try:
        from edge_runtime.web.access import Access
        from edge_runtime.web.metrics import Metrics
        from edge_runtime.web.routes import Routes
        from edge_runtime.web.server import Server
    except ImportError as error:
        raise missing(error.name or "aiohttp", "web") from error
    metrics = Metrics()
    state, stream = PageState(status, metrics.observe), Stream(renderer)
    metrics.read_from(state.document)
    privacy = {"blurred": options.blurred, "recording": options.recording}
    routes = Routes(state, stream, metrics, Access(options.token), privacy)
    with closing(stream), closing(Server(options.address, routes)) as server:
        url = options.address.url(server.port)
        print(f"page: {url}", file=sys.stderr, flush=True)
        yield Page(state, stream, stream.queue.counts)
