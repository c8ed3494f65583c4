"""Raters' votes: read strictly, and turned into distributions over our labels."""

import numpy as np
import pytest

from edge_runtime.errors import DatasetError
from train.distillation.soft_labels import (
    Votes,
    has_majority,
    label_distribution,
    read_votes,
)

NAMES = ("train/cat/1.png", "train/cat/2.png", "train/dog/1.png")
HEADER = "file,cat,dog,nothing"
ROWS = ("train/cat/1.png,9,1,0", "train/cat/2.png,5,5,0", "train/dog/1.png,0,2,8")


def written(folder, *lines):
    path = folder / "votes.csv"
    path.write_text("\n".join(lines) + "\n")
    return path


# --- reading -----------------------------------------------------------------------


def test_votes_stand_in_the_order_of_the_images(tmp_path):
    votes = read_votes(written(tmp_path, HEADER, *reversed(ROWS)), NAMES)
    assert votes.categories == ("cat", "dog", "nothing")
    assert votes.counts.tolist() == [[9, 1, 0], [5, 5, 0], [0, 2, 8]]


@pytest.mark.parametrize(
    "second", [(), ("train/cat/2.png,0,0,0",)], ids=["no-row", "only-zeros"]
)
def test_image_nobody_voted_on_is_unknown(tmp_path, second):
    votes = read_votes(written(tmp_path, HEADER, ROWS[0], *second, ROWS[2]), NAMES)
    assert votes.known.tolist() == [True, False, True]


def test_rows_of_other_images_and_empty_lines_are_passed_over(tmp_path):
    path = written(tmp_path, HEADER, *ROWS, "", "test/cat/7.png,1,1,1")
    assert read_votes(path, NAMES).counts.sum() == 30


def test_byte_order_mark_of_a_spreadsheet_is_no_part_of_the_name(tmp_path):
    path = written(tmp_path, "\ufeff" + HEADER, *ROWS)
    assert read_votes(path, NAMES).known.all()


@pytest.mark.parametrize(
    ("lines", "part"),
    [
        ((), "expected the column file"),
        (("name,cat,dog", "x,1,2"), "expected the column file"),
        (("file,cat", "x,1"), "at least two categories"),
        (("file,cat,cat", "x,1,1"), "at least two categories"),
        ((HEADER, "train/cat/1.png,9,-1,0"), "row 2: expected a number of votes"),
        ((HEADER, "train/cat/1.png,9,nan,0"), "got 'nan'"),
        ((HEADER, "train/cat/1.png,9,inf,0"), "got 'inf'"),
        ((HEADER, "train/cat/1.png,9,,0"), "got ''"),
        ((HEADER, "train/cat/1.png,9"), "expected 3 numbers of votes, got 1"),
        ((HEADER, "train/cat/1.png,9,1,0,4"), "expected 3 numbers of votes, got 4"),
        ((HEADER, *ROWS, ROWS[1]), "'train/cat/2.png' is listed twice"),
        ((HEADER, "elsewhere/1.png,1,1,1"), "0% of the training images"),
        ((HEADER, ROWS[0]), "33% of the training images"),
    ],
    ids=[
        "empty",
        "no-file-column",
        "one-category",
        "category-twice",
        "negative",
        "nan",
        "infinite",
        "no-number",
        "short-row",
        "long-row",
        "image-twice",
        "other-images",
        "too-few",
    ],
)
def test_file_that_cannot_be_meant_is_refused(tmp_path, lines, part):
    with pytest.raises(DatasetError, match=r"votes\.csv") as raised:
        read_votes(written(tmp_path, *lines), NAMES)
    assert part in str(raised.value)


@pytest.mark.parametrize(
    "content",
    [None, b"\xff\xfe\x00file", b'file,a,b\n"x'],
    ids=["none", "bytes", "csv"],
)
def test_unreadable_file_is_a_dataset_error(tmp_path, content):
    path = tmp_path / "votes.csv"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(DatasetError, match=r"votes\.csv"):
        read_votes(path, NAMES)


# --- from votes to labels ----------------------------------------------------------


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


# --- a category as a reason to leave images out ------------------------------------


def test_half_of_the_votes_is_enough_to_be_mostly_voted():
    counts = np.array([[4.0, 6.0], [5.0, 5.0], [6.0, 4.0], [np.nan, np.nan]])
    votes = Votes(("face", "NF"), counts)
    assert has_majority(votes, "NF").tolist() == [True, True, False, False]


def test_unknown_category_names_the_known_ones():
    with pytest.raises(DatasetError, match="of face, NF, got 'nf'"):
        has_majority(Votes(("face", "NF"), np.ones((1, 2))), "nf")
