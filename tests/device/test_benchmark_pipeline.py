"""What the pipeline benchmark calls a match, a limit and a clip."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

from benchmarks.pipeline import Requirement, check_met
from benchmarks.pipeline_boxes import agreement
from benchmarks.pipeline_clip import FRAME_WH, centres, write_clip
from benchmarks.pipeline_loops import Timed, speed_up, take_turns
from edge_runtime.errors import GateError
from edge_runtime.results import Box, FaceResult, FrameResult

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
    take_turns([(one, loop("a", 45)), (other, loop("b", 45))], lambda: rounds.append(1))
    assert order[:40] == ["a"] * 20 + ["b"] * 20
    assert (len(one.blocks_s), len(other.blocks_s), len(rounds)) == (2, 2, 3)
    one.blocks_s, other.blocks_s = [6.0, 8.0, 60.0], [1.0, 1.0, 10.0]
    assert speed_up(other, one)["median"] == pytest.approx(6.0)


def test_share_around_is_of_all_frames_or_of_those_with_detector_and_network() -> None:
    def answer(detect_ms: float, *boxes: Box) -> FrameResult:
        return replace(result(*boxes), detect_ms=detect_ms, detected=detect_ms > 0)

    # Of 10 ms each: detector 6 and network 3; network 2 of a face that is followed;
    # a detector that found nobody.
    timed = Timed("one", frames_s=[0.01] * 3, network_s=[0.003, 0.002, 0.0])
    timed.results = [answer(6.0, BOX), answer(0.0, BOX), answer(7.0)]
    assert timed.around_share == pytest.approx(1 - (9 + 2 + 7) / 30)
    assert timed.around_share_complete == pytest.approx(0.1)
    timed.results[0] = answer(0.0, BOX)
    assert timed.around_share_complete is None


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
