"""Decisions follow what lasts and ignore what flickers; each event comes once."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_runtime.pipeline.decisions import (
    DecisionConfig,
    LabelSmoother,
    Observation,
    TrackDecisions,
)
from edge_runtime.results import UNCERTAIN, Decision, Event

LABELS = ("happy", "sad", "fear")
HAPPY, SAD, UNSURE = (0.8, 0.1, 0.1), (0.1, 0.8, 0.1), (0.34, 0.33, 0.33)
CONFIG = DecisionConfig()


def row(values: Sequence[float]) -> np.ndarray:
    return np.array(values, np.float32)


def smoothed(
    rows: Sequence[Sequence[float]],
    rate_hz: float = 10.0,
    config: DecisionConfig = CONFIG,
) -> list[Decision]:
    smoother = LabelSmoother(LABELS, config)
    return [
        smoother.update(row(values), number / rate_hz)
        for number, values in enumerate(rows)
    ]


def labels_of(decisions: Sequence[Decision]) -> list[str]:
    return [decision.label for decision in decisions]


def test_single_frame_of_another_label_changes_nothing() -> None:
    decisions = smoothed([HAPPY] * 10 + [SAD] + [HAPPY] * 10)
    assert labels_of(decisions) == ["happy"] * 21


def test_alternating_answers_do_not_flicker() -> None:
    decisions = smoothed([HAPPY, (0.3, 0.6, 0.1)] * 20)
    assert labels_of(decisions) == ["happy"] * 40


def test_lasting_change_is_followed_within_a_second() -> None:
    decisions = smoothed([HAPPY] * 20 + [SAD] * 20)
    changed = labels_of(decisions).index("sad")
    assert 23 <= changed <= 30
    assert labels_of(decisions[changed:]) == ["sad"] * (40 - changed)
    assert decisions[-1].since_s == pytest.approx(changed / 10)


def test_time_of_a_change_does_not_depend_on_the_frame_rate() -> None:
    times = []
    for rate in (5, 10, 30, 100):
        decisions = smoothed([HAPPY] * 4 * rate + [SAD] * 2 * rate, rate)
        times.append(labels_of(decisions).index("sad") / rate)
    assert max(times) - min(times) <= 0.2 + 1e-9  # one frame of the slowest


def test_decision_is_uncertain_below_the_threshold() -> None:
    assert labels_of(smoothed([UNSURE] * 3)) == [UNCERTAIN] * 3
    assert labels_of(smoothed([(0.49, 0.26, 0.25)])) == [UNCERTAIN]
    assert labels_of(smoothed([(0.51, 0.25, 0.24)])) == ["happy"]


def test_label_is_not_given_up_at_the_threshold_itself() -> None:
    wavering = [(0.52, 0.24, 0.24), (0.46, 0.27, 0.27)] * 30
    assert set(labels_of(smoothed(wavering))) == {"happy"}


def test_label_is_given_up_when_nothing_is_clear() -> None:
    assert labels_of(smoothed([HAPPY] * 5 + [UNSURE] * 60))[-1] == UNCERTAIN


def test_new_label_must_lead_by_the_margin() -> None:
    close = [HAPPY] + [(0.45, 0.54, 0.01)] * 100
    assert labels_of(smoothed(close))[-1] == "happy"
    assert labels_of(smoothed(close, config=DecisionConfig(margin=0.05)))[-1] == "sad"


def test_frames_that_are_seconds_apart_need_no_second_one_for_a_change() -> None:
    decisions = smoothed([HAPPY, HAPPY, SAD, SAD, HAPPY], rate_hz=1.0)
    assert labels_of(decisions) == ["happy", "happy", "sad", "sad", "happy"]
    assert all(one.confidence > 0.5 for one in decisions)


def test_single_frame_after_a_gap_changes_nothing() -> None:
    """A face that was out of sight for a second."""
    smoother = LabelSmoother(LABELS, CONFIG)
    for number in range(30):
        smoother.update(row(HAPPY), number / 30)
    decisions = [smoother.update(row(SAD), 2.0), smoother.update(row(HAPPY), 2.033)]
    assert labels_of(decisions) == ["happy", "happy"]


def test_new_label_must_lead_for_the_dwell() -> None:
    rows = [HAPPY] * 10 + [SAD] * 30
    at_once = labels_of(smoothed(rows, config=DecisionConfig(dwell_s=0.0))).index("sad")
    later = labels_of(smoothed(rows, config=DecisionConfig(dwell_s=0.7))).index("sad")
    assert later - at_once == 7


def test_label_that_is_kept_has_its_own_probability() -> None:
    decision = smoothed([HAPPY] * 10 + [(0.42, 0.5, 0.08)] * 100)[-1]
    assert decision.label == "happy"
    assert decision.confidence == pytest.approx(0.42, abs=0.01)


def test_uncertain_has_the_leading_labels_probability() -> None:
    (decision,) = smoothed([(0.3, 0.45, 0.25)])
    assert (decision.label, decision.confidence) == (UNCERTAIN, pytest.approx(0.45))


def test_half_life_says_how_much_an_old_frame_counts() -> None:
    smoother = LabelSmoother(LABELS, DecisionConfig(half_life_s=2.0))
    smoother.update(row((1, 0, 0)), 0.0)
    decision = smoother.update(row((0, 1, 0)), 2.0)
    assert decision.probabilities == pytest.approx(
        {"happy": 1 / 3, "sad": 2 / 3, "fear": 0}
    )


def test_clock_that_goes_back_keeps_the_average() -> None:
    smoother = LabelSmoother(LABELS, CONFIG)
    smoother.update(row(HAPPY), 5.0)
    assert smoother.update(row(HAPPY), 1.0).confidence == pytest.approx(0.8)


probabilities = st.lists(
    st.tuples(*[st.floats(0.01, 1)] * 3).map(lambda p: tuple(v / sum(p) for v in p)),
    min_size=1,
    max_size=30,
)


@given(probabilities)
def test_smoothed_probabilities_sum_to_one(rows: list[tuple[float, ...]]) -> None:
    for decision in smoothed(rows):
        assert sum(decision.probabilities.values()) == pytest.approx(1.0, abs=1e-5)
        assert decision.label in (*LABELS, UNCERTAIN)
        leading = max(decision.probabilities.values())
        own = decision.probabilities.get(decision.label, leading)
        assert decision.confidence == own


def seen(
    track_id: int, values: Sequence[float], *, confirmed: bool = True
) -> Observation:
    return Observation(track_id, confirmed, row(values))


def events_of(
    frames: Sequence[tuple[Sequence[Observation], Sequence[int]]],
) -> list[Event]:
    decisions = TrackDecisions(LABELS, CONFIG)
    events: list[Event] = []
    for number, (observations, gone) in enumerate(frames):
        events += decisions.update(observations, gone, number / 10)[1]
    return events


def test_face_appears_changes_and_leaves_once_each() -> None:
    frames = [([seen(7, HAPPY)], [])] * 20 + [([seen(7, SAD)], [])] * 20 + [([], [7])]
    events = events_of([*frames, ([], [])])
    assert [event.kind for event in events] == [
        "face_appeared",
        "expression_changed",
        "face_left",
    ]
    appeared, changed, left = events
    assert (appeared.label, appeared.previous, appeared.timestamp_s) == (
        "happy",
        None,
        0,
    )
    assert (changed.label, changed.previous) == ("sad", "happy")
    assert (left.label, left.previous, left.timestamp_s) == ("sad", None, 4.0)


def test_nothing_is_kept_of_faces_that_left() -> None:
    decisions = TrackDecisions(LABELS, CONFIG)
    for number in range(9):
        decisions.update([seen(number, HAPPY)], [], number)
        decisions.update([], [number], number + 0.5)
    assert decisions._smoothers == decisions._reported == {}


def test_face_that_was_never_confirmed_has_no_event() -> None:
    assert events_of([([seen(1, HAPPY, confirmed=False)], [])] * 3 + [([], [1])]) == []


def test_events_of_a_frame_come_in_the_order_of_the_numbers() -> None:
    events = events_of([([seen(2, HAPPY), seen(1, SAD)], []), ([seen(3, SAD)], [2, 1])])
    assert [event.track_id for event in events] == [1, 2, 1, 2, 3]


def test_faces_are_smoothed_apart() -> None:
    decisions = TrackDecisions(LABELS, CONFIG)
    for number in range(5):
        smooth, _ = decisions.update([seen(1, HAPPY), seen(2, SAD)], [], number / 10)
    assert [decision.label for decision in smooth] == ["happy", "sad"]
