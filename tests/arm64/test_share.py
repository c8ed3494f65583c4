"""Finding, cropping, following and telling faces costs little on a board's core."""

from __future__ import annotations

import pytest

from benchmarks.common.documents import read_document
from tests.arm64 import plan, share
from tests.performance.clip import write_clip

FRAMES = 12  # of these the detector sees about half, as new faces are looked at twice


def test_little_is_around_detector_and_network_on_a_pi_4(work, tmp_path):
    clip = tmp_path / "clip.avi"
    write_clip(clip, FRAMES)
    board = work.board((plan.LITERT, plan.A72))
    counted = share.count_loop(board, work.plugin, clip, ["haar"])
    assert counted["frames"] == FRAMES
    assert counted["faces"] >= FRAMES
    assert 0 < counted["around_share"] < share.MOST_AROUND
    network = counted["instructions"]["network"] * FRAMES / counted["faces"]
    assert network == pytest.approx(18.2, rel=0.05)  # one inference, as on record


def test_record_holds_on_every_core_with_both_detectors():
    loops = read_document(share.RECORD, share.SCHEMA)["loops"]
    assert len({(loop["core"], loop["detector"]) for loop in loops}) == 6
    for loop in loops:
        parts = loop["instructions"]
        around = parts["around"] / sum(parts.values())
        assert loop["around_share"] == pytest.approx(around, abs=0.001)
        assert around < share.MOST_AROUND


def test_parts_are_added_up_and_what_came_before_is_left_out():
    text = "mark 0 instructions 900\nmark 1 instructions 5 branches 2\n"
    text += "mark 2 instructions 70\nmark 1 instructions 6\nmark 3 instructions 8\n"
    assert share.read_parts(text) == {"around": 11, "detector": 70, "network": 8}
