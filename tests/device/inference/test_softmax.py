"""Logits become probabilities."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from edge_runtime.inference.classifier import softmax

logit_arrays = hnp.arrays(
    np.float32,
    hnp.array_shapes(min_dims=1, max_dims=3, min_side=1, max_side=6),
    elements=st.floats(-1e4, 1e4, width=32),
)


@given(logit_arrays, st.floats(0.05, 20))
def test_softmax_rows_sum_to_one(logits, temperature):
    probabilities = softmax(logits, temperature)
    assert probabilities.dtype == np.float32
    assert probabilities.shape == logits.shape
    assert ((probabilities >= 0) & (probabilities <= 1)).all()
    assert np.allclose(probabilities.sum(axis=-1), 1, atol=1e-5)


@pytest.mark.parametrize("large", [1e3, 1e5, 3e38], ids=str)
def test_softmax_of_large_logits_is_finite(large):
    probabilities = softmax(np.array([[large, -large, 0]], np.float32))
    assert probabilities.tolist() == [[1, 0, 0]]


def test_softmax_of_known_logits():
    probabilities = softmax(np.log(np.array([[1.0, 2.0, 5.0]])))
    assert probabilities[0] == pytest.approx([0.125, 0.25, 0.625], abs=1e-6)


def test_temperature_divides_the_logits():
    logits = np.array([[2.0, 4.0, -6.0]])
    assert softmax(logits, 2.0) == pytest.approx(softmax(logits / 2), abs=1e-6)


def test_softmax_of_no_rows_has_no_rows():
    assert softmax(np.empty((0, 7), np.float32)).shape == (0, 7)
