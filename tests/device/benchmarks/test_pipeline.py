"""What the pipeline benchmark calls a match, a limit and a clip."""

from __future__ import annotations

import threading
import time
from contextlib import contextmanager
from dataclasses import asdict, replace
from pathlib import Path

import cv2
import numpy as np
import pytest

from benchmarks.pipeline.boxes import agreement, live_agreement
from benchmarks.pipeline.clip import (
    FPS,
    FRAME_WH,
    ClipReader,
    centres,
    playing,
    write_clip,
)
from benchmarks.pipeline.frame_age import (
    RecordedFrame,
    age_figures,
    classified_figures,
    measure_age,
)
from benchmarks.pipeline.loops import one_by_one, ours, run_interleaved, speed_up
from benchmarks.pipeline.measure import check_met
from benchmarks.pipeline.requirements import Requirement, requirements
from benchmarks.pipeline.table import requirement_cells
from benchmarks.pipeline.timed import Timed, TurnGate, share_without
from edge_runtime import Classifier
from edge_runtime.detection.base import Face
from edge_runtime.errors import GateError
from edge_runtime.preprocessing import Image
from edge_runtime.results import Box, FaceResult, FrameResult
from edge_runtime.sources import Frame
from edge_runtime.sources.base import EndOfSource
from edge_runtime.sources.clock import VirtualClock

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


def test_loops_take_turns_and_are_compared_block_by_block() -> None:
    order: list[str] = []

    def loop(name: str, frames: int):
        from contextlib import nullcontext

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
def test_loop_notes_when_detector_and_network_ran(
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


def test_nothing_is_done_ahead_before_or_after_the_turn(
    tmp_path: Path, tiny_model_path: Path
) -> None:
    write_clip(tmp_path / "clip.avi", frames=45)
    timed, detector = Timed("corner"), Corner()
    model = Classifier.load(tiny_model_path)
    with ours(tmp_path / "clip.avi", model, timed, detector=detector) as step:
        time.sleep(0.2)
        assert detector.calls == 0
        timed.turn.begin()
        assert step()
        timed.turn.end()  # with room left for the frames that follow
        calls = detector.calls
        time.sleep(0.2)
        assert detector.calls == calls


def test_turn_ends_when_what_is_under_way_is_done() -> None:
    turn, done = TurnGate(), []

    def work() -> None:
        for number in range(2):
            with turn.work():
                started.set()
                time.sleep(0.1)
                done.append(number)

    started = threading.Event()
    worker = threading.Thread(target=work)
    worker.start()
    assert not started.wait(0.1)
    turn.begin()
    assert started.wait(10)
    turn.end()
    assert done == [0]
    time.sleep(0.2)
    assert done == [0]
    turn.begin()
    worker.join(10)
    assert done == [0, 1]


@pytest.mark.timeout(60)
@pytest.mark.parametrize("loop", [ours, one_by_one])
def test_error_of_another_loop_ends_the_threads_that_wait_for_a_turn(
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


def numbered(count: int) -> list[Image]:
    return [np.full((24, 32, 3), number, np.uint8) for number in range(count)]


def test_people_in_a_played_clip_move_as_fast_at_any_rate() -> None:
    for fps, expected in ((10.0, [0, 3, 6]), (90.0, [0, 0, 0, 1, 1, 1, 2, 2, 2])):
        clip = ClipReader(numbered(9), fps, VirtualClock(), endless=False)
        shown = [int(clip.read()[0, 0, 0]) for _ in range(len(expected))]
        assert shown == expected
    with pytest.raises(EndOfSource):
        for _ in range(99):
            clip.read()


def test_played_clip_is_a_live_source_in_real_time() -> None:
    with playing(numbered(12), FPS, endless=False) as source:
        frames = list(source)
    assert source.live
    assert [frame.index for frame in frames] == [int(f.image[0, 0, 0]) for f in frames]
    assert frames[-1].timestamp_s == pytest.approx(11 / FPS, abs=0.1)


class Sleeping:
    """A pipeline that takes its time; the box of a frame follows its number."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds

    def process(self, frame: Frame) -> FrameResult:
        time.sleep(self._seconds)
        age_ms = 1000 * (time.monotonic() - frame.captured_s)
        box = (int(frame.image[0, 0, 0]), 0, 80, 80)
        return replace(result(box), index=frame.index, age_ms=age_ms)

    def close(self) -> None:
        """Ends nothing."""


def test_age_is_told_in_the_pipelines_own_periods_with_a_faster_camera() -> None:
    found = measure_age(numbered(30), lambda: Sleeping(0.02), seconds=1.0)
    assert 10 < found["camera_fps"] <= 3 / 0.02
    assert found["camera_over_pipeline"] > 1.5
    assert found["period_ms"] >= 20
    assert found["age_p50_ms"] >= 20
    assert found["age_periods"] == found["age_p95_ms"] / found["period_ms"]


def test_age_is_told_in_mean_periods_and_in_each_pictures_own() -> None:
    # Every other picture takes three times as long, each as old as 1.2 of its periods.
    times_s = np.cumsum([0.0, *[0.01, 0.03] * 50])
    ages_ms = [99.0, *[12.0, 36.0] * 50]
    found = age_figures(ages_ms, times_s)
    assert found["age_periods"] == pytest.approx(36 / 20)
    assert found["age_own_periods"] == pytest.approx(1.2)
    queued = age_figures([age + 20 for age in ages_ms], times_s)
    assert queued["age_own_periods"] == pytest.approx(3.2)


def test_age_of_what_a_face_is_told_to_be_counts_from_the_frame_it_was_seen_in() -> (
    None
):
    # Of three frames, each 10 ms old, the second has a face that waits its turn.
    faces = [(0.0,), (0.0, 30.0), ()]
    found = classified_figures(
        [RecordedFrame(10.0, 0.0, behind_ms) for behind_ms in faces]
    )
    assert found["classified_share"] == pytest.approx(2 / 3)
    assert found["classified_share_of_several"] == 0.5
    assert found["faceless_share"] == pytest.approx(1 / 3)
    assert found["classified_age_p50_ms"] == pytest.approx(10)
    assert found["classified_age_p95_ms"] == pytest.approx(10 + 0.9 * 30)
    assert found["longest_kept_ms"] == 30
    nobody = classified_figures([RecordedFrame(10.0, 0.0, ())])
    assert nobody.pop("faceless_share") == 1
    assert set(nobody.values()) == {None}


@pytest.mark.parametrize("in_turn", [True, False])
def test_only_what_a_command_does_is_held_against_the_limit_of_age(
    in_turn: bool,
) -> None:
    age = {
        "waits": False,
        "turns": in_turn,
        **age_figures([9.0, 9.0], [0.0, 0.003]),
        **classified_figures([RecordedFrame(9.0, 0.003, (3.0,))]),
        "camera_over_pipeline": 3.0,
    }
    nothing = {"ratio": {"median": 1.0}}
    start = {"ratio": 1.0, "ours_peak_mb": None, "service_peak_mb": None}
    rows = {one.name: one for one in requirements([{}], [age], nothing, start)}
    name = "as run does: age p95 over the period"
    assert (name in rows) == in_turn
    if in_turn:
        assert rows[name].met is False
        assert rows["as run does: age p95 of each face's own frame"].value == 4
    else:
        other = rows["as run does, no turns: age p95 over the period"]
        assert other.value == 3
        assert other.met is None
        assert requirement_cells(asdict(other))[2:] == ["", ""]


def test_boxes_of_a_camera_are_compared_with_those_of_the_very_picture() -> None:
    reference = [[(number, 0, 80, 80)] for number in range(12)]
    found = live_agreement(numbered(12), Sleeping(0.0), reference)
    assert found["matched_share"] == 1.0
    assert found["frames"] + found["dropped"] == 12
    elsewhere = [[(number + 100, 0, 80, 80)] for number in range(12)]
    assert live_agreement(numbered(12), Sleeping(0.0), elsewhere)["matched_share"] == 0
