"""``python -m edge_runtime``: camera to answers, and what is inside a model file."""

from __future__ import annotations

import argparse
import json
import logging
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType
from typing import Any

import numpy as np

from edge_runtime import __version__, faces, outputs, overlay, pipeline
from edge_runtime.backends import BACKENDS, TensorInfo
from edge_runtime.classifier import Classifier, released_model
from edge_runtime.errors import INTERRUPTED_EXIT_CODE, SourceError, exit_code_of
from edge_runtime.pipeline import FrameResult
from edge_runtime.preprocess import Image
from edge_runtime.sources import Frame, Source, open_source

CHECK_SCHEMA = "fer-edge/check/1"
EXAMPLES = """\
examples:
  python -m edge_runtime run                             first camera, released model
  python -m edge_runtime run fer.int8.tflite --source clip.mp4 --output out.mp4
  python -m edge_runtime run --source face.jpg --faces none
  python -m edge_runtime run --detector-model yunet.onnx --json | jq .faces[].label
  python -m edge_runtime check fer.int8.tflite

exit codes: 0 done, 2 something given is wrong (one line on stderr), 130 Ctrl-C
"""


def build_parser() -> argparse.ArgumentParser:
    """Returns the command line."""
    parser = argparse.ArgumentParser(
        prog="python -m edge_runtime",
        description="Runs an exported classifier on a camera; checks model files.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument(
        "--version", action="version", version=f"fer-edge {__version__}"
    )
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    _add_run(commands)
    _add_check(commands)
    return parser


def _add_run(commands: Any) -> None:
    parser = _command(commands, "run", run, "camera, video or pictures to answers")
    add = parser.add_argument
    add(
        "--source",
        default="0",
        metavar="SOURCE",
        help="camera number, /dev/video path, video, picture or folder (default: 0)",
    )
    add("--every", type=_positive, default=1, metavar="N", help="take each n-th frame")
    add("--max-frames", type=_positive, metavar="N", help="stop after N frames")
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
        type=_positive,
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


def _add_check(commands: Any) -> None:
    parser = _command(commands, "check", check, "what is inside a model file")
    parser.add_argument("--json", action="store_true", help="as a JSON document")


def _command(
    commands: Any, name: str, call: Callable[[argparse.Namespace], int], text: str
) -> argparse.ArgumentParser:
    parser: argparse.ArgumentParser = commands.add_parser(
        name,
        help=text,
        description=text[0].upper() + text[1:] + ".",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.set_defaults(call=call)
    add = parser.add_argument
    add("model", nargs="?", type=Path, help=".tflite or .onnx (default: the released)")
    add(
        "--labels",
        type=lambda text: tuple(one.strip() for one in text.split(",")),
        metavar="A,B,C",
        help="class names in order, for a model without metadata",
    )
    add("--backend", choices=("auto", *BACKENDS), default="auto", help="(auto)")
    add("--threads", type=_positive, default=1, metavar="N", help="CPU threads (1)")
    return parser


def _positive(text: str) -> int:
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f"expected 1 or more, got {text}")
    return value


def main(argv: Sequence[str] | None = None) -> int:
    """Runs a command and returns its exit code."""
    logging.basicConfig(level=logging.WARNING, format="%(levelname)s: %(message)s")
    args = build_parser().parse_args(argv)
    return exit_code_of(lambda: args.call(args))


def _load(args: argparse.Namespace) -> Classifier:
    return Classifier.load(
        args.model, num_threads=args.threads, backend=args.backend, labels=args.labels
    )


@dataclass
class Stop:
    """Whether a run was asked to end, and by which signal."""

    signal: int | None = None

    @property
    def exit_code(self) -> int:
        """0, or 130 after Ctrl-C."""
        return INTERRUPTED_EXIT_CODE if self.signal == signal.SIGINT else 0


@contextmanager
def stopping() -> Iterator[Stop]:
    """Yields what Ctrl-C and SIGTERM set, so that a run ends with its video complete.

    A second Ctrl-C ends at once.
    """
    stop = Stop()

    def ask(number: int, _: FrameType | None) -> None:
        stop.signal = number
        signal.signal(number, before[number])

    if threading.current_thread() is not threading.main_thread():
        yield stop  # only the main thread may set handlers
        return
    numbers = (signal.SIGINT, signal.SIGTERM)
    before: dict[int, Any] = {one: signal.getsignal(one) for one in numbers}
    for one in numbers:
        signal.signal(one, ask)
    try:
        yield stop
    finally:
        for one in numbers:
            signal.signal(one, before[one])


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
    classifier = _load(args)
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
) -> SourceError | None:
    """Takes answers until the end; returns the error of a source that broke.

    Returned, not raised: what was recorded until then is kept.
    """
    try:
        for frame, result in answers:
            if not report.take(frame, result) or stop.signal is not None:
                break
    except SourceError as error:
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


def check(args: argparse.Namespace) -> int:
    """Says what a model file is; loading it replays its golden vectors."""
    document = check_document(_load(args), args.model or released_model(), args.threads)
    if args.json:
        print(json.dumps(document, indent=2))
        return 0
    print(_check_table(document))
    print("\nnext:")
    print(f"  python -m edge_runtime run {args.model or ''}".rstrip() + " --source 0")
    return 0


def check_document(classifier: Classifier, path: Path, threads: int) -> dict[str, Any]:
    """Returns what is known of a loaded model, JSON-ready."""
    spec, backend = classifier.spec, classifier.backend
    return {
        "schema": CHECK_SCHEMA,
        "file": str(path),
        "kind": classifier.file.kind,
        "size_bytes": classifier.file.size,
        "format": spec.format,
        "architecture": spec.architecture,
        "labels": list(spec.labels),
        "image": {"size_px": spec.size_px, "colour": spec.colour},
        "crop_margin_frac": spec.crop_margin_frac,
        "temperature": spec.temperature,
        "input": _tensor_document(backend.input),
        "output": _tensor_document(backend.output),
        "backend": {
            "name": backend.name,
            "version": backend.version,
            "threads": threads,
        },
        "golden": _golden_document(classifier),
        "accuracy": spec.accuracy,
        "origin": spec.origin,
    }


def _tensor_document(tensor: TensorInfo) -> dict[str, Any]:
    quantized = tensor.quantization
    return {
        "shape": list(tensor.shape),
        "dtype": str(tensor.dtype),
        "scale": quantized.scale if quantized else None,
        "zero_point": quantized.zero_point if quantized else None,
    }


def _golden_document(classifier: Classifier) -> dict[str, Any] | None:
    golden = classifier.spec.golden
    if golden is None:
        return None
    difference = np.abs(classifier.logits(golden.inputs) - golden.logits).max()
    return {
        "count": len(golden.inputs),
        "largest_difference": round(float(difference), 6),
        "tolerance": golden.tolerance,
        "tolerance_elsewhere": golden.tolerance_elsewhere,
        "exported_with": f"{golden.runtime} {golden.version}",
    }


def _check_table(document: dict[str, Any]) -> str:
    rows = [
        ("file", f"{document['file']}  ({document['size_bytes']:,} bytes)"),
        ("format", document["format"] or f"{document['kind']}, no metadata"),
        ("architecture", document["architecture"] or "-"),
        ("labels", ", ".join(document["labels"])),
        ("image", "{size_px} px, {colour}".format(**document["image"])),
        ("crop margin", f"{100 * document['crop_margin_frac']:g} %"),
        ("temperature", f"{document['temperature']:.4g}"),
        ("input", _tensor_text(document["input"])),
        ("output", _tensor_text(document["output"])),
        (
            "backend",
            "{name} {version}, {threads} thread(s)".format(**document["backend"]),
        ),
        ("golden vectors", _golden_text(document["golden"])),
    ]
    for group in ("accuracy", "origin"):
        rows += [(f"{group}: {k}", _short(v)) for k, v in document[group].items()]
    width = max(len(name) for name, _ in rows)
    return "\n".join(f"{name:<{width}}  {value}" for name, value in rows)


def _short(value: Any) -> str:
    text = value if isinstance(value, str) else json.dumps(value)
    return text if len(text) <= 100 else text[:97] + "..."


def _tensor_text(tensor: dict[str, Any]) -> str:
    text = f"{tensor['dtype']} {tuple(tensor['shape'])}"
    if tensor["scale"] is None:
        return f"{text}, not quantized"
    return f"{text}, scale {tensor['scale']:.6g}, zero point {tensor['zero_point']}"


def _golden_text(golden: dict[str, Any] | None) -> str:
    if golden is None:
        return "none in the file: a broken export or library would not be noticed"
    difference = f"{golden['largest_difference']:g}"
    return (
        f"{golden['count']} replayed, largest difference {difference}"
        f" (exported with {golden['exported_with']})"
    )


if __name__ == "__main__":
    sys.exit(main())
