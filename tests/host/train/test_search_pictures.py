"""What mattered in a search, and the picture of it."""

import optuna
import pytest
from optuna.trial import FixedTrial

from train.search.pictures import find_importances, plot_search
from train.search.results import (
    TrialResult,
    find_front,
    find_winner,
    read_trials,
    results_table,
    to_document,
)
from train.search.space import Range, choose_space
from train.search.study import Plan

SPACE = choose_space(
    {"archs": ("fer_wide",), "depth": Range(1, 1)},
    size_px=48,
    colour="grey",
    images=28_000,
    weights=False,
)
VALUES = {"arch": "fer_wide", "size": 48, "width": 0.5, "depth": 1}
VALUES |= {"recipe": "quick", "augmentation": 1.0, "learning_rate": 1.0}


def plan(objectives=("accuracy",), **limits):
    return Plan("ab12", objectives, limits, SPACE, ("--from", "/home/me/x"), True, 1)


def trial(number, accuracy, macs, state="finished", **figures):
    figures = {"accuracy": accuracy, "macs": macs, "latency": None, **figures}
    candidate = SPACE.propose(FixedTrial(VALUES))
    return TrialResult(number, state, candidate, figures, 1, "", 2, VALUES)


TRIALS = [
    trial(0, 0.80, 9e6),
    trial(1, 0.85, 20e6),
    trial(2, 0.85, 15e6),
    trial(3, 0.70, 12e6),
    trial(4, 0.99, 1e6, state="pruned"),
]


def test_the_winner_is_the_most_accurate_and_of_equals_the_cheaper():
    assert find_winner(TRIALS, plan()).number == 2


def test_the_winner_is_below_the_limit():
    assert find_winner(TRIALS, plan(macs=10e6)).number == 0
    assert find_winner(TRIALS, plan(macs=5e6)) is None


def test_a_trial_whose_worker_was_killed_while_it_proposed_is_left_out():
    study = optuna.create_study()
    SPACE.propose(study.ask())
    study.ask().suggest_categorical("arch", SPACE.archs)
    assert [each.number for each in read_trials(study.trials, plan(), 2)] == [0]


def test_the_front_is_what_nothing_beats_in_both():
    asked = plan(("accuracy", "macs"))
    assert [each.number for each in find_front(TRIALS, asked)] == [0, 2]
    assert "trial-0003" not in results_table(TRIALS, asked)


def test_the_table_names_the_best_first():
    rows = results_table(TRIALS, plan()).splitlines()
    assert [row.split()[0] for row in rows[1:]] == [
        *("trial-0002", "trial-0001", "trial-0000", "trial-0003")
    ]
    assert "85.00%" in rows[1]


def test_the_document_has_no_path():
    document = to_document(TRIALS, plan(), 7)
    assert document["flags"] == ["--from", "x"]
    assert (document["winner"], document["refused"]) == (2, 7)
    assert len(document["trials"]) == 5


@pytest.fixture
def study():
    """Twenty trials in which a high learning rate was good and a wide network bad."""
    made = optuna.create_study(
        directions=["maximize"], sampler=optuna.samplers.RandomSampler(seed=1)
    )
    for _ in range(20):
        one = made.ask()
        SPACE.propose(one)
        made.tell(one, 0.9 if one.params["learning_rate"] > 1.5 else 0.5)
    return made


def test_what_set_the_better_half_apart_is_important(study):
    importances = find_importances(study)
    assert max(importances, key=importances.__getitem__) == "learning_rate"
    assert "depth" not in importances  # it had one value


def test_good_trials_are_explained_and_not_bad_ones():
    """The better half has one learning rate; the worst tenth has one width."""
    made = optuna.create_study(directions=["maximize"])
    share = optuna.distributions.FloatDistribution(0.0, 1.0)
    for number in range(40):
        spread = number * 7 % 40 / 40
        rate = 0.5 if number >= 20 else spread
        width = 0.5 if number < 20 else spread
        made.add_trial(
            optuna.create_trial(
                params={"learning_rate": rate, "width": width},
                distributions={"learning_rate": share, "width": share},
                value=number / 40,
            )
        )
    importances = find_importances(made)
    assert importances["learning_rate"] > importances["width"]


def test_few_trials_say_nothing(study):
    assert find_importances(optuna.create_study()) == {}


def test_the_picture_is_written(study, tmp_path):
    plot_search(study, TRIALS, plan(macs=18e6), tmp_path / "search.png")
    assert (tmp_path / "search.png").stat().st_size > 20_000
