"""Raters' votes turned into distributions over labels of another meaning."""

import numpy as np

from train.data.votes import Votes
from train.distillation.soft_labels import label_distribution


def simulated(count=4000, seed=0):
    """Two labels; each of ten raters sees the label with probability 0.7."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, 2, count)
    first = rng.binomial(10, np.where(labels == 0, 0.7, 0.3))
    counts = np.column_stack([first, 10 - first]).astype(np.float64)
    return Votes(("cat", "dog"), counts), labels


def test_distribution_is_the_probability_of_the_label_given_the_votes():
    votes, labels = simulated()
    found = label_distribution(votes, labels, 2)
    first = votes.counts[:, 0]
    exact = 1 / (1 + (3 / 7) ** (2 * first - 10))  # Bayes' rule, equal priors
    assert np.abs(found[:, 0] - exact).max() < 0.06


def test_rows_sum_to_one():
    votes, labels = simulated(200)
    assert np.allclose(label_distribution(votes, labels, 2).sum(axis=1), 1, atol=1e-6)


def test_category_that_is_no_class_still_tells_the_label():
    """What the raters call "nothing" are dogs here: the regression finds out."""
    counts = np.array([[10.0, 0, 0]] * 30 + [[0.0, 0, 10]] * 30)
    labels = np.array([0] * 30 + [1] * 30)
    found = label_distribution(Votes(("cat", "bird", "nothing"), counts), labels, 2)
    assert found.argmax(axis=1).tolist() == labels.tolist()


def test_image_without_votes_has_no_distribution():
    votes, labels = simulated(200)
    counts = votes.counts.copy()
    counts[3] = np.nan
    found = label_distribution(Votes(votes.categories, counts), labels, 2)
    assert np.isnan(found[3]).all()
    assert not np.isnan(np.delete(found, 3, axis=0)).any()
