"""A worker: does trials of the search until all have ended, whoever does them."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field

from optuna.exceptions import UpdateFinishedTrialError
from optuna.study import Study
from optuna.trial import Trial, TrialState

from edge_runtime.errors import RunError
from train.search.attempt import THREADS, AttemptEnding, TrialAttempt
from train.search.cost import Costs
from train.search.heartbeat import Watch, beating
from train.search.slots import (
    GIVEN_BACK,
    SLOT,
    SUPERFLUOUS,
    Slot,
    is_superfluous,
    slot_number,
    slots_of,
    to_reopen,
)
from train.search.study import Plan, require_same
from train.search.worker_config import WorkerConfig

MAX_REFUSED = 500  # in a row
LONGEST_WAIT_S = 5.0


@dataclass
class Worker:
    """Does trials, one after the other.

    Attributes:
        study: The study.
        plan: What it asks.
        count: Number of trials.
        costs: Measures networks.
        config: Its configuration.
        log: Called with a line about each trial.
        done: Numbers of the slots that this worker ended.
    """

    study: Study
    plan: Plan
    count: int
    costs: Costs
    config: WorkerConfig
    log: Callable[[str], None]
    done: list[int] = field(default_factory=list)

    def __post_init__(self) -> None:
        """Begins to watch the others."""
        self._watch = Watch(self.config.take_over_s)
        self._refused = 0
        self._waits = False
        self._started = time.monotonic()

    def work(self) -> None:
        """Returns when all trials of the search have ended, or the time has.

        Raises:
            FerEdgeError: Trainings do not work here, or the storage refuses. The trial
                at hand is given back.
        """
        while self._step():
            spent_s = time.monotonic() - self._started
            if self.config.max_time_s and spent_s > self.config.max_time_s:
                self.log(f"--max-time: no trial is begun after {spent_s:.0f} s")
                return

    def _step(self) -> bool:
        """Does what is next; returns whether anything may be left."""
        trials = self.study.get_trials(deepcopy=False)
        for trial in self._watch.silent(trials):
            self.log(f"trial {slot_number(trial)}: its worker is silent, taking it up")
            self._tell(trial.number, TrialState.FAIL)
            trials = self.study.get_trials(deepcopy=False)
        slots = slots_of(trials)[: self.count]
        lost = to_reopen(slots)
        for slot in lost:
            self._reopen(slot)
        waiting = any(trial.state == TrialState.WAITING for trial in trials)
        if len(slots) < self.count or lost or waiting:
            self._waits = False
            self._attempt()
            return True
        if all(slot.ended for slot in slots):
            return False
        self._wait(sum(not slot.ended for slot in slots))
        return True

    def _wait(self, running: int) -> None:
        if not self._waits:
            self.log(f"waiting for {running} of other workers (Ctrl-C ends this one)")
        self._waits = True
        time.sleep(min(LONGEST_WAIT_S, self.config.take_over_s / 6))

    def _reopen(self, slot: Slot) -> None:
        first = slot.attempts[0]
        attributes = {SLOT: slot.number}
        if THREADS in first.user_attrs:
            attributes[THREADS] = first.user_attrs[THREADS]
        self.study.enqueue_trial(first.params, user_attrs=attributes)

    def _attempt(self) -> None:
        """Does one trial, or finds that another worker does it."""
        require_same(self.study, self.plan)
        trial = self.study.ask()
        trials = self.study.get_trials(deepcopy=False)
        frozen = next(one for one in trials if one.number == trial.number)
        if is_superfluous(frozen, trials, self.count):
            with suppress(UpdateFinishedTrialError):
                trial.set_user_attr(SUPERFLUOUS, True)
            self._tell(trial.number, TrialState.FAIL)
            return
        number = slot_number(frozen)
        attempt = TrialAttempt(
            trial, number, self.plan, self.costs, self.config, self.log
        )
        try:
            with beating(trial, self.config.take_over_s) as taken:
                ending = attempt.make(taken)
        except BaseException as error:
            self._give_back(trial, asked=isinstance(error, KeyboardInterrupt))
            raise
        self._follow(ending, number)

    def _give_back(self, trial: Trial, *, asked: bool) -> None:
        """Lets others, or this command the next time, take a trial up at once."""
        try:
            if asked:
                trial.set_user_attr(GIVEN_BACK, True)
            self._tell(trial.number, TrialState.FAIL)
        except Exception as error:  # of whatever the storage is; there is another error
            self.log(f"the trial cannot be given back ({type(error).__name__})")

    def _follow(self, ending: AttemptEnding, number: int) -> None:
        """Counts what an attempt was."""
        self._refused += 1
        if ending is not AttemptEnding.REFUSED:
            self._refused = 0
        if self._refused >= MAX_REFUSED:
            raise RunError(
                f"{MAX_REFUSED} networks in a row were above the limits: narrow the"
                " search with --arch, --width, --depth and --size"
            )
        if ending is AttemptEnding.ENDED:
            self.done.append(number)
            slots = slots_of(self.study.get_trials(deepcopy=False))[: self.count]
            ended = sum(slot.ended for slot in slots)
            self.log(f"{ended} of {self.count} trials have ended")

    def _tell(self, number: int, state: TrialState) -> None:
        with suppress(UpdateFinishedTrialError):  # by another worker, just now
            self.study.tell(number, state=state, skip_if_finished=True)
