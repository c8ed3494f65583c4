import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_runtime.inference.classifier import softmax
from train import metrics

HAND = np.array([[3, 1, 0], [2, 2, 0], [0, 1, 1]])


@st.composite
def answers(draw):
    classes = draw(st.integers(2, 6))
    count = draw(st.integers(1, 60))
    index = st.lists(st.integers(0, classes - 1), min_size=count, max_size=count)
    return classes, np.array(draw(index)), np.array(draw(index))


@given(answers())
def test_confusion_matrix_counts_every_image_once(given_answers):
    classes, y_true, y_pred = given_answers
    matrix = metrics.confusion_matrix(y_true, y_pred, classes)
    assert matrix.shape == (classes, classes)
    assert matrix.sum() == len(y_true)
    assert (matrix.sum(axis=1) == np.bincount(y_true, minlength=classes)).all()
    assert (matrix.sum(axis=0) == np.bincount(y_pred, minlength=classes)).all()


@given(answers())
def test_accuracy_is_the_share_of_equal_answers(given_answers):
    classes, y_true, y_pred = given_answers
    matrix = metrics.confusion_matrix(y_true, y_pred, classes)
    assert metrics.accuracy(matrix) == pytest.approx(np.mean(y_true == y_pred))


@given(answers())
def test_recall_weighted_by_class_size_is_accuracy(given_answers):
    classes, y_true, y_pred = given_answers
    matrix = metrics.confusion_matrix(y_true, y_pred, classes)
    recall = np.nan_to_num(metrics.recall_by_class(matrix))
    weighted = np.sum(recall * matrix.sum(axis=1)) / matrix.sum()
    assert weighted == pytest.approx(metrics.accuracy(matrix))


def test_confusion_matrix_has_true_classes_in_rows():
    matrix = metrics.confusion_matrix(np.array([0, 0]), np.array([1, 1]), 2)
    assert matrix.tolist() == [[0, 2], [0, 0]]


def test_figures_of_a_matrix_worked_out_by_hand():
    assert metrics.accuracy(HAND) == pytest.approx(6 / 10)
    assert metrics.recall_by_class(HAND) == pytest.approx([3 / 4, 1 / 2, 1 / 2])
    # F1 = 2 TP / (true + predicted): 6/9, 4/8, 2/3
    assert metrics.macro_f1(HAND) == pytest.approx((2 / 3 + 1 / 2 + 2 / 3) / 3)


def test_macro_f1_counts_a_never_predicted_class_as_zero():
    matrix = np.array([[4, 0], [4, 0]])
    assert metrics.macro_f1(matrix) == pytest.approx((8 / 12) / 2)


def test_macro_f1_leaves_out_a_class_that_does_not_occur():
    matrix = np.array([[4, 0, 0], [0, 4, 0], [0, 0, 0]])
    assert metrics.macro_f1(matrix) == pytest.approx(1)


def test_empty_matrix_has_no_accuracy():
    empty = np.zeros((2, 2), np.int64)
    assert math.isnan(metrics.accuracy(empty))
    assert math.isnan(metrics.macro_f1(empty))


@pytest.mark.parametrize(
    ("successes", "count", "low", "high"),
    [
        pytest.param(8, 10, 0.490162, 0.943318, id="8 of 10"),
        pytest.param(0, 10, 0.0, 0.277533, id="none of 10"),
        pytest.param(10, 10, 0.722467, 1.0, id="all of 10"),
        pytest.param(50, 100, 0.403832, 0.596168, id="half of 100"),
        pytest.param(0, 0, 0.0, 1.0, id="no image at all"),
    ],
)
def test_wilson_interval_has_the_known_bounds(successes, count, low, high):
    assert metrics.wilson_interval(successes, count) == pytest.approx(
        (low, high), abs=1e-6
    )


@given(st.integers(1, 5000).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))))
def test_wilson_interval_holds_the_share(pair):
    successes, count = pair
    low, high = metrics.wilson_interval(successes, count)
    assert 0 <= low <= successes / count + 1e-12
    assert successes / count - 1e-12 <= high <= 1


@pytest.mark.parametrize("scale", [0.5, 1.0, 3.0])
def test_fitted_temperature_recovers_a_known_scale(scale):
    rng = np.random.default_rng(0)
    honest = rng.normal(0, 2, (20_000, 5))
    draws = rng.random((len(honest), 1))
    y_true = (softmax(honest).cumsum(axis=1) < draws).sum(axis=1).clip(0, 4)
    # 20,000 draws fix the temperature to about one percent.
    assert metrics.fit_temperature(scale * honest, y_true) == pytest.approx(
        scale, rel=0.04
    )


def test_negative_log_likelihood_of_equal_logits_is_log_of_classes():
    loss = metrics.negative_log_likelihood(np.zeros((3, 4)), np.array([0, 1, 2]), 1.0)
    assert loss == pytest.approx(math.log(4))


def test_negative_log_likelihood_survives_large_logits():
    logits = np.array([[1e4, 0.0], [0.0, 1e4]])
    loss = metrics.negative_log_likelihood(logits, np.array([0, 1]), 1.0)
    assert loss == pytest.approx(0)


def test_calibration_error_is_zero_where_confidence_is_accuracy():
    logits = np.tile([math.log(3), 0.0], (100, 1))  # 75 % sure of class 0
    y_true = np.array([0] * 75 + [1] * 25)
    error = metrics.expected_calibration_error(logits, y_true, 1.0)
    assert error == pytest.approx(0, abs=1e-6)


def test_calibration_error_is_the_gap_of_an_overconfident_model():
    logits = np.tile([math.log(3), 0.0], (100, 1))
    y_true = np.array([0] * 45 + [1] * 55)
    error = metrics.expected_calibration_error(logits, y_true, 1.0)
    assert error == pytest.approx(0.30, abs=1e-6)


def test_calibration_error_uses_the_temperature():
    logits = np.tile([2 * math.log(3), 0.0], (100, 1))
    y_true = np.array([0] * 75 + [1] * 25)
    assert metrics.expected_calibration_error(logits, y_true, 2.0) == pytest.approx(
        0, abs=1e-6
    )


@given(st.integers(1, 60), st.integers(2, 9), st.floats(0.1, 5))
def test_reliability_bins_hold_the_calibration_error(count, classes, temperature):
    rng = np.random.default_rng(count)
    logits = rng.normal(size=(count, classes)).astype(np.float32)
    y_true = rng.integers(0, classes, count)
    bins = metrics.reliability_diagram(logits, y_true, temperature)
    assert sum(one["count"] for one in bins) == count
    gaps = [one["right"] - one["count"] * (one["confidence"] or 0) for one in bins]
    error = metrics.expected_calibration_error(logits, y_true, temperature)
    assert np.abs(gaps).sum() / count == pytest.approx(error)
    for one in bins:
        if one["count"]:
            low, high = one["range"]
            # float32 confidences: 1e-6 beside an edge is the same place.
            assert low - 1e-6 <= one["confidence"] <= high + 1e-6


@pytest.mark.parametrize(
    ("recalls", "count", "guessing"),
    [
        ((1.0, 0.0, 0.0), 150, True),
        ((0.3, 0.35, 0.4), 150, True),
        ((0.6, 0.5, 0.4), 150, False),
        ((1.0, 0.0, 0.0), 6, False),
        ((1.0, None, 0.0), 150, True),
    ],
)
def test_one_answer_for_all_is_guessing(recalls, count, guessing):
    assert metrics.is_guessing(recalls, count) is guessing
