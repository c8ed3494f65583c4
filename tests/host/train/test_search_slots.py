"""Which trials are left to do, from what the storage says, after any worker's end."""

from __future__ import annotations

import pytest
from optuna.distributions import FloatDistribution
from optuna.trial import FrozenTrial, TrialState, create_trial

from train.search.heartbeat import BEAT, Watch
from train.search.slots import (
    ERROR,
    EXPORTS,
    GIVEN_BACK,
    MAX_ATTEMPTS,
    REFUSED,
    SLOT,
    SUPERFLUOUS,
    is_superfluous,
    last_to_end,
    slots_of,
    to_reopen,
)

RUNNING, WAITING = TrialState.RUNNING, TrialState.WAITING
COMPLETE, PRUNED, FAIL = TrialState.COMPLETE, TrialState.PRUNED, TrialState.FAIL


def trials(*each: tuple[TrialState, dict[str, object]]) -> list[FrozenTrial]:
    made = []
    for number, (state, attributes) in enumerate(each):
        trial = create_trial(
            state=state,
            value=0.5 if state == COMPLETE else None,
            params={"width": 1.0},
            distributions={"width": FloatDistribution(0.0, 2.0)},
            user_attrs=attributes,
        )
        trial.number = number
        made.append(trial)
    return made


def numbers(slots):
    return [slot.number for slot in slots]


def test_a_lost_trial_is_taken_up_and_a_failed_one_is_not():
    found = trials((COMPLETE, {}), (FAIL, {}), (FAIL, {ERROR: "diverged"}))
    assert numbers(to_reopen(slots_of(found))) == [1]


def test_a_trial_that_was_taken_up_is_not_taken_up_again():
    for state in (WAITING, RUNNING, COMPLETE, PRUNED):
        found = trials((FAIL, {}), (state, {SLOT: 0}))
        assert to_reopen(slots_of(found)) == []
        assert numbers(slots_of(found)) == [0]


def test_a_trial_is_given_up_after_three_workers_ended_with_it():
    lost = trials((FAIL, {}), *((FAIL, {SLOT: 0}) for _ in range(MAX_ATTEMPTS - 1)))
    slot = slots_of(lost)[0]
    assert slot.given_up
    assert slot.ended
    assert to_reopen([slot]) == []


def test_ctrl_c_does_not_count_as_an_attempt():
    lost = trials(*((FAIL, {SLOT: 0, GIVEN_BACK: True}) for _ in range(9)))
    assert numbers(to_reopen(slots_of(lost))) == [0]


def test_refused_networks_and_superfluous_attempts_are_no_trials():
    found = trials((PRUNED, {REFUSED: "9 MMACs"}), (FAIL, {SUPERFLUOUS: True}))
    assert slots_of(found) == []


def test_a_lost_trial_that_is_then_above_a_limit_is_not_taken_up_for_ever():
    found = trials(
        (FAIL, {}), (PRUNED, {SLOT: 0, REFUSED: "5.1 ms"}), (RUNNING, {SLOT: 0})
    )
    assert slots_of(found) == []
    assert is_superfluous(found[2], found, 9)


def test_of_two_attempts_at_once_the_later_one_is_superfluous():
    found = trials((FAIL, {}), (RUNNING, {SLOT: 0}), (RUNNING, {SLOT: 0}))
    assert not is_superfluous(found[1], found, 9)
    assert is_superfluous(found[2], found, 9)


def test_a_new_trial_beyond_the_number_of_trials_is_superfluous():
    found = trials((RUNNING, {}), (RUNNING, {}), (RUNNING, {}))
    assert [is_superfluous(each, found, 2) for each in found] == [False, False, True]


def test_a_refused_network_makes_room_for_another_trial():
    found = trials((PRUNED, {REFUSED: "9 MMACs"}), (RUNNING, {}), (RUNNING, {}))
    assert not is_superfluous(found[2], found, 2)


def test_the_attempt_with_a_result_counts():
    found = trials((FAIL, {}), (COMPLETE, {SLOT: 0}), (FAIL, {SLOT: 0}))
    assert slots_of(found)[0].last.number == 1


@pytest.mark.parametrize(
    ("others", "last"),
    [
        ([(COMPLETE, {}), (RUNNING, {})], 0),
        ([(FAIL, {EXPORTS: True}), (WAITING, {SLOT: 1})], 0),
        ([(COMPLETE, {EXPORTS: True}), (COMPLETE, {EXPORTS: False})], 1),
        ([(RUNNING, {EXPORTS: True}), (PRUNED, {EXPORTS: True})], 1),
    ],
    ids=["without --export", "lost", "with --export", "still runs"],
)
def test_of_the_workers_that_export_the_last_one_does(others, last):
    found = trials((COMPLETE, {EXPORTS: True}), *others)
    assert last_to_end(slots_of(found)) == last


def test_where_no_worker_exports_none_is_the_last():
    assert last_to_end(slots_of(trials((COMPLETE, {})))) is None


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.mark.parametrize("beats", [False, True], ids=["never beat", "had beaten"])
def test_a_worker_is_silent_when_its_count_stands_still(beats):
    clock = Clock()
    watch = Watch(60.0, clock)
    attributes = {BEAT: 7} if beats else {}
    (trial,) = trials((RUNNING, attributes))
    assert watch.silent([trial]) == []
    clock.now = 59.0
    assert watch.silent([trial]) == []
    clock.now = 61.0
    assert watch.silent([trial]) == [trial]


def test_a_worker_that_counts_is_never_silent():
    clock = Clock()
    watch = Watch(60.0, clock)
    for beat in range(9):
        clock.now += 50.0
        assert watch.silent(trials((RUNNING, {BEAT: beat}))) == []


def test_time_is_counted_from_the_first_look():
    clock = Clock()
    clock.now = 1e6
    assert Watch(60.0, clock).silent(trials((RUNNING, {}))) == []
