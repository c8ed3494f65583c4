"""One attempt at a trial: proposed, measured, trained, and told to the study."""

from __future__ import annotations

import shlex
import socket
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from enum import Enum
from pathlib import Path
from threading import Event
from typing import Any

from optuna.exceptions import UpdateFinishedTrialError
from optuna.trial import Trial, TrialState

from edge_runtime.utils.stderr import progress_counter
from train.run.lock import is_locked
from train.search.cost import Cost, Costs, describe
from train.search.slots import ERROR, EXPORTS, REFUSED
from train.search.space import Candidate
from train.search.study import Plan
from train.search.training import Ending, Training, TrainingFailedError
from train.search.worker_config import WorkerConfig, run_name

FLAGS, THREADS, RESULT, WORKER = "flags", "threads", "result", "worker"


class AttemptEnding(Enum):
    """How an attempt ended."""

    ENDED = "with a result"
    REFUSED = "above a limit, not trained"
    TAKEN = "another worker has the trial now"


@dataclass(frozen=True)
class TrialAttempt:
    """One attempt at a trial.

    Attributes:
        trial: Optuna's.
        number: Of the trial of the search, that of its run folder.
        plan: What the search asks.
        costs: Measures networks.
        config: The configuration of the worker.
        log: Called with a line about each step.
    """

    trial: Trial
    number: int
    plan: Plan
    costs: Costs
    config: WorkerConfig
    log: Callable[[str], None]

    def make(self, taken: Event) -> AttemptEnding:
        """Trains the proposal, records the result, and returns how it ended.

        Args:
            taken: Set when another worker has taken the trial.

        Raises:
            FerEdgeError: Trainings or exports do not work here.
        """
        try:
            ending = self._make(taken)
        except UpdateFinishedTrialError:
            ending = AttemptEnding.TAKEN
        if ending is AttemptEnding.TAKEN:
            self.log(f"trial {self.number} was taken up by another worker")
        return ending

    def _make(self, taken: Event) -> AttemptEnding:
        self.trial.set_user_attr(WORKER, socket.gethostname())
        self.trial.set_user_attr(EXPORTS, self.config.exports)
        candidate = self.plan.space.propose(self.trial)
        cost = self.costs.of(candidate.network)
        if self._refuse(candidate, cost):
            return AttemptEnding.REFUSED
        try:
            return self._train(candidate, cost, taken)
        except TrainingFailedError as error:
            self.trial.set_user_attr(ERROR, str(error))
            self._tell(TrialState.FAIL)
            self.log(f"trial {self.number}: failed: {error}")
            return AttemptEnding.ENDED

    def _refuse(self, candidate: Candidate, cost: Cost) -> bool:
        """Tells the study of a network above the limits; returns whether it is."""
        excess = cost.excess(self.plan.limits)
        above = [name for name in excess if excess[name] > 0]
        if above:
            costs = ", ".join(describe(name, getattr(cost, name)) for name in above)
            self._set_constraints(cost)
            self.trial.set_user_attr(REFUSED, f"{candidate.network}: {costs}")
            self._tell(TrialState.PRUNED)
        return bool(above)

    def _set_constraints(self, cost: Cost) -> None:
        for name, value in cost.excess(self.plan.limits).items():
            self.trial.set_constraint(name, value)

    def _train(self, candidate: Candidate, cost: Cost, taken: Event) -> AttemptEnding:
        training = self._prepare(candidate)
        start = time.perf_counter()
        ending = self._follow(training, candidate.epochs, taken)
        if ending is Ending.TAKEN:
            return AttemptEnding.TAKEN
        state, figures = TrialState.PRUNED, {**asdict(cost), **training.progress()}
        if ending is Ending.FINISHED:
            state, figures = TrialState.COMPLETE, {**figures, **training.figures()}
            figures |= self._trained_cost(training.folder, cost)
        figures["seconds"] = round(time.perf_counter() - start, 1)
        self.trial.set_user_attr(RESULT, figures)
        finished = state == TrialState.COMPLETE
        values = [figures[name] for name in self.plan.objectives] if finished else None
        self._tell(state, values)
        self.log(f"trial {self.number}: {describe_end(figures, pruned=not finished)}")
        return AttemptEnding.ENDED

    def _prepare(self, candidate: Candidate) -> Training:
        """Returns the training, with its flags recorded."""
        flags = [*candidate.flags(), *self.plan.flags]
        # The accuracy depends on the number: of a trial taken up it is the first one's.
        threads = int(self.trial.user_attrs.get(THREADS, self.config.threads))
        self.trial.set_user_attr(FLAGS, flags)
        self.trial.set_user_attr(THREADS, threads)
        self.log(f"trial {self.number}: python -m train ... {shlex.join(flags)}")
        return self.config.training(run_name(self.number), flags, threads)

    def _follow(self, training: Training, epochs: int, taken: Event) -> Ending:
        title = f"trial {self.number}"
        if is_locked(training.folder):
            self.log(
                f"{title}: waiting for the training of a worker that was stopped (end"
                " that worker, or let it go on)"
            )
        with progress_counter(epochs, title, unit="epoch") as advance:

            def prune(epoch: int, accuracy: float) -> bool:
                advance(1)
                return epoch < epochs and self._is_bad(epoch, accuracy)

            return training.run(prune, taken)

    def _is_bad(self, epoch: int, accuracy: float) -> bool:
        """Returns whether an epoch is below those of the other trials."""
        if len(self.plan.objectives) > 1:
            return False
        self.trial.report(accuracy, epoch)
        return self.trial.should_prune()

    def _trained_cost(self, run: Path, cost: Cost) -> dict[str, Any]:
        trained = self.costs.of_trained(run, cost)
        self._set_constraints(trained)
        return {name: getattr(trained, name) for name in ("latency", "bytes")}

    def _tell(self, state: TrialState, values: Sequence[float] | None = None) -> None:
        self.trial.study.tell(self.trial.number, values, state, skip_if_finished=True)


def describe_end(figures: dict[str, Any], *, pruned: bool) -> str:
    """Returns in words how a training ended."""
    costs = [
        describe(name, figures[name])
        for name in ("macs", "latency", "bytes")
        if figures.get(name) is not None
    ]
    when = f", ended after epoch {figures['epochs']}" if pruned else ""
    return f"{figures['accuracy']:.2%}{when}; {', '.join(costs)}"
