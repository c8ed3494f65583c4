"""Opens the web page for a run."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from edge_runtime.errors import missing
from edge_runtime.outputs.rendering import FrameRenderer
from edge_runtime.pipeline.stats import Status
from edge_runtime.web.address import Address
from edge_runtime.web.state import States
from edge_runtime.web.stream import Stream


@dataclass(frozen=True)
class PageOptions:
    """How the page is served.

    Attributes:
        address: Where it listens.
        token: Lets people in; None where only this machine can connect.
        blurred: Faces are blurred in its pictures: it says so.
        recording: Pictures are kept on disk: it says so.
    """

    address: Address
    token: str | None = field(default=None, repr=False)
    blurred: bool = False
    recording: bool = False


@dataclass(frozen=True)
class Page:
    """A page that is being served.

    Attributes:
        states: The sink that tells it what was seen.
        stream: The frame sink of its live view.
        url: Where it is, for a browser on this machine.
        counts: Returns what was encoded and left out.
    """

    states: States
    stream: Stream
    url: str
    counts: Callable[[], dict[str, Any]]


@contextmanager
def open_page(
    options: PageOptions, renderer: FrameRenderer, status: Status
) -> Iterator[Page]:
    """Yields the page, served until the end of the block; says where, on stderr.

    Raises:
        MissingDependencyError: aiohttp or prometheus_client is not installed.
        OutputError: The address is taken or not this machine's.
    """
    try:
        from edge_runtime.web.metrics import Metrics
        from edge_runtime.web.server import Server
    except ImportError as error:
        raise missing(error.name or "aiohttp", "web") from error
    metrics = Metrics()
    states, stream = States(status, metrics.observe), Stream(renderer)
    metrics.read_from(states.document)
    says = {"blurred": options.blurred, "recording": options.recording}
    try:
        server = Server(options.address, options.token, states, stream, metrics, says)
        try:
            url = options.address.url(server.port)
            print(f"page: {url}", file=sys.stderr, flush=True)
            yield Page(states, stream, url, stream.queue.counts)
        finally:
            server.close()
    finally:
        stream.queue.stop()
