"""The end of a search: table, picture, JSON, and the winner."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from threading import Event

from optuna.trial import FrozenTrial

from edge_runtime.errors import GateError, RunError
from edge_runtime.utils.argparser import invocation
from edge_runtime.utils.files import write_text
from train.search.command import run_export
from train.search.pictures import plot_search
from train.search.results import (
    TrialResult,
    find_winner,
    read_trials,
    results_table,
    summary,
    to_document,
    train_command,
)
from train.search.slots import REFUSED, last_to_end, slots_of
from train.search.training import TrainingFailedError
from train.search.worker import Worker
from train.search.worker_config import run_name

PICTURE = "search.png"


def conclude(worker: Worker, json_file: Path | None) -> None:
    """Prints and writes the results; trains and exports the winner, if asked to.

    Args:
        worker: A worker that has nothing left to do.
        json_file: File for all trials, or None.

    Raises:
        GateError: No trial finished within the limits.
        RunError: The winner cannot be trained or exported.
    """
    study, plan = worker.study, worker.plan
    attempts = study.get_trials(deepcopy=False)
    trials = read_trials(attempts, plan, worker.count)
    refused = sum(REFUSED in attempt.user_attrs for attempt in attempts)
    print(f"\n{summary(trials, refused)}")
    if json_file:
        document = to_document(trials, plan, refused)
        write_text(json_file, json.dumps(document, indent=1) + "\n")
    winner = find_winner(trials, plan)
    if winner is None:
        failed = [trial for trial in trials if trial.error]
        why = f": trial {failed[0].number}: {failed[0].error}" if failed else ""
        raise GateError(f"no trial finished within the limits{why}")
    print(results_table(trials, plan))
    picture = worker.config.folder / PICTURE
    plot_search(study, trials, plan, picture)
    print(f"picture:  {picture}")
    _print_commands(worker, winner)
    if worker.config.exports:
        _finish(worker, winner, attempts)


def _print_commands(worker: Worker, winner: TrialResult) -> None:
    config, plan = worker.config, worker.plan
    name, accuracy = run_name(winner.number), winner.figures["accuracy"]
    print(f"\nwinner:   {config.folder / name}, {accuracy:.2%}")
    again = [*winner.candidate.flags(), *plan.flags]
    whole = [*winner.candidate.flags(epochs=False), *plan.flags]
    print("the same run again, with the same accuracy:")
    print(f"  {train_command(config.data, again, winner.threads)}")
    print(f"with all epochs of recipe {winner.candidate.recipe}:")
    print(f"  {train_command(config.data, whole, winner.threads)}")
    print(f"next:     {invocation('export')} {config.folder / name} --int8")


def _finish(
    worker: Worker, winner: TrialResult, attempts: Sequence[FrozenTrial]
) -> None:
    """Trains the winner with all its epochs and exports it, in one of the workers."""
    last = last_to_end(slots_of(attempts)[: worker.count])
    if worker.done and last is not None and last not in worker.done:
        print(f"the worker of trial {last} trains and exports the winner")
        return
    name = f"winner-{winner.number:04d}"
    flags = [*winner.candidate.flags(epochs=False), *worker.plan.flags]
    training = worker.config.training(name, flags, winner.threads)
    print(f"training the winner: {training.log}", flush=True)
    try:
        training.run(_show, Event())
    except TrainingFailedError as error:
        raise RunError(f"{training.folder}: {error}") from error
    print(f"{training.folder}: {training.figures()['accuracy']:.2%}", flush=True)
    words = [str(training.folder), "--int8", "--force"]
    run_export(words, log=training.log, environment=training.environment)
    print(f"exported: artifacts/{name}/")


def _show(epoch: int, accuracy: float) -> bool:
    print(f"  epoch {epoch}: {accuracy:.2%}", flush=True)
    return False
