"""Which trials there are to do: each once, and again where its worker was lost.

A study of N trials has N slots. A slot is one proposal, with an attempt for each
worker that began it; attempts are Optuna's trials. All workers see the same list of
attempts in the same order, so each can tell by itself what is left, and of two attempts
made at once the later one is superfluous.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime

from optuna.trial import FrozenTrial, TrialState

SLOT = "slot"  # number of the slot, with attempts after the first
REFUSED = "refused"  # why a proposal was not trained: it is not a slot
SUPERFLUOUS = "superfluous"  # another attempt did the same
GIVEN_BACK = "given back"  # its worker was asked to end
EXPORTS = "exports"  # its worker exports the winner, if it is the last
ERROR = "error"  # why a training failed: it is not tried again
MAX_ATTEMPTS = 3


@dataclass(frozen=True)
class Slot:
    """One trial of the search.

    Attributes:
        number: Its number: that of its first attempt.
        attempts: In order of their numbers.
    """

    number: int
    attempts: tuple[FrozenTrial, ...]

    @property
    def last(self) -> FrozenTrial:
        """The attempt that counts: with a result, else the newest."""
        for attempt in self.attempts:
            if _has_result(attempt):
                return attempt
        return self.attempts[-1]

    @property
    def lost(self) -> bool:
        """Whether every attempt so far ended with its worker."""
        return all(map(is_lost, self.attempts))

    @property
    def given_up(self) -> bool:
        """Whether it was lost too often to be tried again."""
        taken = [one for one in self.attempts if GIVEN_BACK not in one.user_attrs]
        return self.lost and len(taken) >= MAX_ATTEMPTS

    @property
    def ended(self) -> bool:
        """Whether nothing is left to do."""
        return _has_result(self.last) or self.given_up


def _has_result(attempt: FrozenTrial) -> bool:
    return attempt.state in (TrialState.COMPLETE, TrialState.PRUNED) or (
        attempt.state == TrialState.FAIL and ERROR in attempt.user_attrs
    )


def is_lost(attempt: FrozenTrial) -> bool:
    """Returns whether an attempt ended without a result, because its worker did."""
    return attempt.state == TrialState.FAIL and ERROR not in attempt.user_attrs


def slot_number(attempt: FrozenTrial) -> int:
    """Returns the number of the slot that an attempt is for."""
    return int(attempt.user_attrs.get(SLOT, attempt.number))


def slots_of(trials: Iterable[FrozenTrial]) -> list[Slot]:
    """Returns the slots in order.

    A proposal that was refused is none, also where an attempt before ended with its
    worker: it was not measured yet, or just below the limit.
    """
    attempts: dict[int, list[FrozenTrial]] = {}
    refused: set[int] = set()
    for trial in sorted(trials, key=lambda trial: trial.number):
        if REFUSED in trial.user_attrs:
            refused.add(slot_number(trial))
        elif SUPERFLUOUS not in trial.user_attrs:
            attempts.setdefault(slot_number(trial), []).append(trial)
    numbers = sorted(attempts.keys() - refused)
    return [Slot(number, tuple(attempts[number])) for number in numbers]


def is_superfluous(
    attempt: FrozenTrial, trials: Iterable[FrozenTrial], count: int
) -> bool:
    """Returns whether a running attempt is one too many.

    Args:
        attempt: The attempt.
        trials: All trials of the study; those with lower numbers are complete.
        count: Number of trials of the search.
    """
    earlier = slots_of(trial for trial in trials if trial.number < attempt.number)
    for rank, slot in enumerate(earlier):
        if slot.number == slot_number(attempt):
            return rank >= count or not slot.lost
    return SLOT in attempt.user_attrs or len(earlier) >= count  # its slot was refused


def to_reopen(slots: Sequence[Slot]) -> list[Slot]:
    """Returns the slots that another worker has to take up."""
    return [slot for slot in slots if slot.lost and not slot.given_up]


def last_to_end(slots: Iterable[Slot]) -> int | None:
    """Returns the last trial of a worker that exports; one that still runs is later."""
    found = [
        (slot.last.datetime_complete or datetime.max, slot.number)
        for slot in slots
        if slot.last.user_attrs.get(EXPORTS) and not slot.lost
    ]
    return max(found)[1] if found else None
