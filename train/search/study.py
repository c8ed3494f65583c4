"""The study in the storage: the same question for every worker, or none."""

from __future__ import annotations

import json
import time
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import optuna
from optuna.distributions import BaseDistribution
from optuna.exceptions import DuplicatedStudyError
from optuna.pruners import BasePruner, MedianPruner, NopPruner
from optuna.samplers import BaseSampler, TPESampler
from optuna.storages import BaseStorage
from optuna.study import Study, StudyDirection
from optuna.trial import FrozenTrial, TrialState

from edge_runtime.errors import RunError
from edge_runtime.untrusted import read_json
from edge_runtime.utils.files import write_text
from edge_runtime.version import VERSION
from train.search.slots import REFUSED
from train.search.space import Space

PLAN, IDENTITY = "plan", "identity"
RANDOM_TRIALS = 10  # as TPE has by default, but of those that were trained
STAMP = "search.json"
PLAN_S = 10.0
MAX_STAMP_BYTES = 4096
PRUNING_STARTS_AFTER = 5  # trials; and a third of the epochs


@dataclass(frozen=True)
class Plan:
    """The settings of a search; equal for all of its workers.

    Attributes:
        fingerprint: Of the images.
        objectives: ``"accuracy"``, then a cost or nothing.
        limits: Largest values of costs by name.
        space: What may be proposed.
        flags: Flags that go to every training.
        pruning: Whether bad trials end early.
        seed: Of the proposals.
        board: Whose latency it is, with the beginning of its record's SHA-256; empty:
            each worker's own machine.
        version: Of this project.
    """

    fingerprint: str
    objectives: tuple[str, ...]
    limits: Mapping[str, float]
    space: Space
    flags: tuple[str, ...]
    pruning: bool
    seed: int
    board: str = ""
    version: str = VERSION

    @property
    def costs(self) -> tuple[str, ...]:
        """The costs that are measured."""
        return (*self.objectives[1:], *self.limits)

    def to_document(self) -> dict[str, Any]:
        """Returns the plan, JSON-ready."""
        document: dict[str, Any] = json.loads(json.dumps(asdict(self)))
        return document


class Proposals(BaseSampler):
    """TPE, seeded by the number of the trial: two workers never propose alike.

    The first ten networks within the limits are random. After Watanabe,
    "Tree-structured Parzen estimator" (2023), as Optuna implements it, with constraints
    and several objectives.
    """

    def __init__(self, seed: int) -> None:
        """Takes the seed of the search."""
        self._seed = seed
        self._tpe = TPESampler(seed=seed)

    def before_trial(self, study: Study, trial: FrozenTrial) -> None:
        """Begins the random numbers of a trial."""
        trials = study.get_trials(deepcopy=False)
        refused = sum(REFUSED in each.user_attrs for each in trials)
        self._tpe = TPESampler(
            n_startup_trials=RANDOM_TRIALS + refused,
            seed=(self._seed * 1_000_003 + trial.number) % 2**32,
        )
        self._tpe.before_trial(study, trial)

    def infer_relative_search_space(
        self, study: Study, trial: FrozenTrial
    ) -> dict[str, BaseDistribution]:
        """Returns what is proposed together."""
        return self._tpe.infer_relative_search_space(study, trial)

    def sample_relative(
        self,
        study: Study,
        trial: FrozenTrial,
        search_space: dict[str, BaseDistribution],
    ) -> dict[str, Any]:
        """Returns values that are proposed together."""
        return self._tpe.sample_relative(study, trial, search_space)

    def sample_independent(
        self,
        study: Study,
        trial: FrozenTrial,
        param_name: str,
        param_distribution: BaseDistribution,
    ) -> Any:
        """Returns one value."""
        return self._tpe.sample_independent(
            study, trial, param_name, param_distribution
        )

    def after_trial(
        self,
        study: Study,
        trial: FrozenTrial,
        state: TrialState,
        values: Sequence[float] | None,
    ) -> None:
        """Lets TPE see the end of a trial."""
        self._tpe.after_trial(study, trial, state, values)


def open_study(storage: BaseStorage, name: str, plan: Plan) -> Study:
    """Returns the study of this name, new or as other workers began it.

    Raises:
        RunError: It asks something else.
    """
    settings: dict[str, Any] = {
        "storage": storage,
        "study_name": name,
        "sampler": Proposals(plan.seed),
        "pruner": _pruner(plan),
    }
    cost = StudyDirection.MINIMIZE
    directions = [StudyDirection.MAXIMIZE, *(cost for _ in plan.objectives[1:])]
    try:
        study = optuna.create_study(directions=directions, **settings)
    except DuplicatedStudyError:
        study = optuna.load_study(**settings)
        _wait_for_plan(study)
    if PLAN not in study.user_attrs and not study.get_trials(deepcopy=False):
        study.set_user_attr(IDENTITY, uuid.uuid4().hex)
        study.set_user_attr(PLAN, plan.to_document())
    require_same(study, plan)
    return study


def _wait_for_plan(study: Study) -> None:
    """Waits for what the worker writes that made the study, unless it was killed."""
    end = time.monotonic() + PLAN_S
    while PLAN not in study.user_attrs and time.monotonic() < end:
        if study.get_trials(deepcopy=False):
            return
        time.sleep(0.1)


def _pruner(plan: Plan) -> BasePruner:
    if not plan.pruning or len(plan.objectives) > 1:
        return NopPruner()
    epochs = plan.space.epochs
    return MedianPruner(PRUNING_STARTS_AFTER, n_warmup_steps=max(1, epochs // 3))


def require_same(study: Study, plan: Plan) -> None:
    """Raises RunError unless a study has the settings of this worker."""
    theirs, ours = study.user_attrs.get(PLAN), plan.to_document()
    if not isinstance(theirs, dict):
        raise RunError(
            f"{study.study_name} in the storage is not a search of this project"
        )
    differing = [name for name in ours if theirs.get(name) != ours[name]]
    if not differing:
        return
    name = study.study_name
    if "fingerprint" in differing:
        raise RunError(
            f"the search {name} is of other images than those in --data: give it"
            " another --name"
        )
    what = differing[0]
    before, now = theirs.get(what), ours[what]
    if what == "space" and isinstance(before, dict):
        what = next(key for key in now if before.get(key) != now[key])
        before, now = before.get(what), now[what]
    raise RunError(
        f"the search {name} was begun with {what} {json.dumps(before)}, got"
        f" {json.dumps(now)}: give the same flags, or another --name"
    )


def _read_identity(stamp: Path) -> object:
    try:
        document = read_json(stamp, MAX_STAMP_BYTES)
    except (OSError, ValueError):
        return None
    return document.get(IDENTITY) if isinstance(document, dict) else None


def require_own_folder(folder: Path, study: Study) -> None:
    """Marks the folder of a search.

    Raises:
        RunError: It is of another search, as after the storage was emptied.
    """
    stamp = folder / STAMP
    identity = study.user_attrs.get(IDENTITY)
    if stamp.exists() and _read_identity(stamp) != identity:
        raise RunError(
            f"{folder} has the runs of another search of this name: choose another"
            " --name, or remove the folder"
        )
    write_text(stamp, json.dumps({IDENTITY: identity}) + "\n")
