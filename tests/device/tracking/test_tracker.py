"""A face keeps its number as long as it is there, and loses it when it is gone."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge_runtime.detection.base import Face
from edge_runtime.detection.boxes import RawBox, iou
from edge_runtime.tracking.template_matching import extract_patch, find_patch
from edge_runtime.tracking.tracker import LOST_AFTER_S, Track, Tracker

STEP_S = 0.1


def at(x: float, y: float = 100, side: float = 80) -> Face:
    return Face((round(x), round(y), round(side), round(side)))


def tracked(*frames: list[Face], tracker: Tracker | None = None) -> list[list[int]]:
    """Returns the visible faces' numbers after each frame, a detector run on each."""
    tracker = tracker or Tracker()
    ids = []
    for number, faces in enumerate(frames):
        tracker.predict(number * STEP_S)
        tracker.update(faces)
        tracker.remove_lost()
        ids.append([track.id for track in tracker.tracks if track.visible])
    return ids


def test_moving_face_keeps_its_number() -> None:
    assert tracked(*([at(30 * n)] for n in range(12))) == [[1]] * 12


def test_faces_that_pass_each_other_keep_their_numbers() -> None:
    tracker = Tracker()
    frames = [[at(20 * n, 100), at(400 - 20 * n, 130)] for n in range(21)]
    tracked(*frames, tracker=tracker)
    ends = {track.id: track.box[0] for track in tracker.tracks}
    assert ends[1] == pytest.approx(400, abs=10)
    assert ends[2] == pytest.approx(0, abs=10)


def test_number_lasts_through_a_short_loss_while_the_face_moves() -> None:
    seen = [[at(20 * n)] for n in range(5)]
    missed: list[list[Face]] = [[]] * 5
    back = [[at(20 * n)] for n in range(10, 12)]
    ids = tracked(*seen, *missed, *back)
    assert ids[5:10] == [[]] * 5
    assert ids[-1] == [1]


def test_face_that_is_gone_for_long_comes_back_as_another() -> None:
    away: list[list[Face]] = [[]] * (round(LOST_AFTER_S / STEP_S) + 2)
    assert tracked([at(0)], [at(0)], *away, [at(0)])[-1] == [2]


def test_slow_detector_gets_a_second_look_before_a_face_is_lost() -> None:
    tracker = Tracker()
    for now, faces in ((0.0, [at(0)]), (3.0, [at(0)]), (6.0, [])):
        tracker.predict(now)
        tracker.update(faces)
    assert tracker.remove_lost() == []
    tracker.predict(9.0)
    tracker.update([])
    assert [track.id for track in tracker.remove_lost()] == [1]


def test_what_was_found_once_is_dropped_at_once() -> None:
    tracker = Tracker()
    tracked([at(0)], [], tracker=tracker)
    assert tracker.tracks == []


def test_face_of_another_size_in_the_same_place_is_another() -> None:
    ids = tracked([at(100, side=200)], [at(100, side=200)], [at(150, 150, side=40)])
    assert ids[-1] == [2]


def bursts(size: int, apart_s: float, count: int = 300) -> list[float]:
    """Returns arrival times of 30 frames a second that come in bursts."""
    return [size * (n // size) / 30 + apart_s * (n % size) for n in range(count)]


@pytest.mark.parametrize("speed_px_s", [0, 300])
@pytest.mark.parametrize("likeness", [False, True])
@pytest.mark.parametrize(
    "times",
    [bursts(2, 0.0005), bursts(2, 0.002), bursts(4, 0.0005), bursts(2, 0.012)],
    ids=["pairs", "looser-pairs", "fours", "loose-pairs"],
)
def test_frames_that_arrive_in_bursts_do_not_lose_a_face(
    times: list[float], likeness: bool, speed_px_s: float
) -> None:
    rng = np.random.default_rng(0)
    tracker, offsets = Tracker(), []
    for number, now in enumerate(times):
        x = 200 + 100 * np.sin(speed_px_s / 100 * number / 30)
        tracker.predict(now)
        offsets += [abs(track.box[0] - x) for track in tracker.tracks]
        for track in tracker.tracks if likeness else ():
            tracker.correct(track, (x + rng.normal(), 100.0, 80.0, 80.0))
        if not likeness or number % 5 == 0:
            tracker.update([at(x + rng.normal())])
        tracker.remove_lost()
    assert [track.id for track in tracker.tracks] == [1]
    # Never so far that its likeness would not be searched for where it is.
    assert max(offsets) < 30


def test_speed_is_corrected_once_a_frame() -> None:
    once, twice = Tracker(), Tracker()
    for tracker in (once, twice):
        tracked(*[[at(10 * n)] for n in range(5)], tracker=tracker)
        tracker.predict(5 * STEP_S)
        tracker.correct(tracker.tracks[0], (52.0, 100.0, 80.0, 80.0))
    twice.update([at(60)])
    assert twice.tracks[0].box[0] > once.tracks[0].box[0] + 5
    assert twice.tracks[0].velocity == once.tracks[0].velocity


def test_face_is_another_after_an_outage() -> None:
    tracker = Tracker()
    tracked(*([at(100)] for _ in range(5)), tracker=tracker)
    assert [track.id for track in tracker.predict(3600.0)] == [1]
    assert [track.id for track in tracker.update([at(100)])] == [2]


def test_pause_of_less_than_a_second_is_no_outage() -> None:
    tracker = Tracker()
    tracked(*([at(100)] for _ in range(5)), tracker=tracker)
    assert tracker.predict(4 * STEP_S + 0.9 * LOST_AFTER_S) is None
    assert [track.id for track in tracker.update([at(100)])] == [1]


def test_frames_that_come_every_few_seconds_are_no_outages() -> None:
    tracker = Tracker()
    for number in range(5):
        assert tracker.predict(3.0 * number) is None
        assert [track.id for track in tracker.update([at(100)])] == [1]


def test_clock_that_goes_back_moves_nothing() -> None:
    tracker = Tracker()
    tracked(*([at(30 * n)] for n in range(5)), tracker=tracker)
    before = tracker.tracks[0].box
    tracker.predict(0.0)
    assert tracker.tracks[0].box == before


def test_face_out_of_sight_comes_to_rest() -> None:
    track = Track(1, (0.0, 0.0, 80.0, 80.0), 1.0, False, 0.0, velocity=(100.0, 0.0))
    track.visible = False
    for _ in range(100):
        track.predict(STEP_S)
    assert track.box[0] < 100
    assert track.velocity[0] < 1


boxes = st.builds(
    lambda x, y, side: Face((x, y, side, side)),
    st.integers(0, 600),
    st.integers(0, 400),
    st.integers(10, 200),
)


@settings(max_examples=60)
@given(st.lists(st.lists(boxes, max_size=4), max_size=12))
def test_no_face_is_lost_or_taken_twice(frames: list[list[Face]]) -> None:
    tracker = Tracker()
    for number, faces in enumerate(frames):
        tracker.predict(number * STEP_S)
        found = tracker.update(faces)
        assert len({track.id for track in found}) == len(faces)
        tracker.remove_lost()
        ids = [track.id for track in tracker.tracks]
        assert len(set(ids)) == len(ids)


def noisy_scene(x: int, y: int) -> np.ndarray:
    """Returns a frame with a textured square of 80 pixels on a textured ground."""
    rng = np.random.default_rng(1)
    ground = rng.integers(90, 130, (30, 40, 3)).repeat(8, 0).repeat(8, 1)
    face = rng.integers(0, 256, (10, 10, 3)).repeat(8, 0).repeat(8, 1)
    ground[y : y + 80, x : x + 80] = face
    return ground.astype(np.uint8)


@pytest.mark.parametrize("moved", [(0, 0), (18, -7), (-30, 24), (33, 33)])
@pytest.mark.parametrize("grey", [False, True])
def test_followed_box_goes_where_the_face_went(
    moved: tuple[int, int], grey: bool
) -> None:
    old, new = noisy_scene(100, 80), noisy_scene(100 + moved[0], 80 + moved[1])
    if grey:
        old, new = old[..., 0], new[..., 0]
    box = (100.0, 80.0, 80.0, 80.0)
    patch = extract_patch(old, box)
    assert patch is not None
    found = find_patch(new, patch, box)
    assert found is not None
    assert iou(found, (100.0 + moved[0], 80.0 + moved[1], 80.0, 80.0)) > 0.8


def test_face_that_left_is_not_followed() -> None:
    box: RawBox = (100.0, 80.0, 80.0, 80.0)
    patch = extract_patch(noisy_scene(100, 80), box)
    assert patch is not None
    assert find_patch(noisy_scene(240, 160), patch, box) is None


def test_face_cut_by_the_edge_is_followed() -> None:
    patch = extract_patch(noisy_scene(0, 80)[:, 30:], (-30.0, 80.0, 80.0, 80.0))
    assert patch is not None
    found = find_patch(noisy_scene(0, 90)[:, 30:], patch, (-30.0, 80.0, 80.0, 80.0))
    assert found is not None
    assert iou(found, (-30.0, 90.0, 80.0, 80.0)) > 0.8


def test_flat_picture_has_nothing_to_go_by() -> None:
    assert extract_patch(np.full((100, 100, 3), 90, np.uint8), (10, 10, 50, 50)) is None


@pytest.mark.parametrize(
    "box", [(-500.0, 0.0, 80.0, 80.0), (0.0, 0.0, 1.0, 1.0), (0.0, 0.0, 9e6, 9e6)]
)
def test_odd_boxes_break_nothing(box: RawBox) -> None:
    scene = noisy_scene(100, 80)
    patch = extract_patch(scene, (100.0, 80.0, 80.0, 80.0))
    assert patch is not None
    find_patch(scene, patch, box)
    extract_patch(scene, box)


def test_track_that_is_known_counts_more_than_overlap() -> None:
    tracker = Tracker()
    tracked(*([at(100), at(300)] for _ in range(3)), tracker=tracker)
    one, other = tracker.tracks
    found = tracker.update([at(290), at(110)], [one.id, other.id])
    assert [track.id for track in found] == [one.id, other.id]
    found = tracker.update([at(300)], [99])  # one that is gone meanwhile
    assert len(found) == 1


def test_face_that_coasts_slows_down_and_the_detector_ends_that() -> None:
    tracker = Tracker()
    tracked(*([at(10 * n)] for n in range(5)), tracker=tracker)
    (track,) = tracker.tracks
    track.coasting = True
    speed = track.velocity[0]
    tracker.predict(5 * STEP_S)
    assert 0 < track.velocity[0] < speed
    tracker.update([])
    assert (track.visible, track.coasting) == (False, False)


@pytest.mark.parametrize("turns", [1, 2, 3])
@pytest.mark.parametrize("side", [9.0, 17.0, 60.0])
def test_patch_of_a_turned_frame_is_that_of_an_upright_one(
    turns: int, side: float
) -> None:
    view = np.rot90(np.random.default_rng(0).integers(0, 256, (90, 120, 3)), turns)
    view = view.astype(np.uint8, order="K")
    box = (20.0, 15.0, side, side)
    turned, upright = extract_patch(view, box), extract_patch(view.copy(), box)
    assert turned is not None and upright is not None
    np.testing.assert_array_equal(turned.grey, upright.grey)
