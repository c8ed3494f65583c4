"""Tests of the drawn faces: deterministic, balanced, and neither trivial nor noise."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest

from edge_runtime.sources.fake.face import LABELS
from train.data.drawn_faces import draw_sample, drawn_faces

FaceSet = tuple[npt.NDArray[np.uint8], npt.NDArray[np.int64]]


@pytest.fixture(scope="module")
def train_set() -> FaceSet:
    return drawn_faces(3000, seed=11)


@pytest.fixture(scope="module")
def test_set() -> FaceSet:
    return drawn_faces(1000, seed=12)


def test_labels_are_the_seven_expressions_in_alphabetical_order() -> None:
    assert list(LABELS) == sorted(LABELS)
    assert len(set(LABELS)) == 7


def test_images_and_labels_have_the_promised_shapes_and_ranges(
    test_set: FaceSet,
) -> None:
    images, labels = test_set
    assert images.shape == (1000, 48, 48)
    assert images.dtype == np.uint8
    assert labels.shape == (1000,)
    assert labels.dtype == np.int64
    assert set(labels.tolist()) == set(range(7))


def test_every_image_has_contrast(test_set: FaceSet) -> None:
    assert test_set[0].std(axis=(1, 2)).min() > 8


def test_classes_are_balanced_within_one(test_set: FaceSet) -> None:
    counts = np.bincount(test_set[1])
    assert counts.max() - counts.min() <= 1


def test_classes_are_shuffled(test_set: FaceSet) -> None:
    blocks = test_set[1][:994].reshape(-1, 7)
    assert len({tuple(block) for block in blocks.tolist()}) > 100


def test_same_seed_gives_identical_bytes_whatever_the_count(
    test_set: FaceSet,
) -> None:
    images, labels = drawn_faces(40, seed=12)
    assert images.tobytes() == test_set[0][:40].tobytes()
    assert labels.tolist() == test_set[1][:40].tolist()


def test_different_seeds_share_no_image(train_set: FaceSet, test_set: FaceSet) -> None:
    train = {image.tobytes() for image in train_set[0]}
    assert train.isdisjoint(image.tobytes() for image in test_set[0])


def test_no_two_of_2000_faces_are_equal(train_set: FaceSet) -> None:
    assert len({image.tobytes() for image in train_set[0][:2000]}) == 2000


def test_linear_model_on_pixels_is_above_chance_and_far_from_perfect(
    train_set: FaceSet, test_set: FaceSet
) -> None:
    """A set that a linear model solves would not show that a network learns."""
    mean = train_set[0].mean()
    x, x_test = (
        np.c_[(s[0].reshape(len(s[0]), -1) - mean) / 255.0, np.ones(len(s[0]))]
        for s in (train_set, test_set)
    )
    targets = np.eye(7)[train_set[1]]
    gram, moments = x.T @ x, x.T @ targets
    accuracies = []
    for penalty in (10.0, 100.0, 1000.0):
        weights = np.linalg.solve(gram + penalty * np.eye(x.shape[1]), moments)
        accuracies.append(np.mean((x_test @ weights).argmax(1) == test_set[1]))
    assert 0.25 < max(accuracies) < 0.70


@pytest.mark.parametrize("size_px", [48, 64])
def test_a_face_is_drawn_at_any_size(size_px: int) -> None:
    first, second = (
        draw_sample("happy", np.random.default_rng(3), size_px=size_px)
        for _ in range(2)
    )
    assert first.shape == (size_px, size_px)
    assert first.dtype == np.uint8
    assert np.array_equal(first, second)


@pytest.mark.parametrize(
    ("count", "seed", "size_px"), [(0, 0, 48), (1, -1, 48), (1, 0, 0)]
)
def test_impossible_request_says_what_was_got(
    count: int, seed: int, size_px: int
) -> None:
    with pytest.raises(ValueError, match=f"count={count}, seed|size_px={size_px}"):
        drawn_faces(count, seed, size_px=size_px)


def test_unknown_label_is_refused() -> None:
    with pytest.raises(KeyError):
        draw_sample("bored", np.random.default_rng(0))
