"""From camera to label, against the loop of every tutorial, side by side in one run."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, NamedTuple

import cv2

from benchmarks.common.conditions import Watch
from benchmarks.common.documents import Document, model_record, now
from benchmarks.common.interpreter import invoke_call
from benchmarks.common.machine import machine_card
from benchmarks.common.timing import Protocol, ratio
from benchmarks.common.timing import time_interleaved as take_call_turns
from benchmarks.common.validity import verdict
from benchmarks.latency.measure import one_face
from benchmarks.pipeline.boxes import (
    DelayedDetector,
    agreement,
    live_agreement,
    reference_boxes,
)
from benchmarks.pipeline.clip import pictures_of
from benchmarks.pipeline.frame_age import measure_age
from benchmarks.pipeline.loops import (
    one_by_one,
    ours,
    run_interleaved,
    speed_up,
    tutorial,
)
from benchmarks.pipeline.requirements import requirements
from benchmarks.pipeline.start_up import IMPORTS, measure_start
from benchmarks.pipeline.timed import Timed
from edge_runtime import Classifier
from edge_runtime.detection.base import DETECT_EVERY, FaceDetector
from edge_runtime.detection.factory import open_detector
from edge_runtime.errors import GateError, MeasurementError
from edge_runtime.pipeline.pipeline import Pipeline
from edge_runtime.pipeline.scheduler import RoundRobinScheduler
from edge_runtime.preprocessing import Image
from train.run.revision import git_revision

SCHEMA = "fer-edge/pipeline/1"
FULL_WIDTH_PX = 100_000  # frames are never made wider
SHORT_AGE_S = 60.0
SLOWER_S = 0.1  # a Raspberry Pi's Haar cascade takes so much longer than a server's


class Mode(NamedTuple):
    """How a camera's frames are answered: as for a ``Pipeline``."""

    detect_every: int
    waits: bool
    turns: bool


WAYS = (
    Mode(detect_every=1, waits=True, turns=True),
    Mode(DETECT_EVERY, waits=False, turns=False),
    Mode(DETECT_EVERY, waits=False, turns=True),  # as run does
)


@dataclass(frozen=True)
class Setup:
    """What is measured.

    Attributes:
        float_path: The tutorial's model.
        int8_path: Ours.
        yunet: YuNet's file; None leaves YuNet out.
        clip: A video.
        picture: One of its frames, as a file.
        age_seconds: How long the live source runs.
    """

    float_path: Path
    int8_path: Path
    yunet: Path | None
    clip: Path
    picture: Path
    age_seconds: float

    def detector(self, name: str, width_px: int | None = None) -> FaceDetector:
        """Returns a detector with its defaults, or on frames of another width."""
        model = self.yunet if name == "yunet" else None
        if width_px is None:
            return open_detector(name, model)
        return open_detector(name, model, width_px=width_px)

    @property
    def detectors(self) -> tuple[str, ...]:
        """Names of those that can be measured."""
        return ("haar", "yunet") if self.yunet else ("haar",)


def measure_pipeline(setup: Setup) -> Document:
    """Returns the pipeline document, ``fer-edge/pipeline/1``.

    Raises:
        ModelError: A file cannot be used.
        MeasurementError: A part gave no figures.
    """
    watch = Watch()
    tutorial_model = Classifier.load(setup.float_path)
    model = Classifier.load(setup.int8_path)
    if model.backend.name not in IMPORTS:
        raise MeasurementError(
            f"expected a .tflite file, got {setup.int8_path.name}, which runs in"
            f" {model.backend.name}: a bare call of it is not written here"
        )
    with one_opencv_thread():
        pictures = pictures_of(setup.clip)
        loops = _loops(setup, tutorial_model, model, watch)
        _add_boxes(loops[1:], setup, pictures, model)
        ages = _ages(setup, pictures, model, watch)
        predict = _predict(model)
    start = measure_start(setup.int8_path, setup.picture, library=model.backend.name)
    required = requirements(loops, ages, predict, start)
    seen = watch.finish()
    return {
        "schema": SCHEMA,
        "created": now(),
        "git_revision": git_revision(),  # of what is measured
        "models": [
            model_record(setup.float_path, "tutorial", tutorial_model, 1),
            model_record(setup.int8_path, "ours", model, 1),
        ],
        "settings": {
            "detect_every": DETECT_EVERY,
            "threads": 1,
            "opencv_threads": 1,
            "clip_read_ahead": True,  # by ours, in a second thread
            "faces_located_ahead": True,  # in a third
        },
        "loops": loops,
        "age": ages,
        "predict": predict,
        "start": start,
        "requirements": [asdict(one) | {"met": one.met} for one in required],
        "conditions": seen,
        "verdict": verdict(seen),
        "machine": machine_card(),
    }


def check_met(document: Document) -> None:
    """Does nothing where every requirement is met.

    Raises:
        GateError: One is not; exit code 3.
    """
    missed = [one["name"] for one in document["requirements"] if one["met"] is False]
    if missed:
        raise GateError(f"{len(missed)} requirements were missed: {'; '.join(missed)}")


@contextmanager
def one_opencv_thread() -> Iterator[None]:
    """Has OpenCV use one thread, for every loop alike."""
    before = cv2.getNumThreads()
    cv2.setNumThreads(1)
    try:
        yield
    finally:
        cv2.setNumThreads(before)


def _loops(
    setup: Setup, tutorial_model: Classifier, model: Classifier, watch: Watch
) -> list[Document]:
    """Returns a record of each loop, the tutorial's first."""
    first = Timed("tutorial")
    mine = [Timed(name) for name in setup.detectors]
    serial = [Timed(name) for name in setup.detectors]
    turns = [(first, tutorial(setup.clip, tutorial_model, first))]
    for loop, timings in ((ours, mine), (one_by_one, serial)):
        for timed in timings:
            detector = setup.detector(timed.name)
            turns.append((timed, loop(setup.clip, model, timed, detector=detector)))
    run_interleaved(turns, watch.observe)
    if not first.blocks:
        raise MeasurementError("the clip is too short: give one of 100 frames or more")
    ours_too = [
        _record(timed)
        | {
            "speed_up": speed_up(timed, first),
            "idle_share": timed.idle_share,
            "one_by_one": _record(alone) | {"speed_up": speed_up(alone, first)},
            "over_one_by_one": speed_up(timed, alone),
            # Of one frame after the other: where they overlap nobody can tell.
            "around_share": alone.idle_share,
            "around_share_complete": alone.idle_share_complete,
            "results": timed.results,
        }
        for timed, alone in zip(mine, serial, strict=True)
    ]
    return [_record(first), *ours_too]


def _add_boxes(
    loops: Sequence[Document],
    setup: Setup,
    pictures: Sequence[Image],
    model: Classifier,
) -> None:
    """Puts the boxes' agreement in the place of the results: as a file, as a camera."""
    for loop in loops:
        name = loop["name"]
        boxes = reference_boxes(pictures, setup.detector(name, FULL_WIDTH_PX))
        loop["boxes"] = agreement(loop.pop("results"), boxes)
        for key, slower_s in (
            ("boxes_of_a_camera", 0.0),
            ("boxes_of_a_slower_detector", SLOWER_S),
        ):
            slowed = DelayedDetector(setup.detector(name), slower_s)
            live = Pipeline(
                slowed,
                model,
                wait_for_detector=False,
                scheduler=RoundRobinScheduler(),
            )
            found = live_agreement(pictures, live, boxes)
            loop[key] = {"slower_ms": 1000 * slower_s, **found}


def _record(timed: Timed) -> Document:
    frames = len(timed.results) or None
    spent = {"detect_ms": timed.detector, "network_ms": timed.network}
    return {
        "name": timed.name,
        "blocks": len(timed.blocks),
        "frame_ms": 1000 * timed.frame_s,
        "frames_per_second": 1 / timed.frame_s,
        **{
            key: 1000 * sum(end - start for start, end in when) / frames
            if frames
            else None
            for key, when in spent.items()
        },
    }


def _ages(
    setup: Setup, pictures: Sequence[Image], model: Classifier, watch: Watch
) -> list[Document]:
    """Returns ages with Haar: frames wait for it, each of them; and as run does.

    Between the two: as run does, but that every face is classified in every frame.
    """
    ages = []
    for way in WAYS:

        def opened(way: Mode = way) -> Pipeline:
            return Pipeline(
                setup.detector("haar"),
                model,
                detect_every=way.detect_every,
                wait_for_detector=way.waits,
                scheduler=RoundRobinScheduler() if way.turns else None,
            )

        # What the requirement is about is what run does.
        seconds = setup.age_seconds
        if way != WAYS[-1]:
            seconds = min(seconds, SHORT_AGE_S)
        age = measure_age(pictures, opened, seconds=seconds)
        ages.append(way._asdict() | age)
        watch.observe()
    return ages


def _predict(model: Classifier) -> dict[str, Any]:
    """Returns what ``predict`` takes over the interpreter's bare call."""
    bare = invoke_call(model.file.model, library=model.backend.name, threads=1)
    calls = [bare, one_face(model)]
    protocol = Protocol(seconds=1.0)
    timings = take_call_turns(calls, protocol)
    return {
        "bare_ms": timings[0].percentiles(),
        "predict_ms": timings[1].percentiles(),
        "ratio": ratio(timings[1], timings[0]),
    }
