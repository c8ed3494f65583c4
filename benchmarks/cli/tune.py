"""``python -m benchmarks tune``."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from itertools import islice
from pathlib import Path
from typing import Any

from benchmarks.cli.arguments import above_zero, command, thread_counts
from benchmarks.common.documents import (
    Document,
    check_writable,
    now,
    say_written,
    write_json,
)
from benchmarks.common.text_table import columns
from benchmarks.tune.measure import (
    MOST_FRAMES,
    PROTOCOL,
    Detection,
    Target,
    choose,
    measure_choices,
)
from edge_runtime.detection.base import DETECT_WIDTH_PX
from edge_runtime.errors import FerEdgeError
from edge_runtime.pipeline.tuning import TuningResult, tuning_document, tuning_path
from edge_runtime.sources import Frame, open_source
from edge_runtime.utils import argparser as flags

EXAMPLES = """\
examples:
  python -m benchmarks tune fer.int8.tflite
  python -m benchmarks tune fer.int8.tflite --max-latency 5
  python -m benchmarks tune fer.int8.tflite --frames clip.mp4 --min-fps 15 \\
      --detect-widths 160,240,320,480 --detector-model yunet.onnx

Writes MODEL.tuning.json beside the model; edge_runtime run uses it as long as model,
processor and library versions stay the same. With --frames the time is that of a whole
frame: faces are found and classified. Of the settings that meet the target it takes the
widest detection, then the fewest threads; without a target the fastest. Exit code 3
when none meets it.
"""


def add_tune(commands: Any) -> None:
    """Adds ``tune`` to the commands."""
    parser = command(
        commands,
        "tune",
        _tune,
        "the threads, library and detector width that suit this board",
        EXAMPLES,
    )
    add = parser.add_argument
    add("model", type=Path, metavar="MODEL", help=".tflite or .onnx file")
    add("--max-latency", type=above_zero, metavar="MS", help="for nine of ten frames")
    add("--min-fps", type=above_zero, metavar="N", help="frames a second, median")
    add("--threads", type=thread_counts, metavar="N,N", help="(1,2,4: cores there are)")
    add("--frames", metavar="PATH", help="picture, folder or video to find faces in")
    add("--detect-widths", type=_widths, metavar="PX,PX", help=f"({DETECT_WIDTH_PX})")
    add("--faces", choices=("auto", "yunet", "haar"), default="auto")
    add("--detector-model", type=Path, metavar="FILE", help="face_detection_yunet.onnx")
    add("--labels", type=lambda text: text.split(","), metavar="A,B")
    add("--force", action="store_true", help="replace an existing tuning file")


def _tune(options: argparse.Namespace) -> int:
    path = tuning_path(options.model)
    check_writable([path], force=options.force)
    target = Target(options.max_latency, options.min_fps)
    rows = measure_choices(
        options.model,
        threads=options.threads,
        detection=_detection(options, target),
        labels=options.labels,
        protocol=PROTOCOL,
    )
    print("\n".join(_table(rows)))
    best = choose(rows, target)
    choice = TuningResult(best["threads"], best["backend"], best["detect_width"])
    measured = {
        "created": now(),
        "max_latency_ms": options.max_latency,
        "min_fps": options.min_fps,
        "settings": rows,
    }
    write_json(path, tuning_document(options.model, choice, measured))
    width = f", detector width {choice.detect_width}" if choice.detect_width else ""
    print(f"\nchosen: {choice.threads} thread(s), {choice.backend}{width}")
    say_written([path])
    print(f"\nnext:  python -m edge_runtime run {options.model} --source 0")
    return 0


def _detection(options: argparse.Namespace, target: Target) -> Detection | None:
    if options.frames is None:
        if options.detect_widths:
            raise FerEdgeError("--detect-widths needs --frames PATH to find faces in")
        return None
    widths = options.detect_widths or (DETECT_WIDTH_PX,)
    if len(widths) > 1 and target == Target():
        raise FerEdgeError(
            "expected a target with several --detect-widths, got none: the fastest is"
            " always the smallest; add --max-latency or --min-fps"
        )
    return Detection(
        _frames(options.frames), widths, options.faces, options.detector_model
    )


def _frames(source: str) -> list[Frame]:
    with open_source(source) as opened:
        return list(islice(opened, MOST_FRAMES))


def _table(rows: Sequence[Document]) -> list[str]:
    cells = [
        [
            row["backend"],
            f"{row['threads']}",
            f"{row['detect_width'] or '-'}",
            f"{row['p50_ms']:.3f}",
            f"{row['p90_ms']:.3f}",
            f"{row['runs']:,}",
        ]
        for row in rows
    ]
    headings = ["", "threads", "detector width", "p50 ms", "p90 ms", "runs"]
    return columns(headings, cells)


def _widths(text: str) -> tuple[int, ...]:
    return tuple(dict.fromkeys(flags.positive(part) for part in text.split(",")))
