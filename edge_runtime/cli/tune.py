"""``python -m edge_runtime tune``: the fastest settings for a model on this board."""

from __future__ import annotations

import argparse
import os
from collections.abc import Sequence
from functools import partial
from itertools import islice
from typing import Any

from edge_runtime.cli.given import GIVEN_NAMES, given
from edge_runtime.cli.next_run import faces_flag
from edge_runtime.cli.region_options import add_roi, regions_of
from edge_runtime.cli.run_options import TUNABLE, add_detector_model, add_model
from edge_runtime.cli.tuning_file import tuning_path, tuning_text
from edge_runtime.detection.base import DETECT_WIDTH_PX, FaceDetector
from edge_runtime.detection.factory import open_detector
from edge_runtime.errors import FerEdgeError, OutputError
from edge_runtime.inference.classifier import model_path
from edge_runtime.model_file.container import read_model_file
from edge_runtime.pipeline.tuning import MIN_SECONDS, Setting, choose, time_settings
from edge_runtime.sources import Frame, open_source
from edge_runtime.utils import flags
from edge_runtime.utils.argparser import add_command, as_typed, invocation
from edge_runtime.utils.files import write_text
from edge_runtime.utils.text_table import align

EXAMPLES = """\
examples:
  python -m edge_runtime tune
  python -m edge_runtime tune pets.int8.tflite --max-latency 5
  python -m edge_runtime tune pets.int8.tflite --frames clip.mp4 --min-fps 15 \\
      --detect-widths 160,240,320,480

Writes MODEL.tuning.toml beside the model. run uses it by itself while model, processor
and versions stay the same; flags and --config take precedence. With --frames the time
is that of a whole frame, or of a region (--roi): faces are found and classified. Of
the settings that meet the target it takes the widest detection, then the fewest
threads; without a target the fastest. Exit code 3: no setting meets the target.
"""
MAX_FRAMES = 30
SECONDS = MIN_SECONDS  # of each setting


def add_tune(commands: Any) -> None:
    """Adds ``tune`` to the commands."""
    text = "measure which threads, library and detector width suit this board"
    parser = add_command(commands, "tune", tune, text, EXAMPLES)
    add_model(parser)
    add = parser.add_argument
    number = partial(flags.number, low=1e-6, high=1e6)
    add(
        "--max-latency",
        type=number,
        metavar="MS",
        help="longest time of nine frames in ten (no limit)",
    )
    add(
        "--min-fps",
        type=number,
        metavar="N",
        help="fewest frames per second, by the median (no limit)",
    )
    add(
        "--threads",
        type=partial(_counts, convert=flags.threads),
        metavar="N,N",
        help="thread counts to try (1,2,4: as far as there are cores)",
    )
    add(
        "--frames",
        metavar="SOURCE",
        help="picture, folder or video: also time the detection of faces in it",
    )
    flags.add_orientation(add)
    add_roi(add)
    add(
        "--detect-widths",
        type=partial(_counts, convert=flags.positive),
        metavar="PX,PX",
        help=f"detector widths to try, with --frames ({DETECT_WIDTH_PX})",
    )
    add(
        "--faces",
        choices=("auto", "yunet", "haar"),
        default="auto",
        help="face detector (auto: yunet where its file is found, else haar)",
    )
    add_detector_model(parser)
    add("--force", action="store_true", help="replace an existing tuning file")


def tune(args: argparse.Namespace) -> int:
    """Times all settings, prints them, and writes the best for ``run``."""
    model = model_path(args.model)
    path = tuning_path(model)
    if path.exists() and not args.force:
        raise OutputError(f"{str(path)!r} exists: give --force to replace it")
    if model.exists() and not os.access(path.parent, os.W_OK):
        raise OutputError(
            f"no permission to write {str(path)!r}: use sudo, or copy the model to a"
            " folder of your own"
        )
    frames, detectors = _detection(args)
    settings = time_settings(
        model,
        args.threads or [n for n in (1, 2, 4) if n <= (os.cpu_count() or 1)],
        frames=frames,
        detectors=detectors,
        given=given(args),
        seconds=SECONDS,
    )
    print(table(settings))
    best = choose(settings, max_latency_ms=args.max_latency, min_fps=args.min_fps)
    write_text(path, tuning_text(model, {key: getattr(best, key) for key in TUNABLE}))
    width = f", detector width {best.detect_width}" if best.detect_width else ""
    print(f"\nchosen: {best.threads} thread(s), {best.backend}{width}\nwrote {path}")
    typed = f" {args.model}" if args.model else ""
    typed += as_typed(args.words, GIVEN_NAMES)
    faces = faces_flag(read_model_file(model))
    print(f"\nnext:\n  {invocation()} run{typed} --source 0{faces}")
    return 0


def _detection(args: argparse.Namespace) -> tuple[list[Frame], dict[int, FaceDetector]]:
    """Returns frames, and detectors by their widths; nothing without ``--frames``."""
    if args.frames is None:
        if args.detect_widths or args.roi:
            flag = "--detect-widths" if args.detect_widths else "--roi"
            raise FerEdgeError(f"{flag} needs --frames SOURCE to find faces in")
        return [], {}
    widths = args.detect_widths or (DETECT_WIDTH_PX,)
    if len(widths) > 1 and args.max_latency is None and args.min_fps is None:
        raise FerEdgeError(
            "expected a limit with several --detect-widths, got none: the smallest is"
            " always the fastest; add --max-latency or --min-fps"
        )
    with open_source(args.frames, rotate=args.rotate, hflip=args.hflip) as source:
        frames = list(islice(source, MAX_FRAMES))
    if not frames:
        raise FerEdgeError(f"expected frames in {args.frames!r}, got none")
    if regions := regions_of(args):
        from edge_runtime.pipeline.regions import Cutter

        cutter = Cutter(regions)
        frames = [cut.frame for frame in frames for cut in cutter.cut(frame)]
    return frames, {
        width: open_detector(args.faces, args.detector_model, width_px=width)
        for width in widths
    }


def table(settings: Sequence[Setting]) -> str:
    """Returns the settings and their times as a table."""
    rows = [("library", "threads", "detector width", "p50 ms", "p90 ms", "runs")]
    for setting in settings:
        counts = (f"{setting.threads}", f"{setting.detect_width or '-'}")
        times = (f"{setting.p50_ms:.3f}", f"{setting.p90_ms:.3f}", f"{setting.runs:,}")
        rows.append((setting.backend, *counts, *times))
    return align(rows, left=1)


def _counts(text: str, convert: Any) -> tuple[int, ...]:
    return tuple(dict.fromkeys(convert(part) for part in text.split(",")))
