"""``python -m tests.performance.pipeline``: what this project claims of its pipeline.

The pipeline of ``run`` is timed block by block beside the loop of every tutorial, its
boxes are compared with those of a detector on every frame, and speed, frame age, time
to the first label and memory with their limits. README and docs quote the record,
benchmarks/results/pipeline.json.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, NamedTuple

import cv2

from benchmarks.common.conditions import ConditionMonitor
from benchmarks.common.documents import (
    Document,
    check_writable,
    columns,
    describe,
    machine_card,
    model_record,
    now,
    save_result,
)
from benchmarks.common.interpreter import invoke_call
from benchmarks.common.timing import Protocol, ratio, time_interleaved
from benchmarks.common.validity import verdict, verdict_lines
from benchmarks.latency.measure import one_face
from benchmarks.pipeline.frame_age import measure_age
from benchmarks.pipeline.measure import read_images
from benchmarks.report.tables import PIPELINE_SCHEMA as SCHEMA
from benchmarks.report.tables import requirement_cells
from edge_runtime import Classifier
from edge_runtime.detection.base import DETECT_EVERY, FaceDetector
from edge_runtime.detection.factory import open_detector, yunet_file
from edge_runtime.errors import GateError, MeasurementError, SourceError
from edge_runtime.pipeline.pipeline import Pipeline
from edge_runtime.pipeline.scheduler import RoundRobinScheduler
from edge_runtime.preprocessing import Image
from edge_runtime.utils import flags
from edge_runtime.utils.argparser import CommandLine, exit_code_of
from tests.performance.boxes import (
    DelayedDetector,
    agreement,
    live_agreement,
    reference_boxes,
)
from tests.performance.clip import FPS, FRAMES, write_clip
from tests.performance.loops import (
    one_by_one,
    ours,
    run_interleaved,
    speed_up,
    tutorial,
)
from tests.performance.requirements import requirements
from tests.performance.start_up import IMPORTS, REPEATS, measure_start
from tests.performance.timed import Timed
from train.run.folder import git_revision

FULL_WIDTH_PX = 100_000  # frames are never made wider
SHORT_AGE_S = 60.0
DELAY_S = 0.1  # a Raspberry Pi's Haar cascade takes so much longer than a server's
LOOP_HEADINGS = ("", "ms/frame", "frames/s", "detect", "network", "speed-up")
EXAMPLES = """\
examples:
  python -m tests.performance.pipeline fer2013.float32.tflite fer2013.int8.tflite
  python -m tests.performance.pipeline FLOAT INT8 --detector-model yunet.onnx --strict
  python -m tests.performance.pipeline FLOAT INT8 --clip mine.mp4 --json pipeline.json

FLOAT is the model of the tutorial's loop, INT8 that of ours. Both read the same clip,
block by block in rotation; OpenCV and the network have one thread each. Without --clip
one is made of drawn faces. Without --detector-model YuNet is measured where
it is installed. With --strict a missed requirement ends with exit code 3.
"""


class Mode(NamedTuple):
    """How the frames of a camera are processed; the keys are those of the record.

    Attributes:
        detect_every: As of a ``Pipeline``.
        waits: As its ``wait_for_detector``.
        turns: Whether it has a scheduler.
    """

    detect_every: int
    waits: bool
    turns: bool


AS_RUN_DOES = Mode(DETECT_EVERY, waits=False, turns=True)
MODES = (
    Mode(detect_every=1, waits=True, turns=True),
    Mode(DETECT_EVERY, waits=False, turns=False),
    AS_RUN_DOES,
)


@dataclass(frozen=True)
class Setup:
    """The models, the clip and how long they are measured.

    Attributes:
        float_path: The tutorial's model.
        int8_path: Our model.
        yunet: YuNet's file; None leaves YuNet out.
        clip: A video.
        picture: One of its frames, as a file.
        age_seconds: Duration of the run on a live source.
        starts: Number of processes whose start-up is measured.
    """

    float_path: Path
    int8_path: Path
    yunet: Path | None
    clip: Path
    picture: Path
    age_seconds: float
    starts: int = REPEATS

    def detector(self, name: str, width_px: int | None = None) -> FaceDetector:
        """Returns a detector that works at its default or another width."""
        model = self.yunet if name == "yunet" else None
        if width_px is None:
            return open_detector(name, model)
        return open_detector(name, model, width_px=width_px)

    @property
    def detectors(self) -> tuple[str, ...]:
        """Names of the detectors that can be measured."""
        return ("haar", "yunet") if self.yunet else ("haar",)


def measure_pipeline(setup: Setup) -> Document:
    """Returns the pipeline document, ``fer-edge/pipeline/1``.

    Raises:
        ModelError: A file cannot be used.
        MeasurementError: A part gave no figures.
    """
    monitor = ConditionMonitor()
    tutorial_model = Classifier.load(setup.float_path)
    model = Classifier.load(setup.int8_path)
    if model.backend.name not in IMPORTS:
        raise MeasurementError(
            f"expected a .tflite file, got {setup.int8_path.name}, which runs in"
            f" {model.backend.name}: a bare call of it is not written here"
        )
    with one_opencv_thread():
        images, _ = read_images(str(setup.clip), sys.maxsize)
        loops = _loops(setup, tutorial_model, model, monitor)
        _add_boxes(loops[1:], setup, images, model)
        ages = _ages(setup, images, model, monitor)
        predict = _predict(model)
    start = measure_start(
        setup.int8_path,
        setup.picture,
        library=model.backend.name,
        repeats=setup.starts,
    )
    required = requirements(loops, ages, predict, start)
    conditions = monitor.finish()
    return {
        "schema": SCHEMA,
        "created": now(),
        "git_revision": git_revision(),  # of what is measured
        "models": [
            model_record("tutorial", tutorial_model, 1),
            model_record("ours", model, 1),
        ],
        "settings": {
            "detect_every": DETECT_EVERY,
            "threads": 1,
            "opencv_threads": 1,
            "clip_read_ahead": True,  # by our loop, in a second thread
            "faces_located_ahead": True,  # in a third
        },
        "loops": loops,
        "age": ages,
        "predict": predict,
        "start": start,
        "requirements": [asdict(each) | {"met": each.met} for each in required],
        "conditions": conditions,
        "verdict": verdict(conditions),
        "machine": machine_card(),
    }


def check_met(document: Document) -> None:
    """Does nothing where every requirement is met.

    Raises:
        GateError: One is not; exit code 3.
    """
    missed = [each["name"] for each in document["requirements"] if each["met"] is False]
    if missed:
        raise GateError(f"{len(missed)} requirements were missed: {'; '.join(missed)}")


@contextmanager
def one_opencv_thread() -> Iterator[None]:
    """Limits OpenCV to one thread within the ``with`` block."""
    before = cv2.getNumThreads()
    cv2.setNumThreads(1)
    try:
        yield
    finally:
        cv2.setNumThreads(before)


def _loops(
    setup: Setup,
    tutorial_model: Classifier,
    model: Classifier,
    monitor: ConditionMonitor,
) -> list[Document]:
    """Returns a record of each loop, the tutorial's first."""
    reference = Timed("tutorial")
    overlapped = [Timed(name) for name in setup.detectors]
    serial = [Timed(name) for name in setup.detectors]
    loops = [(reference, tutorial(setup.clip, tutorial_model, reference))]
    for loop, timings in ((ours, overlapped), (one_by_one, serial)):
        for timed in timings:
            detector = setup.detector(timed.name)
            loops.append((timed, loop(setup.clip, model, timed, detector=detector)))
    run_interleaved(loops, monitor.sample)
    if not reference.blocks:
        raise MeasurementError("the clip is too short: give one of 100 frames or more")
    records = [
        _record(timed)
        | {
            "speed_up": speed_up(timed, reference),
            "idle_share": timed.idle_share,
            "one_by_one": _record(alone) | {"speed_up": speed_up(alone, reference)},
            "over_one_by_one": speed_up(timed, alone),
            # Of one frame after the other: it is not defined where they overlap.
            "around_share": alone.idle_share,
            "around_share_complete": alone.idle_share_complete,
            "results": timed.results,
        }
        for timed, alone in zip(overlapped, serial, strict=True)
    ]
    return [_record(reference), *records]


def _add_boxes(
    loops: Sequence[Document],
    setup: Setup,
    images: Sequence[Image],
    model: Classifier,
) -> None:
    """Replaces the results by the agreement of boxes: of a file, of a camera."""
    for loop in loops:
        name = loop["name"]
        boxes = reference_boxes(images, setup.detector(name, FULL_WIDTH_PX))
        loop["boxes"] = agreement(loop.pop("results"), boxes)
        for key, delay_s in (
            ("boxes_of_a_camera", 0.0),
            ("boxes_of_a_slower_detector", DELAY_S),
        ):
            live = Pipeline(
                DelayedDetector(setup.detector(name), delay_s),
                model,
                wait_for_detector=False,
                scheduler=RoundRobinScheduler(),
            )
            loop[key] = {
                "slower_ms": 1000 * delay_s,
                **live_agreement(images, live, boxes),
            }


def _record(timed: Timed) -> Document:
    return {
        "name": timed.name,
        "blocks": len(timed.blocks),
        "frame_ms": 1000 * timed.frame_s,
        "frames_per_second": 1 / timed.frame_s,
        "detect_ms": _mean_ms(timed, timed.detector),
        "network_ms": _mean_ms(timed, timed.network),
    }


def _mean_ms(timed: Timed, intervals: Sequence[tuple[float, float]]) -> float | None:
    """Returns the length of all intervals per frame; None for the tutorial."""
    if not timed.results:
        return None
    return 1000 * sum(end - start for start, end in intervals) / len(timed.results)


def _ages(
    setup: Setup, images: Sequence[Image], model: Classifier, monitor: ConditionMonitor
) -> list[Document]:
    """Returns the frame ages of each mode, with Haar."""
    ages = []
    for mode in MODES:

        def open_pipeline(mode: Mode = mode) -> Pipeline:
            return Pipeline(
                setup.detector("haar"),
                model,
                detect_every=mode.detect_every,
                wait_for_detector=mode.waits,
                scheduler=RoundRobinScheduler() if mode.turns else None,
            )

        seconds = setup.age_seconds
        if mode != AS_RUN_DOES:  # the requirement is about what run does
            seconds = min(seconds, SHORT_AGE_S)
        age = measure_age(images, open_pipeline, recorded_fps=FPS, seconds=seconds)
        ages.append(mode._asdict() | age)
        monitor.sample()
    return ages


def _predict(model: Classifier) -> dict[str, Any]:
    """Returns the time of ``predict`` beside that of the interpreter's bare call."""
    bare = invoke_call(model.file.model, library=model.backend.name, threads=1)
    timings = time_interleaved([bare, one_face(model)], Protocol(seconds=1.0))
    return {
        "bare_ms": timings[0].percentiles(),
        "predict_ms": timings[1].percentiles(),
        "ratio": ratio(timings[1], timings[0]),
    }


def record_table(document: Document) -> str:
    """Returns the loops and the requirements of a record as text."""
    loops = [_loop_cells(loop) for loop in document["loops"]]
    rows = [requirement_cells(each) for each in document["requirements"]]
    return "\n".join(
        [
            *(describe(document["machine"]), ""),
            *(*columns(LOOP_HEADINGS, loops), ""),
            *columns(("", "measured", "limit", "met"), rows),
        ]
    )


def _loop_cells(loop: Document) -> list[str]:
    cells = [
        loop["name"],
        f"{loop['frame_ms']:.2f}",
        f"{loop['frames_per_second']:.1f}",
    ]
    if "speed_up" not in loop:
        return [*cells, "", "", ""]
    speed = loop["speed_up"]
    return [
        *cells,
        f"{loop['detect_ms']:.2f}",
        f"{loop['network_ms']:.2f}",
        f"{speed['median']:.1f} x ({speed['p5']:.1f} to {speed['p95']:.1f})",
    ]


def main(argv: Sequence[str] | None = None) -> int:
    """Returns the exit code: 0 done, 2 the user's error, 3 a missed requirement."""
    options = _parser().parse_args(argv)
    return exit_code_of(lambda: _run(options))


def _parser() -> argparse.ArgumentParser:
    parser = CommandLine(
        prog="python -m tests.performance.pipeline",
        description="Compares the pipeline with the loop of every tutorial.",
        epilog=EXAMPLES,
    )
    add = parser.add_argument
    add("float_model", type=Path, metavar="FLOAT", help=".tflite of the tutorial loop")
    add("int8_model", type=Path, metavar="INT8", help=".tflite of ours")
    add("--detector-model", type=Path, metavar="FILE", help="YuNet's file")
    add("--clip", type=Path, metavar="FILE", help="a video of your own, 30 frames/s")
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
        help="duration of each run on a live source (10)",
    )
    add("--strict", action="store_true", help="a missed requirement is exit code 3")
    add("--json", type=Path, metavar="FILE", help="keep the result as JSON")
    add("--force", action="store_true", help="replace existing files")
    return parser


def _run(options: argparse.Namespace) -> int:
    check_writable([options.json], force=options.force)
    with tempfile.TemporaryDirectory() as folder:
        clip = options.clip or Path(folder) / "clip.avi"
        if options.clip is None:
            print(f"drawing a clip of {options.frames} frames", flush=True)
            write_clip(clip, options.frames)
        setup = Setup(
            options.float_model,
            options.int8_model,
            options.detector_model or yunet_file(),
            clip,
            first_frame(clip, Path(folder)),
            options.age_seconds,
        )
        document = measure_pipeline(setup)
    frames = document["loops"][1]["boxes"]["frames"]
    document["clip"] = {"drawn": options.clip is None, "frames": frames}
    print(record_table(document))
    print("\n" + "\n".join(verdict_lines(document)))
    save_result(document, options.json)
    if options.strict:
        check_met(document)
    return 0


def first_frame(clip: Path, folder: Path) -> Path:
    """Returns the path of the clip's first frame, written as a PNG into a folder."""
    capture = cv2.VideoCapture(str(clip))
    ok, frame = capture.read()
    capture.release()
    if not ok:
        raise SourceError(f"expected a video, got {str(clip)!r}: no frame can be read")
    path = folder / "frame.png"
    cv2.imwrite(str(path), frame)
    return path


if __name__ == "__main__":
    sys.exit(main())
