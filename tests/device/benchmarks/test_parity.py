"""Paired statistics, flipped images and the gate."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.accuracy.comparison import (
    Predictions,
    bootstrap_intervals,
    compare,
    flips_by_class,
    margins,
    mcnemar_p,
    outer,
    score_intervals,
)
from benchmarks.accuracy.gate import check_gate, images_needed, up_to, with_gate
from edge_runtime.errors import GateError
from train import metrics

Z = metrics.Z_95
COUNTS = st.tuples(*[st.integers(0, 30)] * 2, st.integers(0, 300)).filter(sum)


def answers(*predicted, margin=0.5):
    return Predictions(np.array(predicted), np.full(len(predicted), margin))


def compared(y_true, first, second, labels=("a", "b", "c")):
    names = [f"{i}.png" for i in range(len(y_true))]
    return compare(np.array(y_true), first, second, labels=labels, names=names)


# --- flips -----------------------------------------------------------------------


def test_flips_are_counted_by_kind():
    y_true = [0, 0, 0, 0, 1, 1]
    first, second = answers(0, 0, 1, 1, 1, 2), answers(0, 1, 0, 2, 1, 2)
    comparison = compared(y_true, first, second)
    assert comparison["flips"] == {
        "right_to_wrong": 1,
        "wrong_to_right": 1,
        "wrong_to_other_wrong": 1,
    }
    assert comparison["agreement"] == pytest.approx(3 / 6)


@given(st.lists(st.tuples(*[st.integers(0, 3)] * 3), min_size=1, max_size=80))
def test_flips_explain_the_accuracy_difference(rows):
    y_true, first, second = np.array(rows).T
    comparison = compared(y_true, answers(*first), answers(*second), "abcd")
    flips = comparison["flips"]
    gained = np.mean(second == y_true) - np.mean(first == y_true)
    difference = (flips["wrong_to_right"] - flips["right_to_wrong"]) / len(rows)
    assert difference == pytest.approx(gained)
    assert comparison["agreement"] == pytest.approx(np.mean(first == second))


@given(st.lists(st.tuples(*[st.integers(0, 3)] * 3), min_size=1, max_size=80))
def test_flips_by_class_add_up(rows):
    y_true, first, second = np.array(rows).T
    worse, better, count = flips_by_class(y_true, first, second, 4)
    was_right, is_right = first == y_true, second == y_true
    assert worse.sum() == np.sum(was_right & ~is_right)
    assert better.sum() == np.sum(is_right & ~was_right)
    assert count.tolist() == np.bincount(y_true, minlength=4).tolist()


def test_flipped_images_come_the_worst_first():
    y_true = [0, 0, 0, 1, 1]
    first = Predictions(np.array([0, 0, 1, 0, 1]), np.array([0.1, 0.4, 0.9, 0.2, 0.9]))
    second = Predictions(np.array([1, 2, 0, 2, 1]), np.array([0.1, 0.3, 0.9, 0.2, 0.9]))
    flipped = compared(y_true, first, second)["flipped_images"]
    assert [one["index"] for one in flipped] == [1, 0, 3, 2]
    assert flipped[0] == {
        "index": 1,
        "name": "1.png",
        "label": "a",
        "kind": "right_to_wrong",
        "reference_answer": "a",
        "reference_margin": 0.4,
        "answer": "c",
        "margin": 0.3,
    }
    kinds = [one["kind"] for one in flipped]
    assert kinds[2:] == ["wrong_to_other_wrong", "wrong_to_right"]


def test_margin_is_the_lead_of_the_answer_with_the_temperature():
    logits = np.array([[0.0, 2.0, 0.0], [1.0, 1.0, -50.0]], np.float32)
    e = math.exp(2 / 2)
    assert margins(logits, 2.0) == pytest.approx([(e - 1) / (e + 2), 0])


def test_comparison_of_known_answers():
    result = compared([0, 0, 1, 1], answers(0, 0, 1, 1), answers(0, 1, 1, 1))
    assert result["agreement"] == 0.75
    assert result["accuracy_difference_points"] == -25
    assert result["recall_difference_points"] == {"a": -50, "b": 0, "c": None}
    assert result["recall_difference_points_95"]["c"] is None
    assert result["flips"]["right_to_wrong"] == 1
    assert result["mcnemar_p"] == 1.0


def test_interval_shown_is_the_wider_of_both():
    result = compared([0, 0, 1, 1], answers(0, 0, 1, 1), answers(0, 1, 1, 1))
    keys = [f"accuracy_difference_points_95{end}" for end in ("", *METHODS)]
    shown, bootstrap, score = (result[key] for key in keys)
    assert shown == [min(bootstrap[0], score[0]), max(bootstrap[1], score[1])]
    assert bootstrap[1] == 0 < score[1]


METHODS = ("_bootstrap", "_score")

# --- McNemar ---------------------------------------------------------------------


@pytest.mark.parametrize(
    ("worse", "better", "p"),
    [
        pytest.param(0, 0, 1.0, id="nothing changed"),
        pytest.param(3, 3, 1.0, id="as many each way"),
        pytest.param(1, 5, 14 / 64, id="1 against 5"),
        pytest.param(0, 10, 2 / 1024, id="0 against 10"),
        pytest.param(2, 8, 2 * (1 + 10 + 45) / 1024, id="2 against 8"),
    ],
)
def test_mcnemar_p_is_the_binomial_worked_out_by_hand(worse, better, p):
    assert mcnemar_p(worse, better) == pytest.approx(p)
    assert mcnemar_p(better, worse) == pytest.approx(p)


def test_mcnemar_p_survives_counts_beyond_floating_point():
    assert mcnemar_p(20_000, 20_000) == 1.0
    assert 0 <= mcnemar_p(100, 20_000) < 1e-300


# --- intervals -------------------------------------------------------------------


@pytest.mark.parametrize("intervals", [bootstrap_intervals, score_intervals])
def test_interval_matches_the_normal_one_for_many_images(intervals):
    ((low, high),) = intervals(300, 200, 10_000)
    # Var of the mean of -1, 0, +1 with these shares; the normal 95 % interval.
    spread = 1.96 * np.sqrt((0.05 - 0.01**2) / 10_000)
    # 10,000 resamples know a 2.5 % quantile to about 0.03 standard errors.
    assert (low, high) == pytest.approx((-0.01 - spread, -0.01 + spread), abs=3e-4)


@pytest.mark.parametrize("intervals", [bootstrap_intervals, score_intervals])
def test_interval_covers_the_true_difference(intervals):
    drawn = np.random.default_rng(1).multinomial(1000, [0.06, 0.04, 0.90], size=200)
    low, high = intervals(drawn[:, 0], drawn[:, 1], np.full(200, 1000)).T
    # 190 expected; below 180 has a chance of 1 in 1,000.
    assert np.sum((low <= -0.02) & (high >= -0.02)) >= 180


def test_score_interval_covers_where_flips_are_rare_and_the_bootstrap_does_not():
    # One flip in 1,000 images, 300 images: most sets show none.
    drawn = np.random.default_rng(2).multinomial(300, [0.001, 0, 0.999], size=1000)
    groups = drawn[:, 0], drawn[:, 1], np.full(1000, 300)
    covered = [
        float(np.mean((low <= -0.001) & (high >= -0.001)))
        for low, high in (f(*groups).T for f in (score_intervals, bootstrap_intervals))
    ]
    assert covered[0] >= 0.95
    assert covered[1] < 0.5


@pytest.mark.parametrize(
    ("worse", "better", "count", "low", "high"),
    [
        # Two examples of matched pairs that public R packages for contingency tables
        # carry with these limits in their own tests.
        pytest.param(7, 1, 21, -0.517, -0.026, id="airway, Bentur et al. 2009"),
        pytest.param(16, 6, 161, -0.1240, -0.0054, id="response, Cavo et al. 2012"),
    ],
)
def test_score_interval_is_the_published_one(worse, better, count, low, high):
    digits = 5e-5 if count == 161 else 5e-4
    found = score_intervals(worse, better, count)[0]
    assert found == pytest.approx([low, high], abs=digits)
    mirrored = score_intervals(better, worse, count)[0]
    assert mirrored == pytest.approx([-high, -low], abs=digits)


@given(COUNTS)
def test_score_interval_ends_where_the_score_test_rejects(counts):
    worse, better, same = counts
    count = worse + better + same
    ((low, high),) = score_intervals(worse, better, count)
    assert -1 <= low <= (better - worse) / count <= high <= 1
    for bound, towards in ((low, -1), (high, 1)):
        if abs(bound) < 1 - 1e-6:
            assert score(bound, better, worse, count) == pytest.approx(-towards * Z)


def score(difference, b, c, n):
    """Tango's statistic as it is printed: equations 7 and 8 of the paper."""
    a2 = 2 * n
    a1 = -b - c + (2 * n - b + c) * difference
    a0 = -c * difference * (1 - difference)
    q21 = (math.sqrt(a1**2 - 4 * a2 * a0) - a1) / (2 * a2)
    variance = n * (2 * q21 + difference * (1 - difference))
    return (b - c - n * difference) / math.sqrt(variance)


@pytest.mark.parametrize("count", [1, 35, 3589])
def test_without_flips_the_score_interval_depends_on_the_number_of_images(count):
    bound = Z**2 / (count + Z**2)
    assert score_intervals(0, 0, count)[0] == pytest.approx([-bound, bound])
    assert bootstrap_intervals(0, 0, count).tolist() == [[0, 0]]


@pytest.mark.parametrize("intervals", [bootstrap_intervals, score_intervals])
def test_group_without_images_has_no_interval(intervals):
    found = intervals([0, 1], [0, 0], [0, 10])
    assert np.isnan(found[0]).all()
    assert np.isfinite(found[1]).all()


def test_bootstrap_is_the_same_every_time():
    first, second = (bootstrap_intervals([30, 3], [20, 1], [900, 50]) for _ in range(2))
    assert np.array_equal(first, second)


def test_outer_takes_the_wider_bound_on_each_side():
    first, second = np.array([[-1.0, 2.0]]), np.array([[-3.0, 1.0]])
    assert outer(first, second).tolist() == [[-3.0, 2.0]]


@pytest.mark.parametrize(("points", "count"), [(0.5, 765), (1, 381), (100, 0)])
def test_images_needed_are_just_enough(points, count):
    assert images_needed(points) == count
    if count:
        bounds = 100 * score_intervals([0, 0], [0, 0], [count, count - 1])[:, 1]
        assert bounds[0] <= points < bounds[1]


# --- gate ------------------------------------------------------------------------


def gate_document(*differences_and_lows, count=10_000):
    comparisons = [
        {
            "reference": "float",
            "model": f"int8 {number}",
            "accuracy_difference_points": difference,
            "accuracy_difference_points_95": [low, 0.5],
        }
        for number, (difference, low) in enumerate(differences_and_lows)
    ]
    return {
        "comparisons": comparisons,
        "models": [{"name": "float"}],
        "data": {"count": count},
        "gate": None,
    }


def test_gate_passes_when_the_bound_is_within():
    document = with_gate(gate_document((-0.2, -0.8)), 1.0)
    assert document["gate"]["passed"] is True
    assert document["gate"]["models"][0]["drop_points_upper"] == 0.8
    check_gate(document)


def test_gate_fails_on_the_bound_though_the_drop_is_within():
    document = with_gate(gate_document((-0.2, -1.2)), 1.0)
    assert document["gate"]["passed"] is False
    with pytest.raises(GateError, match=r"1\.00 points.*lost 0\.20.*up to 1\.20$"):
        check_gate(document)


def test_gate_limits_losses_and_not_gains():
    document = with_gate(gate_document((3.0, 1.0)), 0.5)
    assert document["gate"]["passed"] is True


def test_model_that_gained_may_still_fail_and_is_called_so():
    document = with_gate(gate_document((0.1, -0.7)), 0.5)
    with pytest.raises(GateError, match=r"gained 0\.10.*up to 0\.70"):
        check_gate(document)


def test_gate_of_several_models_needs_them_all_and_names_those_that_fail():
    document = with_gate(gate_document((0, -2), (0, -0.1), (0, -3)), 1.0)
    passed = [model["passed"] for model in document["gate"]["models"]]
    assert passed == [False, True, False]
    with pytest.raises(GateError, match=r"int8 0 .*2\.00; int8 2 .*3\.00") as failed:
        check_gate(document)
    assert "int8 1" not in str(failed.value)


def test_message_names_an_image_set_that_is_too_small_to_pass():
    document = with_gate(gate_document((0, -9.9), count=35), 0.5)
    with pytest.raises(GateError, match=r"35 images cannot show that.* 765$"):
        check_gate(document)


@pytest.mark.parametrize(
    ("bound", "text"), [(0.501, "0.51"), (0.5, "0.50"), (-0.499, "-0.49"), (0, "0.00")]
)
def test_bounds_are_rounded_so_that_they_still_hold(bound, text):
    assert up_to(bound) == text


def test_without_a_gate_nothing_is_refused():
    check_gate(gate_document((-50, -60)))
