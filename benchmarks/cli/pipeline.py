"""``python -m benchmarks pipeline``."""

from __future__ import annotations

import argparse
import shlex
from pathlib import Path
from typing import Any

from benchmarks.cli.parser import MODEL_HELP, add_given, add_result_file, model_file
from benchmarks.common.documents import check_writable, describe, save_result
from benchmarks.common.validity import require_valid, verdict_lines
from benchmarks.pipeline.measure import Setup, measure_pipeline, pipeline_table
from edge_runtime.cli.given import GIVEN_NAMES, given
from edge_runtime.cli.region_options import add_roi, regions_of
from edge_runtime.inference.backends import BACKENDS
from edge_runtime.inference.classifier import model_path
from edge_runtime.utils import flags
from edge_runtime.utils.argparser import add_command, as_typed, invocation, typed

FRAMES = 120
SOURCE = "fake:scene?clock=virtual"
EXAMPLES = """\
examples:
  python -m benchmarks pipeline fer2013.int8.tflite
  python -m benchmarks pipeline fer2013.int8.tflite --source 0 --frames 60
  python -m benchmarks pipeline fer2013.int8.tflite --source clip.mp4 --faces yunet

The frames are read first and then measured from memory, so reading and decoding are not
counted. Frame rate: as run does with a file. Frame age: as run does with a camera that
is three times as fast as the pipeline. Start-up: run in a new process.
"""


def add_pipeline(commands: Any) -> None:
    """Adds ``pipeline`` to the commands."""
    parser = add_command(
        commands,
        "pipeline",
        _pipeline,
        "frame rate, frame age and start-up of a model and a source",
        EXAMPLES,
    )
    add = parser.add_argument
    add(
        "model",
        type=model_file,
        nargs="?",
        metavar="MODEL",
        help=f"{MODEL_HELP} (the default one)",
    )
    add_given(parser)
    add(
        "--source",
        "--clip",
        default=SOURCE,
        help=f"camera, video, picture or folder, as for run ({SOURCE})",
    )
    flags.add_orientation(add)
    add_roi(add)
    add(
        "--frames",
        type=flags.positive,
        default=FRAMES,
        metavar="N",
        help=f"frames to read from the source ({FRAMES})",
    )
    add(
        "--faces",
        choices=("auto", "yunet", "haar", "none"),
        default="auto",
        help="face detector (auto: yunet after fetch-detector, else haar); none:"
        " classify the whole frame",
    )
    add(
        "--detector-model", type=Path, metavar="FILE", help="file of the detector YuNet"
    )
    add("--threads", type=flags.threads, default=1, metavar="N", help="CPU threads (1)")
    add(
        "--backend",
        choices=("auto", *BACKENDS),
        default="auto",
        help="inference library (auto: the first that is installed)",
    )
    add(
        "--age-seconds",
        type=lambda text: flags.number(text, 1, 36_000),
        default=10.0,
        metavar="S",
        help="seconds for which frame age is measured (10)",
    )
    add("--strict", action="store_true", help="INVALID ends with exit code 4")
    add_result_file(parser)


def _pipeline(options: argparse.Namespace) -> int:
    check_writable([options.json], force=options.force)
    model = model_path(options.model)
    document = measure_pipeline(
        Setup(
            model,
            options.source,
            options.frames,
            rotate=options.rotate,
            hflip=options.hflip,
            regions=regions_of(options),
            faces=options.faces,
            detector_model=options.detector_model,
            threads=options.threads,
            backend=options.backend,
            age_seconds=options.age_seconds,
            given=given(options),
            given_words=typed(options.words, GIVEN_NAMES),
        )
    )
    print(f"{describe(document['machine'])}\n\n{pipeline_table(document)}\n")
    print("\n".join(verdict_lines(document)))
    save_result(document, options.json)
    file = shlex.quote(str(model)) + as_typed(options.words, GIVEN_NAMES)
    print(f"\nnext:  {invocation('benchmarks')} latency {file}")
    if options.strict:
        require_valid(document)
    return 0
