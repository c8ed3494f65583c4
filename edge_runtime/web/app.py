"""Opens the web page for a run."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager
from typing import TYPE_CHECKING

from edge_runtime.errors import missing
from edge_runtime.outputs.rendering import FrameRenderer
from edge_runtime.pipeline.stats import Status
from edge_runtime.web.address import Address
from edge_runtime.web.state import PageState
from edge_runtime.web.stream import Stream

if TYPE_CHECKING:
    from edge_runtime.outputs.collection.review import Review


@contextmanager
def open_page(
    address: Address,
    renderer: FrameRenderer,
    status: Status,
    *,
    token: str | None,
    privacy: dict[str, bool],
    review: Review | None = None,
) -> Iterator[tuple[PageState, Stream]]:
    """Yields the page's ``Sink`` and its live view; prints its URL on stderr.

    It is served until the end of the block. The token is required of every client;
    None where only this machine can connect. The page shows whether faces are blurred
    and frames recorded (``privacy``). Without ``review`` there is nothing to label.

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
        raise missing(error.name or "aiohttp", "web", error) from error
    metrics = Metrics(lambda: status.words)
    state, stream = PageState(status, metrics.observe), Stream(renderer)
    metrics.read_from(state.document)
    routes = Routes(state, stream, metrics, Access(token), privacy, review)
    with closing(stream), closing(Server(address, routes)) as server:
        print(f"page: {address.url(server.port)}", file=sys.stderr, flush=True)
        yield state, stream
