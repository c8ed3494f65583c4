"""The results of a search: every trial, the winner, the front."""

from __future__ import annotations

import platform
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import optuna
from optuna.trial import FrozenTrial, TrialState

from edge_runtime.hardware.board import read_cpu
from edge_runtime.utils.argparser import invocation
from edge_runtime.utils.text_table import align
from train.search.attempt import RESULT, THREADS
from train.search.slots import ERROR, Slot, slots_of
from train.search.space import Candidate
from train.search.study import Plan
from train.search.worker_config import run_name

SCHEMA = "fer-edge/search/1"
LAST_PROPOSED = "learning_rate"
ROWS = 15  # of the table
NAMES = {
    TrialState.COMPLETE: "finished",
    TrialState.PRUNED: "pruned",
    TrialState.FAIL: "failed",
    TrialState.RUNNING: "running",
    TrialState.WAITING: "waiting",
}


@dataclass(frozen=True)
class TrialResult:
    """One trial of a search.

    Attributes:
        number: Its number, that of its run folder.
        state: finished, pruned, failed, running or waiting.
        candidate: What it trained.
        figures: Accuracy, costs, epochs, seconds; empty without a result.
        attempts: Workers that began it.
        error: Why it failed.
        threads: CPU threads that it was trained with.
        params: Its values, for the study.
    """

    number: int
    state: str
    candidate: Candidate
    figures: Mapping[str, Any]
    attempts: int
    error: str
    threads: int
    params: Mapping[str, Any]

    def is_within(self, plan: Plan) -> bool:
        """Returns whether it finished, at costs within the limits."""
        return self.state == "finished" and all(
            self.figures[name] <= limit for name, limit in plan.limits.items()
        )


def read_trials(
    study_trials: Sequence[FrozenTrial], plan: Plan, count: int
) -> list[TrialResult]:
    """Returns the trials of a study in order.

    Args:
        study_trials: All attempts.
        plan: What the study asks.
        count: Number of trials that were asked for; more may have ended before.
    """
    slots = enumerate(slots_of(study_trials))
    found = [slot for rank, slot in slots if rank < count or slot.ended]
    # A worker that was killed while it proposed has left some of the values.
    return [_read(slot, plan) for slot in found if LAST_PROPOSED in slot.last.params]


def _read(slot: Slot, plan: Plan) -> TrialResult:
    last = slot.last
    error = str(last.user_attrs.get(ERROR, ""))
    if slot.given_up:
        error = f"given up: {len(slot.attempts)} workers ended with it"
    return TrialResult(
        slot.number,
        NAMES[last.state],
        plan.space.propose(optuna.trial.FixedTrial(last.params)),
        last.user_attrs.get(RESULT, {}),
        len(slot.attempts),
        error,
        int(last.user_attrs.get(THREADS, 1)),
        last.params,
    )


def find_winner(trials: Sequence[TrialResult], plan: Plan) -> TrialResult | None:
    """Returns the most accurate trial within the limits; of equals the cheaper one."""
    within = [trial for trial in trials if trial.is_within(plan)]
    return min(within, key=_rank, default=None)


def _rank(trial: TrialResult) -> tuple[float, float, int]:
    figures = trial.figures
    return -figures["accuracy"], figures["macs"], trial.number


def find_front(trials: Sequence[TrialResult], plan: Plan) -> list[TrialResult]:
    """Returns the trials that no other beats in accuracy and cost, cheapest first."""
    cost = front_cost(plan)
    within = [trial for trial in trials if trial.is_within(plan)]
    front: list[TrialResult] = []
    for trial in sorted(within, key=lambda one: (one.figures[cost], *_rank(one))):
        if not front or trial.figures["accuracy"] > front[-1].figures["accuracy"]:
            front.append(trial)
    return front


def front_cost(plan: Plan) -> str:
    """Returns the cost that accuracy is compared with: that of objective or limit."""
    return (*plan.costs, "macs")[0]


def results_table(trials: Sequence[TrialResult], plan: Plan) -> str:
    """Returns the best trials as a table; with two objectives the front."""
    measured = ["macs", *dict.fromkeys(c for c in plan.costs if c != "macs")]
    titles = {"macs": "MMACs", "latency": "ms", "bytes": "kB"}
    head = ["trial", "network", "recipe", "accuracy"]
    head += [titles[cost] for cost in measured]
    head += ["augmentation", "learning rate"]
    chosen = sorted((t for t in trials if t.is_within(plan)), key=_rank)
    if len(plan.objectives) > 1:
        chosen = find_front(trials, plan)[::-1]
    rows = [
        [
            run_name(trial.number),
            str(trial.candidate.network),
            trial.candidate.recipe,
            f"{trial.figures['accuracy']:.2%}",
            *(_cell(cost, trial.figures[cost]) for cost in measured),
            f"{trial.candidate.augmentation:g}",
            f"{trial.candidate.learning_rate:g}",
        ]
        for trial in chosen[:ROWS]
    ]
    return align([head, *rows], left=3)


def _cell(cost: str, value: float) -> str:
    scales = {"macs": 1e6, "latency": 1.0, "bytes": 1e3}
    return f"{value / scales[cost]:.3g}"


def summary(trials: Sequence[TrialResult], refused: int) -> str:
    """Returns how many trials ended how, in one line."""
    counts = {name: sum(t.state == name for t in trials) for name in NAMES.values()}
    words = [f"{count} {name}" for name, count in counts.items() if count]
    more = f"; {refused} networks above the limits were not trained" if refused else ""
    noun = "trial" if len(trials) == 1 else "trials"
    return f"{len(trials)} {noun}: {', '.join(words)}{more}"


def train_command(data: str, flags: Sequence[str], threads: int) -> str:
    """Returns the command that trains with these flags."""
    words = ["--data", data, *flags, "--threads", str(threads)]
    return f"{invocation('train')} {shlex.join(words)}"


def to_document(
    trials: Sequence[TrialResult], plan: Plan, refused: int
) -> dict[str, Any]:
    """Returns the search, JSON-ready: no path, host name or user name.

    Args:
        trials: All trials.
        plan: What the search asked.
        refused: Number of proposals above the limits.
    """
    winner = find_winner(trials, plan)
    asked = plan.to_document()
    return {
        "schema": SCHEMA,
        **{name: asked[name] for name in ("fingerprint", "objectives", "limits")},
        **{name: asked[name] for name in ("space", "pruning", "seed", "version")},
        "board": plan.board,
        "flags": [word.rsplit("/", 1)[-1] for word in plan.flags],
        "machine": {"cpu": read_cpu().name, "architecture": platform.machine()},
        "optuna": optuna.__version__,
        "refused": refused,
        "winner": winner.number if winner else None,
        "front": [trial.number for trial in find_front(trials, plan)],
        "trials": [_trial_document(trial) for trial in trials],
    }


def _trial_document(trial: TrialResult) -> dict[str, Any]:
    return {
        "trial": trial.number,
        "state": trial.state,
        "flags": trial.candidate.flags(),
        "parameters": dict(trial.params),
        "figures": dict(trial.figures) or None,
        "threads": trial.threads,
        "attempts": trial.attempts,
        "error": trial.error or None,
    }
