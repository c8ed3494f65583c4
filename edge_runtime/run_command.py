"""``python -m edge_runtime run``: a camera, video or pictures to answers."""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from edge_runtime import faces, flags, outputs, overlay, pipeline
from edge_runtime.arguments import command
from edge_runtime.classifier import Classifier
from edge_runtime.errors import SourceError
from edge_runtime.pipeline import FrameResult
from edge_runtime.preprocess import Image
from edge_runtime.sources import Frame, Source, open_source
from edge_runtime.stopping import Stop, stopping


def add_run(commands: Any) -> None:
    """Adds ``run`` to the commands."""
    parser = command(commands, "run", run, "camera, video or pictures to answers")
    add = parser.add_argument
    add(
        "--source",
        default="0",
        metavar="SOURCE",
        help="camera number, /dev/video path, video, picture or folder (default: 0)",
    )
    add(
        "--every",
        type=flags.positive,
        default=1,
        metavar="N",
        help="take each n-th frame",
    )
    add("--max-frames", type=flags.positive, metavar="N", help="stop after N frames")
    group = parser.add_argument_group("faces")
    add = group.add_argument
    add(
        "--faces",
        choices=("auto", "yunet", "haar", "none"),
        default="auto",
        help="detector; none: each frame is a face (default: yunet with"
        " --detector-model, else haar)",
    )
    add(
        "--detector-model",
        type=Path,
        metavar="FILE",
        help="face_detection_yunet_*.onnx",
    )
    add(
        "--detect-width",
        type=flags.positive,
        default=faces.DETECT_WIDTH_PX,
        metavar="PX",
        help=f"detect on frames this wide (default: {faces.DETECT_WIDTH_PX})",
    )
    group = parser.add_argument_group("results")
    add = group.add_argument
    add("--json", action="store_true", help="one JSON document per frame, on stdout")
    add(
        "--output", type=Path, metavar="FILE", help="annotated .mp4, .avi, .png or .jpg"
    )
    add("--force", action="store_true", help="replace an existing --output")
    add("--display", action="store_true", help="show a window (q ends)")


@dataclass
class Report:
    """Where one run's answers go, and what is counted on the way."""

    args: argparse.Namespace
    source: Source
    writer: outputs.ImageWriter | None
    window: outputs.Window | None
    summary: outputs.Summary = field(default_factory=outputs.Summary)
    started: float = field(default_factory=time.perf_counter)

    def take(self, frame: Frame, result: FrameResult) -> bool:
        """Hands one answer on; returns whether to go on."""
        self.summary.add(result)
        self._say(result)
        wanted = True
        if self.writer or self.window:
            image = self._annotated(frame, result)
            if self.writer:
                self.writer.write(image)
            if self.window:
                wanted = self.window.show(image)
        return wanted and self.summary.frames != self.args.max_frames

    def _say(self, result: FrameResult) -> None:
        if self.args.json:
            outputs.write_json_line(result, sys.stdout)
        elif self.source.kind != "video":
            print(_line(result), flush=True)
        elif sys.stdout.isatty():
            of = f"/{self.source.frame_count}" if self.source.frame_count else ""
            print(f"\rframe {self.summary.frames}{of} ", end="", flush=True)

    def _annotated(self, frame: Frame, result: FrameResult) -> Image:
        busy_ms = result.detect_ms + result.classify_ms
        text = f"{busy_ms:.1f} ms"
        if self.source.kind != "pictures":
            text = f"{self.summary.frames / self.seconds:.1f} fps   {text}"
        return overlay.draw(frame.image, result.faces, text=text)

    @property
    def seconds(self) -> float:
        """Wall time since the start."""
        return max(time.perf_counter() - self.started, 1e-9)


def run(args: argparse.Namespace) -> int:
    """Classifies the faces of a source until it ends or somebody ends it."""
    if args.output:
        outputs.check_output(args.output, args.source, force=args.force)
    classifier = Classifier.load(
        args.model,
        num_threads=args.threads,
        backend=args.backend,
        labels=args.labels,
        public_key=args.require_signature,
    )
    detector = faces.open_detector(
        args.faces, args.detector_model, width_px=args.detect_width
    )
    with ExitStack() as stack:
        stop = stack.enter_context(stopping())
        source = stack.enter_context(open_source(args.source, every=args.every))
        writer = window = None
        if args.output:
            writer = stack.enter_context(outputs.open_output(args.output, source))
        if args.display:
            window = stack.enter_context(closing(outputs.Window("fer-edge")))
        report = Report(args, source, writer, window)
        broken = _loop(report, pipeline.run(source, detector, classifier), stop)
    if not args.json:
        _finish(report)
    if broken:
        raise broken
    return stop.exit_code


def _loop(
    report: Report, answers: Iterator[tuple[Frame, FrameResult]], stop: Stop
) -> SourceError | BrokenPipeError | None:
    """Takes answers until the end; returns the error of a source or pipe that broke.

    Returned, not raised: what was recorded until then is kept.
    """
    try:
        for frame, result in answers:
            if not report.take(frame, result) or stop.signal is not None:
                break
    except (SourceError, BrokenPipeError) as error:  # "| head" ends the reading
        return error
    return None


def _line(result: FrameResult) -> str:
    found = ", ".join(
        f"{face.label} {100 * face.confidence:.0f} %" for face in result.faces
    )
    return (
        f"{result.name}  frame {result.index}  {result.timestamp_s:.2f} s"
        f"  {found or 'no face'}"
        f"  (detect {result.detect_ms:.1f} ms, classify {result.classify_ms:.1f} ms)"
    )


def _finish(report: Report) -> None:
    args = report.args
    if report.source.kind == "video" and sys.stdout.isatty():
        print()
    print("\n" + report.summary.table(report.seconds, report.source.skipped))
    model = args.model or "fer.int8.tflite"
    again = f"python -m edge_runtime run {args.model or ''}".rstrip()
    print("\nnext:")
    if args.output:
        print(f"  look at {args.output}")
    else:
        print(f"  {again} --source {args.source} --output annotated.mp4")
    print(f"  python -m edge_runtime check {model if args.model else ''}".rstrip())
