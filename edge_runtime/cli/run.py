"""``python -m edge_runtime run``: a camera, video or pictures to answers."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

from edge_runtime.cli.arguments import command
from edge_runtime.cli.console import Console
from edge_runtime.cli.open_model import Updating, open_classifier
from edge_runtime.cli.open_outputs import open_sinks
from edge_runtime.cli.run_options import (
    add_decision_arguments,
    add_face_arguments,
    add_output_arguments,
    add_service_arguments,
    add_source_arguments,
    check_outputs,
    detect_every,
    frames_wait,
    open_source_for,
    rules_of,
)
from edge_runtime.cli.tuning_file import DEFAULTS as TUNING_DEFAULTS
from edge_runtime.cli.tuning_file import apply_tuning
from edge_runtime.detection.base import FaceDetector
from edge_runtime.detection.factory import open_detector
from edge_runtime.errors import SourceError
from edge_runtime.inference.classifier import released_model
from edge_runtime.outputs.base import Sink
from edge_runtime.pipeline.classification import FaceClassifier
from edge_runtime.pipeline.stats import Status
from edge_runtime.pipeline.still import classify_still
from edge_runtime.results import FrameResult
from edge_runtime.sources import Frame, Source
from edge_runtime.systemd.notify import Notifier
from edge_runtime.utils.signals import StopRequest, handle_signals

Answer = tuple[Frame, FrameResult]


def add_run(commands: Any) -> None:
    """Adds ``run`` to the commands."""
    parser = command(commands, "run", run, "camera, video or pictures to answers")
    add_source_arguments(parser)
    add_face_arguments(parser)
    add_decision_arguments(parser)
    add_output_arguments(parser)
    add_service_arguments(parser)
    parser.set_defaults(**dict.fromkeys(TUNING_DEFAULTS))  # see apply_tuning


def run(args: argparse.Namespace) -> int:
    """Classifies the faces of a source until it ends or somebody ends it."""
    check_outputs(args)
    detect_every(args)  # refuses what contradicts itself, before anything is opened
    if message := apply_tuning(args, args.model or released_model()):
        print(message, file=sys.stderr)
    with ExitStack() as stack:
        stop = stack.enter_context(handle_signals())
        classifier = stack.enter_context(open_classifier(args))
        detector = open_detector(
            args.faces, args.detector_model, width_px=args.detect_width
        )
        notifier = stack.enter_context(closing(Notifier()))
        waiting = partial(_go_on, notifier, stop)
        colour = classifier.spec.colour == "rgb"
        opened = open_source_for(args, colour=colour, waiting=waiting)
        source = stack.enter_context(opened)
        status = Status(source=source, classifier=classifier, detector=detector.name)
        if isinstance(classifier, Updating):
            status.include("model_update", classifier.update_state)
        sinks = stack.enter_context(open_sinks(args, source, status, stop))
        console = Console(args, status, stop)
        sinks = sinks if console.silent else [console, *sinks]
        takers = ResultDispatcher(status, sinks, notifier, args.max_frames)
        with open_pipeline(args, source, detector, classifier) as answers:
            broken = _loop(answers, takers, stop)
        notifier.stopping()
    console.finish(status.read("outputs"), broken=broken is not None)
    if broken:
        raise broken
    return stop.exit_code


def _go_on(notifier: Notifier, stop: StopRequest, stuck: bool) -> bool:
    """Returns whether to wait for the camera; the loop that asks is alive.

    Where only a new process can get the camera back, systemd is to start one.
    """
    if not stuck:
        notifier.still_trying()
    return stop.signal is None


@contextmanager
def open_pipeline(
    args: argparse.Namespace,
    source: Source,
    detector: FaceDetector,
    classifier: FaceClassifier,
) -> Iterator[Iterator[Answer]]:
    """Yields the answers: pictures stand alone, videos go on."""
    if source.kind == "pictures":
        yield ((one, classify_still(one, detector, classifier)) for one in source)
        return
    # A picture's answer waits for imports.
    from edge_runtime.pipeline.pipeline import Pipeline
    from edge_runtime.pipeline.scheduler import RoundRobinScheduler

    pipeline = Pipeline(
        detector,
        classifier,
        detect_every=detect_every(args),
        smoothing=rules_of(args),
        wait_for_detector=frames_wait(args, live=source.live),
        scheduler=RoundRobinScheduler(args.every) if source.live else None,
    )
    with closing(pipeline), ExitStack() as stack:
        if source.kind != "video":
            yield ((one, pipeline.process(one)) for one in source)
            return
        from edge_runtime.pipeline.prefetch import prefetch, prefetch_tracked

        if isinstance(classifier, Updating):  # prepares and answers in one thread
            frames = stack.enter_context(prefetch(source))
            yield ((one, pipeline.process(one)) for one in frames)
        else:
            tracked = stack.enter_context(prefetch_tracked(source, pipeline))
            yield ((one.frame, pipeline.classify(one)) for one in tracked)


@dataclass
class ResultDispatcher:
    """Who is told each answer.

    Attributes:
        status: Counts, for pages and meters.
        sinks: The console, and outputs that were asked for.
        notifier: Tells systemd.
        max_frames: Answers until the end; None for no limit.
    """

    status: Status
    sinks: Sequence[Sink]
    notifier: Notifier
    max_frames: int | None
    count: int = 0

    def take(self, frame: Frame, result: FrameResult) -> bool:
        """Hands one answer on; returns whether to go on."""
        self.count += 1
        self.status.update(result)
        wanted = all([sink.write(frame, result) for sink in self.sinks])
        self.notifier.beat()
        self.notifier.status(f"answered frames: {self.count}")
        return wanted and self.count != self.max_frames


def _loop(
    answers: Iterable[Answer], takers: ResultDispatcher, stop: StopRequest
) -> SourceError | BrokenPipeError | None:
    """Answers until the end; returns the error of a source or pipe that broke.

    Returned, not raised: what was recorded until then is kept.
    """
    try:
        for frame, result in answers:
            if not takers.take(frame, result) or stop.signal is not None:
                break
    except (SourceError, BrokenPipeError) as error:  # "| head" ends the reading
        return error
    return None
