"""What a quantity says of its blocks, and when it is drift."""

from __future__ import annotations

import numpy as np
import pytest

from edge_runtime.drift import quantities
from edge_runtime.drift.psi import BLOCKS, BOUND, Steadiness, psi, smoothed
from edge_runtime.drift.quantities import (
    ANSWERS_BLOCK,
    ANSWERS_LEARNT,
    RANGE_BLOCK,
    RANGE_LEARNT,
    Answers,
    UsualRange,
)


def filled(values: list[float], **more: object) -> UsualRange:
    """A range that learnt values from 40 to 60, and then had these."""
    one = UsualRange("size", **more)  # type: ignore[arg-type]
    for value in np.linspace(40, 60, RANGE_LEARNT):
        one.add(float(value))
    for value in values:
        one.add(value)
    return one


def test_index_is_zero_for_the_shares_of_the_reference() -> None:
    assert psi(smoothed([30, 50, 20]), [30, 50, 20]) == pytest.approx(0)


def test_index_is_the_sum_of_its_definition() -> None:
    found = np.array([90.5, 10.5]) / 101
    expected = (found[0] - 0.5) * np.log(found[0] / 0.5)
    expected += (found[1] - 0.5) * np.log(found[1] / 0.5)
    assert psi([0.5, 0.5], [90, 10]) == pytest.approx(expected)


def test_index_of_samples_of_one_population_is_below_the_bound() -> None:
    rng = np.random.default_rng(1)
    shares = np.array([0.4, 0.3, 0.2, 0.05, 0.05])
    indices = [psi(shares, rng.multinomial(600, shares)) for _ in range(500)]
    assert max(indices) < BOUND / 4


@pytest.mark.parametrize(("outside", "beyond"), [(1, False), (2, True)])
def test_bound_of_a_range_lies_between_one_and_two_values_outside(
    outside: int, beyond: bool
) -> None:
    values = [50.0] * (RANGE_BLOCK - outside) + [500.0] * outside
    one = filled(values)
    index = one.reading.psi
    assert index is not None
    assert (index > BOUND) is beyond


def test_range_is_drift_after_three_blocks_outside_and_no_earlier() -> None:
    blocks = [5.0] * RANGE_BLOCK
    assert not filled(blocks * (BLOCKS - 1)).reading.drifting
    reading = filled(blocks * BLOCKS).reading
    assert (reading.drifting, reading.direction) == (True, "lower")
    assert filled([500.0] * RANGE_BLOCK * BLOCKS).reading.direction == "higher"


def test_drift_ends_after_three_blocks_inside_and_no_earlier() -> None:
    blocks = [5.0] * RANGE_BLOCK * BLOCKS
    back = [50.0] * RANGE_BLOCK
    assert filled(blocks + back * (BLOCKS - 1)).reading.drifting
    assert not filled(blocks + back * BLOCKS).reading.drifting


def test_direction_stays_while_drift_lasts() -> None:
    blocks = [500.0] * RANGE_BLOCK * BLOCKS
    reading = filled(blocks + [50.0] * RANGE_BLOCK).reading
    assert (reading.drifting, reading.direction) == (True, "higher")


def test_a_passer_by_is_no_drift() -> None:
    state = Steadiness()
    for beyond in [False, True, True, False] * 9:
        state.add(beyond)
        assert not state.drifting


def test_range_of_its_own_is_from_half_to_twice_the_usual_values() -> None:
    assert not filled([21.0, 119.0] * 60).reading.drifting
    assert filled([19.0] * 60).reading.drifting
    assert filled([121.0] * 60).reading.drifting


def test_more_than_the_range_is_no_drift_where_only_less_counts() -> None:
    assert not filled([900.0] * 60, lower_only=True).reading.drifting


def test_range_of_the_model_file_counts_from_the_first_value() -> None:
    one = UsualRange("brightness", ends=(30.0, 200.0))
    for _ in range(RANGE_BLOCK * BLOCKS):
        one.add(12.0)
    assert one.reading.against == "model file"
    assert one.reading.drifting


def answers_of(blocks: list[list[int]]) -> Answers:
    """Answers with so many of each bin in each block, in a random order."""
    one = Answers("labels", len(blocks[0]))
    rng = np.random.default_rng(2)
    for counts in blocks:
        for at in rng.permutation(np.repeat(np.arange(len(counts)), counts)):
            one.add(int(at))
    return one


EVEN = [ANSWERS_BLOCK // 2, ANSWERS_BLOCK // 2]
ONE_SIDED = [ANSWERS_BLOCK, 0]


def test_other_labels_are_drift_after_three_blocks() -> None:
    learnt = [EVEN] * ANSWERS_LEARNT
    assert not answers_of(learnt + [ONE_SIDED] * 2).reading.drifting
    assert answers_of(learnt + [ONE_SIDED] * 3).reading.drifting
    assert not answers_of(learnt + [ONE_SIDED] * 3 + [EVEN] * 3).reading.drifting


def test_one_cheerful_person_all_day_is_no_drift() -> None:
    reading = answers_of([ONE_SIDED] * 100).reading
    assert not reading.drifting
    assert reading.psi == pytest.approx(0, abs=0.01)


def test_labels_that_came_and_went_at_first_may_do_so_later() -> None:
    turns = [ONE_SIDED, ONE_SIDED[::-1]]
    learnt = answers_of(turns * (ANSWERS_LEARNT // 2) + turns * 20)
    assert learnt.reading.bound > BOUND
    assert not learnt.reading.drifting


def test_memory_does_not_grow_with_the_values() -> None:
    one = filled([50.0] * 10_000)
    assert not one._learnt
    assert quantities.RANGE_LEARNT < 1000
