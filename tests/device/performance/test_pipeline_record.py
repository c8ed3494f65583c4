"""The record of the pipeline's requirements: matches, limits, loops and the clip."""

from __future__ import annotations

import json
import threading
import time
from contextlib import contextmanager, nullcontext
from dataclasses import asdict, replace
from pathlib import Path

import cv2
import numpy as np
import pytest

from benchmarks.pipeline import frame_age
from benchmarks.pipeline.frame_age import (
    RecordedResult,
    age_figures,
    classified_figures,
)
from benchmarks.report.tables import requirement_cells
from edge_runtime import Classifier
from edge_runtime.detection.base import Face
from edge_runtime.errors import GateError
from edge_runtime.preprocessing import Image
from edge_runtime.results import Box, FaceResult, FrameResult
from edge_runtime.sources import Frame
from tests.detectors import needs_haar
from tests.performance.boxes import agreement, live_agreement
from tests.performance.clip import FRAME_WH, centres, write_clip
from tests.performance.loops import one_by_one, ours, run_interleaved, speed_up
from tests.performance.pipeline import (
    Setup,
    check_met,
    first_frame,
    main,
    measure_pipeline,
    record_table,
)
from tests.performance.requirements import Requirement, requirements
from tests.performance.timed import Gate, Timed, share_without

BOX: Box = (100, 100, 80, 80)
NEAR: Box = (115, 110, 80, 80)
FAR: Box = (300, 100, 80, 80)


def result(*boxes: Box) -> FrameResult:
    faces = tuple(FaceResult(box, 1.0, "happy", 1.0, {"happy": 1.0}) for box in boxes)
    return FrameResult(0, 0.0, "clip", faces, 0.0, 0.0)


@pytest.mark.parametrize(
    ("mine", "reference", "matched", "extra"),
    [
        ([NEAR], [BOX], 1, 0),
        ([FAR], [BOX], 0, 0),
        ([], [BOX], 0, 0),
        ([NEAR], [BOX, FAR], 0, 0),
        ([NEAR, FAR], [BOX], 1, 1),
        ([], [], 1, 0),
    ],
    ids=["near", "far", "none", "one of two", "one too many", "nobody there"],
)
def test_frame_matches_when_every_box_has_one_near(
    mine: list[Box], reference: list[Box], matched: int, extra: int
) -> None:
    found = agreement([result(*mine)], [reference])
    assert (found["matched_share"], found["extra_share"]) == (matched, extra)


@pytest.mark.parametrize(
    ("value", "at_least", "met"),
    [(6.0, True, True), (5.9, True, False), (6.0, False, True), (6.1, False, False)],
)
def test_requirement_is_met_up_to_its_limit(
    value: float, at_least: bool, met: bool
) -> None:
    assert Requirement("speed", value, 6.0, at_least, "x").met == met


def test_missed_requirement_fails_the_gate_by_name() -> None:
    rows = [{"name": "speed", "met": False}, {"name": "memory", "met": True}]
    with pytest.raises(GateError, match="1 requirements were missed: speed"):
        check_met({"requirements": rows})
    check_met({"requirements": rows[1:]})


def test_loops_run_in_rotation_and_are_compared_block_by_block() -> None:
    order: list[str] = []

    def loop(name: str, frames: int):
        left = iter(range(frames))

        def step() -> bool:
            order.append(name)
            return next(left, None) is not None

        return nullcontext(step)

    one, other = Timed("one"), Timed("other")
    rounds: list[int] = []
    run_interleaved(
        [(one, loop("a", 45)), (other, loop("b", 45))], lambda: rounds.append(1)
    )
    assert order[:40] == ["a"] * 20 + ["b"] * 20
    assert (len(one.blocks_s), len(other.blocks_s), len(rounds)) == (2, 2, 3)
    one.blocks = [(0, 6), (0, 8), (0, 60)]
    other.blocks = [(0, 1), (1, 2), (0, 10)]
    assert speed_up(other, one)["median"] == pytest.approx(6.0)


def test_share_around_is_of_all_frames_or_of_those_with_detector_and_network() -> None:
    def answer(detect_ms: float, *boxes: Box) -> FrameResult:
        return replace(result(*boxes), detect_ms=detect_ms, detected=detect_ms > 0)

    # Of 10 each: detector 6 and network 3; network 2 of a face that is followed; a
    # detector that found nobody.
    timed = Timed("one", blocks=[(0, 30)], frames=[(0, 10), (10, 20), (20, 30)])
    timed.detector, timed.network = [(1, 7), (21, 28)], [(7, 10), (15, 17)]
    timed.results = [answer(6.0, BOX), answer(0.0, BOX), answer(7.0)]
    assert timed.idle_share == pytest.approx(1 - (9 + 2 + 7) / 30)
    assert timed.idle_share_complete == pytest.approx(0.1)
    timed.results[0] = answer(0.0, BOX)
    assert timed.idle_share_complete is None


def test_what_runs_at_once_counts_once_and_only_inside_the_windows() -> None:
    windows = [(0.0, 10.0), (100.0, 110.0)]
    assert share_without(windows, []) == 1
    assert share_without(windows, [(2, 4), (3, 5)]) == pytest.approx(17 / 20)
    assert share_without(windows, [(1, 9), (2, 3), (4, 6)]) == pytest.approx(12 / 20)
    assert share_without(windows, [(-5, 2), (8, 105), (109, 200)]) == pytest.approx(
        10 / 20
    )
    assert share_without(windows, [(20, 30)]) == 1


class Corner:
    """Finds a face in the corner; takes its time."""

    name = "corner"

    def __init__(self) -> None:
        self.calls = 0

    def detect(self, frame: Image) -> list[Face]:
        self.calls += 1
        time.sleep(0.005)
        return [Face((100, 100, 80, 80))]


@pytest.mark.parametrize("loop", [ours, one_by_one])
def test_loop_records_when_detector_and_network_ran(
    loop, tmp_path: Path, tiny_model_path: Path
) -> None:
    write_clip(tmp_path / "clip.avi", frames=45)
    timed, detector = Timed("corner"), Corner()
    model = Classifier.load(tiny_model_path)
    opened = loop(tmp_path / "clip.avi", model, timed, detector=detector)
    run_interleaved([(timed, opened)], lambda: None)
    assert len(timed.blocks) == 2
    assert len(timed.results) == 45
    assert len(timed.detector) == detector.calls
    assert detector.calls == sum(one.detected for one in timed.results)
    assert len(timed.network) == 45
    assert 0 < timed.idle_share < 1
    assert len(timed.frames) == (45 if loop is one_by_one else 0)


def test_nothing_is_done_ahead_while_the_gate_is_closed(
    tmp_path: Path, tiny_model_path: Path
) -> None:
    write_clip(tmp_path / "clip.avi", frames=45)
    timed, detector = Timed("corner"), Corner()
    model = Classifier.load(tiny_model_path)
    with ours(tmp_path / "clip.avi", model, timed, detector=detector) as step:
        time.sleep(0.2)
        assert detector.calls == 0
        timed.gate.open()
        assert step()
        timed.gate.close()  # with room left for the frames that follow
        calls = detector.calls
        time.sleep(0.2)
        assert detector.calls == calls


def test_gate_closes_when_the_work_under_way_is_done() -> None:
    gate, done = Gate(), []
    started, proceed = threading.Event(), threading.Event()

    def work() -> None:
        for number in range(2):
            with gate.work():
                started.set()
                assert proceed.wait(30)
                done.append(number)

    worker = threading.Thread(target=work)
    worker.start()
    assert not started.wait(0.1)
    gate.open()
    assert started.wait(30)
    closing = threading.Thread(target=gate.close)
    closing.start()
    while gate._is_open:
        time.sleep(0.001)
    proceed.set()
    closing.join(30)
    assert done == [0]
    assert worker.is_alive()
    gate.open()
    worker.join(30)
    assert done == [0, 1]


@pytest.mark.timeout(60)
@pytest.mark.parametrize("loop", [ours, one_by_one])
def test_error_of_another_loop_ends_the_threads_that_wait_for_the_gate(
    loop, tmp_path: Path, tiny_model_path: Path
) -> None:
    @contextmanager
    def broken():
        def step() -> bool:
            raise RuntimeError("another loop")

        yield step

    write_clip(tmp_path / "clip.avi", frames=45)
    timed, model = Timed("corner"), Classifier.load(tiny_model_path)
    opened = loop(tmp_path / "clip.avi", model, timed, detector=Corner())
    with pytest.raises(RuntimeError, match="another loop"):
        run_interleaved([(Timed("broken"), broken()), (timed, opened)], lambda: None)


def test_second_person_comes_and_goes() -> None:
    there = [centres(index, 240)[1] for index in range(240)]
    assert there[0] is None
    assert there[-1] is None
    xs = [place[0] for place in there if place is not None]
    assert max(xs) > FRAME_WH[0] > min(xs) + 100


def test_clip_is_the_same_every_time(tmp_path: Path) -> None:
    clips = []
    for name in ("a.avi", "b.avi"):
        write_clip(tmp_path / name, frames=2)
        capture = cv2.VideoCapture(str(tmp_path / name))
        clips.append([capture.read()[1] for _ in range(2)])
        capture.release()
    assert clips[0][0].shape == (480, 640, 3)
    assert np.array_equal(clips[0], clips[1])


@pytest.mark.parametrize("scheduled", [True, False])
def test_only_the_mode_of_a_command_has_a_limit_of_age(
    scheduled: bool,
) -> None:
    age = {
        "waits": False,
        "turns": scheduled,
        **age_figures([9.0, 9.0], [0.0, 0.003]),
        **classified_figures([RecordedResult(9.0, 0.003, (3.0,))]),
        "camera_over_pipeline": 3.0,
    }
    nothing = {"ratio": {"median": 1.0}}
    start = {"ratio": 1.0, "ours_peak_mb": None, "service_peak_mb": None}
    rows = {each.name: each for each in requirements([{}], [age], nothing, start)}
    name = "as run does: age p95 over the period"
    assert (name in rows) == scheduled
    if scheduled:
        assert rows[name].met is False
        assert rows["as run does: age p95 of each face's own frame"].value == 4
    else:
        other = rows["as run does, no turns: age p95 over the period"]
        assert other.value == 3
        assert other.met is None
        assert requirement_cells(asdict(other))[2:] == ["", ""]


class NumberedBoxes:
    """A pipeline whose box is at the number that is painted into the frame."""

    def process(self, frame: Frame) -> FrameResult:
        box = (int(frame.image[0, 0, 0]), 0, 80, 80)
        return replace(result(box), index=frame.index)

    def close(self) -> None:
        """Does nothing."""


def test_boxes_of_a_camera_are_compared_with_those_of_the_same_image() -> None:
    images = [np.full((24, 32, 3), number, np.uint8) for number in range(12)]
    reference = [[(number, 0, 80, 80)] for number in range(12)]
    found = live_agreement(images, NumberedBoxes(), reference)
    assert found["matched_share"] == 1.0
    assert found["frames"] + found["dropped"] == 12
    elsewhere = [[(number + 100, 0, 80, 80)] for number in range(12)]
    assert live_agreement(images, NumberedBoxes(), elsewhere)["matched_share"] == 0


@needs_haar
def test_record_is_measured_on_a_tiny_clip(
    tmp_path: Path, tiny_float_path: Path, tiny_model_path: Path, monkeypatch
) -> None:
    monkeypatch.setattr(frame_age, "TRIAL_S", 0.2)
    clip = tmp_path / "clip.avi"
    video = cv2.VideoWriter(str(clip), cv2.VideoWriter.fourcc(*"MJPG"), 30, (96, 72))
    noise = np.random.default_rng(0).integers(0, 256, (25, 72, 96, 3), dtype=np.uint8)
    for image in noise:
        video.write(image)
    video.release()
    setup = Setup(
        tiny_float_path,
        tiny_model_path,
        None,
        clip,
        first_frame(clip, tmp_path),
        age_seconds=0.2,
        starts=1,
    )
    document = measure_pipeline(setup)
    assert document["schema"] == "fer-edge/pipeline/1"
    assert [loop["name"] for loop in document["loops"]] == ["tutorial", "haar"]
    assert document["loops"][1]["boxes"]["frames"] == 25
    assert "haar: frames/s over tutorial's" in record_table(document)
    assert json.loads(json.dumps(document, allow_nan=False)) == document


def test_clip_that_cannot_be_read_is_one_error(tmp_path: Path, capsys) -> None:
    (tmp_path / "text.avi").write_text("no video")
    argv = ["a.tflite", "b.tflite", "--clip", str(tmp_path / "text.avi")]
    assert main(argv) == 2
    assert "no frame can be read" in capsys.readouterr().err
