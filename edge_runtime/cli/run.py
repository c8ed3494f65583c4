"""``python -m edge_runtime run``: classifies the faces of a source."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, closing, contextmanager
from functools import partial
from itertools import chain
from typing import TYPE_CHECKING, Any

from edge_runtime.cli.console import Console
from edge_runtime.cli.flag_checks import check_flags
from edge_runtime.cli.open_model import Updatable, open_classifier
from edge_runtime.cli.open_outputs import open_sinks
from edge_runtime.cli.region_options import regions_of
from edge_runtime.cli.run_options import add_run_options
from edge_runtime.cli.tuning_file import apply_tuning
from edge_runtime.detection.base import DETECT_EVERY, FaceDetector
from edge_runtime.detection.factory import open_detector, smallest_face_px
from edge_runtime.errors import SourceError
from edge_runtime.inference.classifier import model_path
from edge_runtime.outputs.base import Sink
from edge_runtime.pipeline.classification import FaceClassifier
from edge_runtime.pipeline.decisions import DecisionConfig
from edge_runtime.pipeline.stats import Status
from edge_runtime.pipeline.still import classify_still
from edge_runtime.pipeline.words import words_in_run
from edge_runtime.results import FrameResult, words_of
from edge_runtime.sources import CameraSettings, Frame, Source, open_source
from edge_runtime.sources.base import KeepWaiting, wait_forever
from edge_runtime.systemd.notify import Notifier
from edge_runtime.untrusted import one_line
from edge_runtime.utils.argparser import add_command
from edge_runtime.utils.signals import StopRequest, handle_signals

if TYPE_CHECKING:
    from edge_runtime.drift.watch import DriftWatch
    from edge_runtime.pipeline.base import FramePipeline
    from edge_runtime.sources.region import Region

EXAMPLES = """\
examples:
  python -m edge_runtime run                       first camera, the released model
  python -m edge_runtime run --source fake:scene   no camera: a drawn face
  python -m edge_runtime run --source clip.mp4 --output out.mp4
  python -m edge_runtime run pets.int8.tflite --source cat.jpg --faces none
  python -m edge_runtime run --detect-every 3 --json
  python -m edge_runtime run --rotate 180 --roi door=0,0,50%,100%
  python -m edge_runtime run --serve 8080          a web page with the camera's picture
  python -m edge_runtime run --config fer-edge.toml
"""
MISSING_FLAGS = {
    "--gpu": "models run on the processor",
    "--model": "a model is named without a flag, as in  run pets.int8.tflite",
    "--verbose": "FER_EDGE_VERBOSE=1 before the command shows what OpenCV says",
}


def add_run(commands: Any) -> None:
    """Adds ``run`` to the commands."""
    text = "classify the faces of a camera, video or pictures"
    parser = add_command(commands, "run", run, text, EXAMPLES)
    parser.missing_flags = MISSING_FLAGS
    add_run_options(parser)


def run(args: argparse.Namespace) -> int:
    """Classifies the faces of a source until it ends or is stopped."""
    check_flags(args)
    regions = regions_of(args)
    if message := apply_tuning(args, model_path(args.model)):
        print(one_line(message), file=sys.stderr)
    with ExitStack() as stack:
        stop = stack.enter_context(handle_signals())
        classifier = stack.enter_context(open_classifier(args))
        subject = words_of(classifier.spec).subject
        if subject != "face" and args.faces != "none":
            print(
                f"this model looks at one {subject}, and run looks for faces: add"
                "  --faces none  to classify whole frames",
                file=sys.stderr,
            )
        detector = open_run_detector(args)
        notifier = stack.enter_context(closing(Notifier()))
        source = stack.enter_context(
            open_run_source(
                args,
                colour=classifier.spec.colour == "rgb",
                keep_waiting=partial(_keep_waiting, notifier, stop),
            )
        )
        status = Status(
            source=source,
            classifier=classifier,
            detector=detector.name,
            regions=regions,
        )
        if detector.name != "none":
            smallest = partial(smallest_face_px, detector.name, args.detect_width)
            status.include("smallest_face_px", lambda: smallest(status.looked_at_wh))
        if isinstance(classifier, Updatable):
            status.include("model_update", classifier.update_state)
        watch = _open_watch(args, source, classifier, status)
        sinks = stack.enter_context(open_sinks(args, source, status, stop))
        console = Console(args, status, stop)
        if not console.silent:
            sinks = [console, *sinks]
        with open_pipeline(args, source, detector, classifier, regions) as results:
            if watch is not None:
                results = watch.follow(results)
            error = _deliver(results, args.max_frames, status, sinks, notifier, stop)
        notifier.stopping()
    console.finish(status.read("outputs"), broken=error is not None)
    if error:
        raise error
    return stop.exit_code


def _open_watch(
    args: argparse.Namespace, source: Source, classifier: Any, status: Status
) -> DriftWatch | None:
    """Returns the drift watch, if an output would report drift."""
    wanted = args.drift == "on" or (args.drift == "auto" and (args.serve or args.mqtt))
    if not wanted or source.kind == "pictures":  # they do not follow each other
        return None
    from edge_runtime.drift.watch import DriftWatch

    watch = DriftWatch(classifier, detects=status.detector != "none")
    status.include("drift", watch.document)
    return watch


def open_run_detector(args: argparse.Namespace) -> FaceDetector:
    """Returns the detector that the flags choose.

    Raises:
        ModelError: YuNet's file is missing or not usable.
        MissingDependencyError: This OpenCV lacks the detector.
    """
    return open_detector(args.faces, args.detector_model, width_px=args.detect_width)


def open_run_source(
    args: argparse.Namespace,
    *,
    colour: bool = False,
    keep_waiting: KeepWaiting = wait_forever,
) -> AbstractContextManager[Source]:
    """Returns the source that the flags choose; ``with`` closes it.

    Args:
        args: With the flags of ``add_source_options``.
        colour: Whether the model needs colour.
        keep_waiting: Called while a live source delivers no frame.

    Raises:
        SourceError: It does not exist, or nothing can be read from it.
    """
    settings = CameraSettings(
        size_wh=args.size,
        fps=args.fps,
        pixel_format=args.pixel_format,
        colour=colour,
        stall_s=args.stall_after,
        frozen_s=args.frozen_after,
        reopen_limit=args.reopen_limit,
    )
    return open_source(
        args.source,
        every=args.every,
        settings=settings,
        keep_waiting=keep_waiting,
        rotate=args.rotate,
        hflip=args.hflip,
    )


def _keep_waiting(notifier: Notifier, stop: StopRequest, stuck: bool) -> bool:
    """Returns whether to wait for the camera; feeds systemd's watchdog.

    Not where the camera's driver hangs: only a new process can get the camera back.
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
    regions: Sequence[Region] = (),
) -> Iterator[Iterator[tuple[Frame, FrameResult]]]:
    """Yields the frames of a source with their results, as an iterator."""
    if source.kind == "pictures":
        classify: Callable[[Frame], FrameResult]
        classify = partial(classify_still, detector=detector, classifier=classifier)
        if regions:
            from edge_runtime.pipeline.regions import still_regions

            words = words_in_run(classifier.spec, detector.name)
            classify = still_regions(regions, classify, words)
        yield ((frame, classify(frame)) for frame in source)
        return
    pipeline = _pipeline(args, source, detector, classifier, regions)
    with closing(pipeline), ExitStack() as stack:
        if source.kind != "video":
            yield ((frame, pipeline.process(frame)) for frame in source)
            return
        from edge_runtime.pipeline.prefetch import prefetch, prefetch_tracked

        if isinstance(classifier, Updatable):  # prepares and classifies in one thread
            frames = stack.enter_context(prefetch(source))
            yield ((frame, pipeline.process(frame)) for frame in frames)
        else:
            tracked = stack.enter_context(prefetch_tracked(source, pipeline))
            yield ((item.frame, pipeline.classify(item)) for item in tracked)


def _pipeline(
    args: argparse.Namespace,
    source: Source,
    detector: FaceDetector,
    classifier: FaceClassifier,
    regions: Sequence[Region],
) -> FramePipeline[Any]:
    """Returns the pipeline for frames that follow each other."""
    # Here: a picture's first label need not wait for these imports.
    from edge_runtime.pipeline.pipeline import Pipeline
    from edge_runtime.pipeline.scheduler import RoundRobinScheduler

    blur = args.privacy == "blur"
    open_one = partial(
        Pipeline,
        classifier=classifier,
        detect_every=1 if blur else args.detect_every or DETECT_EVERY,
        decisions=DecisionConfig(
            args.half_life, args.margin, args.dwell, args.uncertain_below
        ),
        wait_for_detector=waits_for_detector(args, live=source.live),
        scheduler=RoundRobinScheduler(args.every) if source.live else None,
    )
    if not regions:
        return open_one(detector)
    from edge_runtime.pipeline.regions import RegionPipeline

    # A detector each: they may run at the same time.
    detectors = chain([detector], (open_run_detector(args) for _ in regions[1:]))
    return RegionPipeline(
        regions,
        lambda track_ids: open_one(next(detectors), track_ids=track_ids),
        words_in_run(classifier.spec, detector.name),
    )


def waits_for_detector(args: argparse.Namespace, *, live: bool) -> bool:
    """Returns whether every frame waits for the detector.

    Frames of files do, so that results do not depend on the detector's speed, and
    frames in which faces are blurred.

    Args:
        args: With ``detect_waits`` and ``privacy``.
        live: The frames come whether or not they are read.
    """
    return args.detect_waits or args.privacy == "blur" or not live


def _deliver(
    results: Iterable[tuple[Frame, FrameResult]],
    max_frames: int | None,
    status: Status,
    sinks: Sequence[Sink],
    notifier: Notifier,
    stop: StopRequest,
) -> SourceError | BrokenPipeError | None:
    """Hands each result to all outputs until the end.

    Returns the error of a source or pipe that broke. It is not raised here, so that
    what was recorded until then is kept.
    """
    try:
        for frame, result in results:
            status.update(result)
            status.frame_wh = (frame.image.shape[1], frame.image.shape[0])
            window_open = all([sink.write(frame, result) for sink in sinks])
            notifier.beat()
            notifier.status(f"answered frames: {status.frames}")
            stopped = stop.signal is not None or status.frames == max_frames
            if stopped or not window_open:
                break
    except (SourceError, BrokenPipeError) as error:  # "| head" ends the reading
        return error
    return None
