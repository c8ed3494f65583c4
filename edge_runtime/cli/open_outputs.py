"""Opens the outputs that the flags name; closes all of them in bounded time."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from edge_runtime.outputs import documents
from edge_runtime.outputs.append_file import AppendedFile, Stdout
from edge_runtime.outputs.base import CollectLimits, RecordLimits, Sink
from edge_runtime.outputs.work_queue import QueueCapacity, QueuedSink, WorkQueue
from edge_runtime.pipeline.stats import Status
from edge_runtime.results import FrameResult
from edge_runtime.sources import Source
from edge_runtime.utils.signals import StopRequest

if TYPE_CHECKING:
    from edge_runtime.outputs.collection.collector import Collector
    from edge_runtime.outputs.collection.review import Review
    from edge_runtime.outputs.rendering import FrameRenderer, FrameSink, RenderedFrame

LINES_CAPACITY = QueueCapacity(frames=64)
VIDEO_CAPACITY = QueueCapacity(frames=4, events=4)  # whole frames in memory
LINES_CLOSE_S = 0.5
VIDEO_CLOSE_S = 5.0  # a video is worth waiting for


Item = TypeVar("Item")


@contextmanager
def open_sinks(
    args: argparse.Namespace,
    source: Source,
    status: Status,
    stop: StopRequest | None = None,
) -> Iterator[list[Sink]]:
    """Yields the outputs that the flags name, and closes them.

    Args:
        args: With the flags of ``add_output_options``, checked.
        source: Its frame rate counts, and whether its frames wait for outputs.
        status: Gets what each output wrote and dropped.
        stop: After a signal, closing waits for a file's frames no longer than for a
            camera's.

    Raises:
        OutputError: An output cannot be opened; or, for a file's frames, written.
        MissingDependencyError: A library that an output needs is not installed.
    """
    with ExitStack() as stack:
        opening = _Opening(args, source, status, stop or StopRequest(), stack)
        status.include("outputs", opening.counts)  # before the page serves it
        opening.open_lines()
        opening.open_collection()  # before the page that shows it
        opening.open_pictures()
        opening.open_mqtt()
        stack.callback(opening.stop)
        yield opening.sinks


class _Opening:
    """The outputs of one run while they are opened."""

    def __init__(
        self,
        args: argparse.Namespace,
        source: Source,
        status: Status,
        stop: StopRequest,
        stack: ExitStack,
    ) -> None:
        self._args, self._source, self._status = args, source, status
        self._stop, self._stack = stop, stack
        self._queues: list[WorkQueue[Any]] = []
        self._counts: dict[str, Callable[[], dict[str, Any]]] = {}
        self._collector: Collector | None = None
        self._review: Review | None = None
        self.sinks: list[Sink] = []

    def counts(self) -> dict[str, Any]:
        # A copy: the page may call while outputs are still being opened.
        return {name: read() for name, read in list(self._counts.items())}

    def stop(self) -> None:
        """Stops all threads at once, so that they end at the same time."""
        if self._collector is not None:
            self._collector.finish()
        for queue in self._queues:
            queue.stop()

    def open_lines(self) -> None:
        args = self._args
        if args.json:
            frames = self._queue("json", partial(documents.write_frame, Stdout()))
            self.sinks.append(QueuedSink(frames))
        if args.events:
            writer = Stdout() if args.events == "-" else self._event_file()
            events = self._queue("events", partial(documents.write_events, writer))
            select = documents.select_events(live=self._source.live)
            self.sinks.append(QueuedSink(events, select))
        if args.csv:
            rows = self._queue("csv", self._row_writer())
            self.sinks.append(QueuedSink(rows, documents.select_faces))

    def open_collection(self) -> None:
        args, status = self._args, self._status
        if not args.collect:
            return
        from edge_runtime.outputs.collection.collector import (
            COLLECT_CAPACITY,
            Collector,
        )
        from edge_runtime.outputs.collection.crop_folder import CropFolder
        from edge_runtime.outputs.collection.review import Review

        still = self._source.kind == "pictures"  # they have no time
        limits = CollectLimits(
            args.collect_most,
            args.collect_mb,
            args.collect_days,
            0.0 if still else args.collect_every,
            args.collect_random,
        )
        folder = CropFolder(args.collect, limits)
        self._stack.enter_context(closing(folder))
        self._collector = Collector(
            self._queue("collect", folder.store, capacity=COLLECT_CAPACITY),
            limits,
            spec=lambda: status.spec,
            model=lambda: status.model,
            whole=status.detector == "none",
            live=self._source.live,
            regions=status.regions,
        )
        self._review = Review(folder, lambda: status.model_labels)
        self.sinks.append(self._collector)

    def open_pictures(self) -> None:
        args = self._args
        if not (args.output or args.display or args.record or args.serve):
            return
        # Here and below: other runs need not wait for these imports.
        from edge_runtime.outputs.rendering import FrameFanout, FrameRenderer

        sequence = self._source.kind != "pictures"
        renderer = FrameRenderer(
            privacy=args.privacy == "blur",
            sequence=sequence,
            fps=lambda: self._status.fps,
            regions=self._status.regions,
        )
        sinks: list[FrameSink] = []
        if args.output:
            sinks.append(self._video(renderer))
        if args.display:
            sinks.append(self._window(renderer))
        if args.record:
            sinks.append(self._recorder())
        if args.serve:
            sinks.append(self._page(renderer))
        self.sinks.append(FrameFanout(renderer, sinks))

    def open_mqtt(self) -> None:
        args = self._args
        if not args.mqtt:
            return
        from edge_runtime.outputs.mqtt import open_mqtt
        from edge_runtime.outputs.mqtt_client import MqttOptions
        from edge_runtime.outputs.mqtt_topics import discovery_prefix, parse_broker

        options = MqttOptions(
            parse_broker(args.mqtt),
            args.mqtt_password_file,
            args.mqtt_ca,
            discovery_prefix(args.mqtt_discovery),
        )
        sink = self._stack.enter_context(open_mqtt(options, self._status))
        self._counts["mqtt"] = sink.counts
        self.sinks.append(sink)

    def _event_file(self) -> AppendedFile:
        return self._appended(Path(self._args.events), start=documents.EVENT_START)

    def _row_writer(self) -> Callable[[FrameResult], None]:
        labels = tuple(self._status.snapshot()["model"]["labels"])
        regions = any(region.name for region in self._status.regions)
        header = documents.csv_header(labels, regions=regions)
        file = self._appended(self._args.csv, start=header, header=header)
        return partial(documents.write_rows, file, labels, regions=regions)

    def _appended(self, path: Path, *, start: str, header: str = "") -> AppendedFile:
        live, replace = self._source.live, self._args.force
        file = AppendedFile(
            path, start=start, header=header, replace=replace, retry=live
        )
        return self._stack.enter_context(closing(file))

    def _video(self, renderer: FrameRenderer) -> FrameSink:
        from edge_runtime.outputs.video import open_output

        pictures = self._source.kind == "pictures"  # they have no time
        output = open_output(self._args.output, self._source)
        write_frame = self._stack.enter_context(output)

        def draw_and_write(rendered: RenderedFrame) -> None:
            at_s = rendered.result.timestamp_s
            write_frame(renderer.draw(rendered), None if pictures else at_s)

        queue = self._queue(
            "output", draw_and_write, capacity=VIDEO_CAPACITY, close_s=VIDEO_CLOSE_S
        )

        def write(rendered: RenderedFrame) -> bool:
            queue.put(rendered, event=bool(rendered.result.events))
            return True

        return write

    def _window(self, renderer: FrameRenderer) -> FrameSink:
        from edge_runtime.outputs.window import Window

        window = Window("fer-edge", renderer)
        return self._stack.enter_context(closing(window)).write

    def _recorder(self) -> FrameSink:
        from edge_runtime.outputs.record import RECORD_CAPACITY, FrameArchive, Recorder

        limits = RecordLimits(self._args.record_most, self._args.record_mb)
        archive = FrameArchive(self._args.record, limits)
        queue = self._queue("record", archive.store, capacity=RECORD_CAPACITY)
        still = self._source.kind == "pictures"  # they have no time
        return Recorder(queue, 0.0 if still else limits.min_interval_s).write

    def _page(self, renderer: FrameRenderer) -> FrameSink:
        from edge_runtime.web.address import parse_address, read_token
        from edge_runtime.web.app import open_page

        args = self._args
        address = parse_address(args.serve)
        token = read_token(address, args.token_file)
        privacy = {
            "blurred": args.privacy == "blur",
            "recording": args.record is not None,
            "collecting": args.collect is not None,
        }
        page = open_page(
            address,
            renderer,
            self._status,
            token=token,
            privacy=privacy,
            review=self._review,
        )
        state, stream = self._stack.enter_context(page)
        self._counts["page"] = stream.queue.counts
        self.sinks.append(state)
        return stream.write

    def _queue(
        self,
        name: str,
        consume: Callable[[Item], bool | None],
        *,
        capacity: QueueCapacity = LINES_CAPACITY,
        close_s: float = LINES_CLOSE_S,
    ) -> WorkQueue[Item]:
        queue = WorkQueue(
            f"--{name}",
            consume,
            capacity=capacity,
            lossless=not self._source.live,
            stop=self._stop,
        )

        def close(kind: type[BaseException] | None, *_: object) -> None:
            queue.close(close_s)
            if kind is None:
                queue.check()

        self._stack.push(close)
        self._queues.append(queue)
        self._counts[name] = queue.counts
        return queue
