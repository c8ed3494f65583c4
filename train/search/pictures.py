"""The pictures of a search: accuracy against cost, and what mattered."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import optuna
from optuna.importance import PedAnovaImportanceEvaluator, get_param_importances
from optuna.trial import FrozenTrial, TrialState

from train.run.figure import new_figure, save_png
from train.search.results import TrialResult, find_front, find_winner, front_cost
from train.search.study import Plan

AXES = {
    "macs": ("million multiply-accumulates", 1e6),
    "latency": ("CPU time of one image, int8, one thread (ms)", 1.0),
    "bytes": ("int8 file (kB)", 1e3),
}
FEWEST_TRIALS = 8  # for importances


def plot_search(
    study: optuna.Study, trials: Sequence[TrialResult], plan: Plan, path: Path
) -> None:
    """Writes the picture of a search: the front, and beside it the importances.

    Args:
        study: With all attempts.
        trials: All trials.
        plan: What the search asked.
        path: A PNG.
    """
    importances = find_importances(study)
    columns = 2 if importances else 1
    figure, axes = new_figure((5.5 * columns, 4.2), columns=columns)
    _draw_front(axes[0], trials, plan)
    if importances:
        _draw_importances(axes[1], importances)
    figure.suptitle(study.study_name)
    save_png(figure, path)


def _draw_front(axes: Any, trials: Sequence[TrialResult], plan: Plan) -> None:
    from matplotlib.ticker import LogLocator

    cost = front_cost(plan)
    title, scale = AXES[cost]
    if cost == "latency" and plan.board:
        title = f"{title} on {plan.board.rsplit(' ', 1)[0]}"
    for state, colour in (("pruned", "#cccccc"), ("finished", "#4477aa")):
        shown = [t for t in trials if t.state == state and t.figures.get(cost)]
        if not shown:
            continue
        axes.scatter(*_points(shown, cost, scale), s=18, color=colour, label=state)
    front = find_front(trials, plan)
    axes.step(*_points(front, cost, scale), where="post", color="#222222", lw=1)
    if winner := find_winner(trials, plan):
        point = _points([winner], cost, scale)
        axes.scatter(*point, s=90, marker="*", color="#cc3311", label="winner")
    if cost in plan.limits:
        axes.axvline(plan.limits[cost] / scale, color="#cc3311", ls=":", label="limit")
    axes.set_xscale("log")
    for axis in ("major", "minor"):
        getattr(axes.xaxis, f"set_{axis}_formatter")(lambda value, _: f"{value:g}")
    axes.xaxis.set_minor_locator(LogLocator(subs=(2, 5)))
    axes.set_xlabel(title)
    axes.set_ylabel("validation accuracy (%)")
    axes.grid(alpha=0.3)
    axes.legend(fontsize="small")


def _points(
    trials: Sequence[TrialResult], cost: str, scale: float
) -> tuple[list[float], list[float]]:
    return (
        [trial.figures[cost] / scale for trial in trials],
        [100 * trial.figures["accuracy"] for trial in trials],
    )


def _draw_importances(axes: Any, importances: dict[str, float]) -> None:
    names = [name.replace("_", " ") for name in importances][::-1]
    axes.barh(names, list(importances.values())[::-1], color="#4477aa")
    axes.set_xlabel("share of the importance for accuracy")


def find_importances(study: optuna.Study) -> dict[str, float]:
    """Returns the share of each value in what made trials good; empty with too few.

    After Watanabe et al., "PED-ANOVA" (2023): what sets the better half apart. Values
    that not every trial has are left out.
    """
    finished = study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
    if len(finished) < FEWEST_TRIALS:
        return {}
    values: dict[str, set[Any]] = {}
    for trial in finished:
        for name, value in trial.params.items():
            values.setdefault(name, set()).add(value)
    searched = [name for name in values if len(values[name]) > 1]
    common = [name for name in searched if all(name in t.params for t in finished)]
    with warnings.catch_warnings():
        # It explains low values of the target, and says so.
        warnings.simplefilter("ignore", UserWarning)
        evaluator = PedAnovaImportanceEvaluator(target_quantile=0.5)
        importances = get_param_importances(
            study, evaluator=evaluator, params=common, target=_lack_of_accuracy
        )
    return importances if any(importances.values()) else {}


def _lack_of_accuracy(trial: FrozenTrial) -> float:
    return -float(trial.values[0])
