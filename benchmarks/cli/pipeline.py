"""``python -m benchmarks pipeline``."""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path
from typing import Any

import cv2

from benchmarks.cli.arguments import command
from benchmarks.common.documents import (
    Document,
    check_writable,
    say_written,
    write_json,
)
from benchmarks.common.validity import verdict_lines
from benchmarks.pipeline.clip import FRAMES, write_clip
from benchmarks.pipeline.measure import Setup, check_met, measure_pipeline
from benchmarks.pipeline.table import pipeline_table
from edge_runtime.detection.factory import fetched_model
from edge_runtime.errors import SourceError
from edge_runtime.utils import argparser as flags

EXAMPLES = """\
examples:
  python -m benchmarks pipeline fer.float32.tflite fer.int8.tflite
  python -m benchmarks pipeline FLOAT INT8 --detector-model yunet.onnx --strict
  python -m benchmarks pipeline FLOAT INT8 --clip mine.mp4 --json pipeline.json

FLOAT is what the tutorial's loop runs, INT8 what ours does. Both read the same clip, a
block of frames each in turn; OpenCV and the network have one thread each. Ours reads
the clip in a second thread and finds the next frames' faces in a third, as run does; it
is also measured with one frame after the other. Without --clip one is made of drawn
faces. Without --detector-model YuNet is measured where fetch-detector has put it. With
--strict a requirement that was missed ends with exit code 3.
"""


def add_pipeline(commands: Any) -> None:
    """Adds ``pipeline`` to the commands."""
    parser = command(
        commands,
        "pipeline",
        _pipeline,
        "from camera to label, against the usual loop",
        EXAMPLES,
    )
    add = parser.add_argument
    add("float_model", type=Path, metavar="FLOAT", help=".tflite of the tutorial loop")
    add("int8_model", type=Path, metavar="INT8", help=".tflite of ours")
    add("--detector-model", type=Path, metavar="FILE", help="YuNet's file")
    add("--clip", type=Path, metavar="FILE", help="a video of your own")
    add(
        "--frames",
        type=flags.positive,
        default=FRAMES,
        metavar="N",
        help=f"of the clip that is made ({FRAMES})",
    )
    add(
        "--age-seconds",
        type=lambda text: flags.number(text, 1, 36_000),
        default=10.0,
        metavar="S",
        help="how long the live source runs, twice (10)",
    )
    add("--strict", action="store_true", help="a missed requirement is exit code 3")
    add("--json", type=Path, metavar="FILE", help="keep the result as JSON")
    add("--force", action="store_true", help="replace existing files")


def _pipeline(options: argparse.Namespace) -> int:
    check_writable([options.json], force=options.force)
    with tempfile.TemporaryDirectory() as folder:
        clip = options.clip or Path(folder) / "clip.avi"
        if options.clip is None:
            print(f"drawing a clip of {options.frames} frames", flush=True)
            write_clip(clip, options.frames)
        setup = Setup(
            options.float_model,
            options.int8_model,
            options.detector_model or fetched_model(),
            clip,
            _picture(clip, Path(folder)),
            options.age_seconds,
        )
        document = measure_pipeline(setup)
    document["clip"] = {"drawn": options.clip is None} | _about(document)
    print(pipeline_table(document))
    print("\n" + "\n".join(verdict_lines(document)))
    if options.json:
        write_json(options.json, document)
    say_written([options.json])
    if options.strict:
        check_met(document)
    return 0


def _about(document: Document) -> dict[str, Any]:
    return {"frames": document["loops"][1]["boxes"]["frames"]}


def _picture(clip: Path, folder: Path) -> Path:
    """Returns the clip's first frame as a file."""
    capture = cv2.VideoCapture(str(clip))
    there, frame = capture.read()
    capture.release()
    if not there:
        raise SourceError(f"expected a video, got {str(clip)!r}: no frame can be read")
    path = folder / "frame.png"
    cv2.imwrite(str(path), frame)
    return path
