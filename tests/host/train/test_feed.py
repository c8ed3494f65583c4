"""The training feed: endless, complete, and the same again after a break."""

import itertools
import shutil
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

from edge_runtime.errors import DatasetError
from train.data.appearance import Appearances
from train.data.augment import NO_AUGMENTATION, PHOTO_AUGMENTATION, Augmentation
from train.data.dataset import load
from train.data.decoding import Decoder
from train.data.image_stores import CACHES
from train.data.mixing import mix
from train.data.splits import Split
from train.data.workers import Workers
from train.networks.backend import start_keras

start_keras()

from train.feed import TrainingFeed  # noqa: E402

COUNT, CLASSES = 37, 3


@pytest.fixture(scope="module")
def split():
    """Images that carry their own number in every pixel."""
    images = np.arange(COUNT, dtype=np.uint8)[:, None, None, None]
    labels = np.array([0] * 20 + [1] * 12 + [2] * 5, np.int64)
    names = tuple(map(str, range(COUNT)))
    return Split(np.broadcast_to(images, (COUNT, 8, 8, 1)).copy(), labels, names)


def feed_of(split, batch_size=5, **options):
    defaults = {
        "targets": np.eye(CLASSES, dtype=np.float32)[split.labels],
        "augmentation": NO_AUGMENTATION,
        "seed": 1,
    }
    return TrainingFeed(split, batch_size, **{**defaults, **options})


def numbers(batch):
    return batch[0][:, 0, 0, 0].tolist()


def epoch(feed, number):
    first = number * feed.steps_per_epoch
    return [numbers(feed[first + step]) for step in range(feed.steps_per_epoch)]


def test_shapes_and_types_of_a_batch(split):
    images, targets, weights = feed_of(split, augmentation=Augmentation())[0]
    assert (images.shape, images.dtype) == ((5, 8, 8, 1), np.uint8)
    assert (targets.shape, targets.dtype) == ((5, CLASSES), np.float32)
    assert (weights.shape, weights.dtype) == ((5,), np.float32)


def test_no_image_comes_twice_in_an_epoch(split):
    feed = feed_of(split)
    seen = list(itertools.chain.from_iterable(epoch(feed, 0)))
    assert len(seen) == len(set(seen)) == 35


def test_every_image_comes_once_where_batches_fit(split):
    feed = feed_of(split.take(np.arange(35)))
    for number in range(3):
        seen = itertools.chain.from_iterable(epoch(feed, number))
        assert sorted(seen) == list(range(35))


def test_every_epoch_has_another_order(split):
    feed = feed_of(split)
    assert epoch(feed, 0) != epoch(feed, 1)


def test_images_left_over_in_one_epoch_come_in_others(split):
    feed = feed_of(split)
    batches = [batch for number in range(20) for batch in epoch(feed, number)]
    assert set(itertools.chain.from_iterable(batches)) == set(range(COUNT))


def test_feed_has_no_end(split):
    feed = feed_of(split)
    assert feed.num_batches is None
    assert len(numbers(feed[10_000_000])) == 5


def test_same_seed_and_index_give_the_same_batch(split):
    one, other = (feed_of(split, augmentation=Augmentation()) for _ in range(2))
    for a, b in zip(one[11], other[11], strict=True):
        assert np.array_equal(a, b)


def test_another_seed_gives_other_batches(split):
    assert epoch(feed_of(split), 0) != epoch(feed_of(split, seed=2), 0)


def test_another_seed_changes_images_otherwise(split):
    whole = split.take(np.arange(5))
    strong = Augmentation(brightness_frac=0.5)
    one, other = (
        np.sort(feed_of(whole, augmentation=strong, seed=seed)[0][0].ravel())
        for seed in (1, 2)
    )
    assert not np.array_equal(one, other)


MIXED = [{}, {"mixup": 0.2}, {"cutmix": 1.0}, {"mixup": 0.2, "cutmix": 1.0}]


@pytest.mark.parametrize("mixed", MIXED, ids=["plain", "mixup", "cutmix", "both"])
@pytest.mark.parametrize("channels", [1, 3], ids=["grey", "rgb"])
def test_parts_of_several_processes_are_the_batch_of_one(split, channels, mixed):
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (COUNT, 12, 12, channels), dtype=np.uint8)
    strong = replace(PHOTO_AUGMENTATION, camera_probability=0.7)
    images = replace(split, images=images, sources=np.arange(COUNT) % 3)
    options = {"augmentation": strong, "class_weights": "sqrt", **mixed}
    options["appearances"] = Appearances(images, 1.0)
    whole = feed_of(images, 12, **options)
    parts = [feed_of(images, 12, share=(k, 3), **options) for k in range(3)]
    for index in (0, 1, 7):
        made = [part[index] for part in parts]
        assert {len(batch[0]) for batch in made} == {4}
        for together, expected in zip(
            zip(*made, strict=True), whole[index], strict=True
        ):
            assert np.array_equal(np.concatenate(together), expected)


def test_each_batch_and_each_seed_draws_appearances_of_its_own(split):
    images = np.full((COUNT, 12, 12, 1), 200, np.uint8)
    images[COUNT // 2 :] = 50
    sources = np.repeat([0, 1], [COUNT // 2, COUNT - COUNT // 2])
    same = np.zeros(COUNT, np.int64)
    two = replace(split, images=images, labels=same, sources=sources)
    looks = Appearances(two, 1.0)
    feed, other = (feed_of(two, 12, seed=seed, appearances=looks) for seed in (1, 2))
    drawn = [
        {value for value in numbers(batch) if value not in (50, 200)}
        for batch in (feed[0], feed[1], other[0])
    ]
    assert all(len(values) > 2 for values in drawn)
    assert not (drawn[0] & drawn[1] == drawn[0] or drawn[0] == drawn[2])


def test_part_reads_its_own_images_alone_unless_they_are_mixed(split):
    plain, mixed = (
        feed_of(split, 12, share=(1, 3), mixup=mixup)._plan(0) for mixup in (0, 0.2)
    )
    assert len(plain.images()) == 4
    assert 4 < len(mixed.images()) <= 8


def test_part_has_the_answers_of_its_own_images(split):
    answers = np.arange(3 * 12 * CLASSES, dtype=np.float16).reshape(3, 12, CLASSES)
    feed = feed_of(split, 12, answers=answers, share=(2, 3))
    assert np.array_equal(feed[1][1][:, CLASSES:], answers[1, 8:])


def test_part_is_the_same_from_several_workers(split):
    with Workers(2) as workers:
        feed = feed_of(split, 12, mixup=0.2, share=(1, 2), workers=workers)
        made = [feed[index] for index in range(4)]
    expected = feed_of(split, 12, mixup=0.2, share=(1, 2))
    for index, batch in enumerate(made):
        for a, b in zip(batch, expected[index], strict=True):
            assert np.array_equal(a, b)


def test_resumed_feed_gives_the_batches_of_the_unbroken_one(split):
    unbroken = feed_of(split, augmentation=Augmentation())
    resumed = feed_of(split, augmentation=Augmentation(), first_epoch=3)
    for index in range(10):
        expected = unbroken[3 * unbroken.steps_per_epoch + index]
        for a, b in zip(resumed[index], expected, strict=True):
            assert np.array_equal(a, b)


def test_order_of_requests_does_not_matter(split):
    """Several threads ask for batches in no order."""
    one, other = feed_of(split), feed_of(split)
    forwards = [numbers(one[index]) for index in range(20)]
    backwards = [numbers(other[index]) for index in reversed(range(20))]
    assert forwards == backwards[::-1]


def test_labels_stay_with_their_images(split):
    images, targets, _ = feed_of(split)[3]
    expected = split.labels[images[:, 0, 0, 0]]
    assert targets.argmax(axis=1).tolist() == expected.tolist()


def test_batch_larger_than_the_split_is_the_split(split):
    feed = feed_of(split, batch_size=1000)
    assert feed.steps_per_epoch == 1
    assert sorted(numbers(feed[0])) == list(range(COUNT))


def test_every_image_has_its_own_target(split):
    """Targets belong to images, not to classes."""
    targets = np.random.default_rng(0).dirichlet(np.ones(CLASSES), COUNT)
    feed = feed_of(split, targets=targets.astype(np.float32))
    images, given, _ = feed[4]
    assert np.array_equal(given, targets.astype(np.float32)[images[:, 0, 0, 0]])


@pytest.mark.parametrize("kind", ["none", "sqrt", "balanced"])
def test_class_weights_have_mean_one_over_the_images(split, kind):
    _, _, weights = feed_of(split, batch_size=COUNT, class_weights=kind)[0]
    assert weights.mean() == pytest.approx(1, abs=1e-6)


def weight_by_class(split, kind):
    feed = feed_of(split, batch_size=COUNT, class_weights=kind)
    _, targets, weights = feed[0]
    return [float(weights[targets[:, c] > 0.5][0]) for c in range(CLASSES)]


@pytest.mark.parametrize(
    ("kind", "power"), [("none", 0), ("sqrt", 0.5), ("balanced", 1)]
)
def test_class_weights_are_a_power_of_the_inverse_frequency(split, kind, power):
    weights = weight_by_class(split, kind)
    assert weights[2] / weights[0] == pytest.approx((20 / 5) ** power, rel=1e-5)


def test_class_weights_go_by_how_often_images_are_drawn(split):
    times = np.where(split.labels == 2, 4.0, 1.0)  # as often as those of class 0
    feed = feed_of(split, COUNT, class_weights="balanced", times=times)
    _, targets, weights = feed[0]
    first, last = (weights[targets[:, c] > 0.5][0] for c in (0, 2))
    assert last == pytest.approx(first, rel=1e-5)


# --- mixup -------------------------------------------------------------------------


def test_mixed_image_and_target_have_the_same_shares(split):
    """Images carry their number, targets too: both are mixed alike, to rounding."""
    numbers = np.arange(COUNT) / 255
    targets = np.stack([numbers, 1 - numbers], axis=1).astype(np.float32)
    images, given, weights = feed_of(split, batch_size=30, targets=targets, mixup=0.5)[
        3
    ]
    assert images.dtype == np.uint8
    assert np.abs(images[:, 0, 0, 0] / 255 - given[:, 0]).max() <= 0.5 / 255 + 1e-6
    assert np.allclose(given.sum(axis=1), 1)
    assert np.allclose(weights, 1)


def test_mixed_batch_has_images_between_two(split):
    plain, mixed = (
        feed_of(split, batch_size=30),
        feed_of(split, batch_size=30, mixup=1.0),
    )
    assert sorted(numbers(plain[0])) != sorted(numbers(mixed[0]))
    assert mixed[0][1].max(axis=1).min() < 0.9  # no longer one label


@pytest.mark.parametrize("alpha", [0.1, 0.4, 1.0])
def test_smaller_alpha_mixes_less(split, alpha):
    _, targets, _ = feed_of(split, batch_size=36, mixup=alpha)[0]
    pure = (targets.max(axis=1) > 0.99).mean()
    assert pure > 0.6 if alpha == 0.1 else pure < 0.8


def test_loss_of_a_mixed_image_is_that_of_both_by_class_weight(split):
    _, targets, weights = feed_of(
        split, batch_size=COUNT, mixup=1.0, class_weights="balanced"
    )[0]
    by_class = np.array(weight_by_class(split, "balanced"))
    # weight * target is share * class weight: divided by it, the shares sum to 1.
    shares = weights[:, None] * targets / by_class
    assert np.allclose(shares.sum(axis=1), 1, atol=1e-5)


def test_resumed_feed_mixes_as_the_unbroken_one(split):
    unbroken, resumed = (
        feed_of(split, augmentation=Augmentation(), mixup=0.2, first_epoch=first)
        for first in (0, 2)
    )
    for index in (0, 5, 8):
        expected = unbroken[2 * unbroken.steps_per_epoch + index]
        for a, b in zip(resumed[index], expected, strict=True):
            assert np.array_equal(a, b)


# --- CutMix ------------------------------------------------------------------------


def test_rectangle_of_another_image_has_its_share_of_the_target():
    """Images are 0 or 255 throughout, so their mean tells the share of the area."""
    images = np.zeros((40, 16, 16, 1), np.uint8)
    images[20:] = 255
    targets = np.eye(2, dtype=np.float32)[np.repeat([0, 1], 20)]
    rng = np.random.default_rng(0)
    weights = np.ones(40, np.float32)
    mixed, given, total = mix(images, targets, weights, mixup=0, cutmix=1.0, rng=rng)
    assert set(np.unique(mixed)) == {0, 255}  # nothing is blended
    assert np.allclose(mixed.mean(axis=(1, 2, 3)) / 255, given[:, 1], atol=1e-6)
    assert np.allclose(total, 1)
    assert 0.1 < (given.max(axis=1) < 0.99).mean() < 0.9
    assert not images[:20].any()


def test_with_mixup_too_each_batch_is_mixed_in_one_of_both_ways(split):
    feed = feed_of(split, batch_size=30, mixup=1.0, cutmix=1.0)
    # A blend of two images of one value each has one value; an image with a hole two.
    cut = [bool(np.ptp(feed[batch][0], axis=(1, 2, 3)).any()) for batch in range(24)]
    assert 4 < sum(cut) < 20


# --- teachers' answers -------------------------------------------------------------


def test_batches_repeat_with_their_answers(split):
    """Two epochs of seven batches; each answer carries the number of its batch."""
    answers = np.zeros((14, 5, CLASSES), np.float16)
    answers += np.arange(14, dtype=np.float16)[:, None, None]
    feed = feed_of(split, augmentation=Augmentation(), mixup=0.2, answers=answers)
    plain = feed_of(split, augmentation=Augmentation(), mixup=0.2)
    for index in (0, 6, 13, 14, 30):
        images, targets, weights = feed[index]
        expected = plain[index % 14]
        assert np.array_equal(images, expected[0])
        assert np.array_equal(targets[:, :CLASSES], expected[1])
        assert np.array_equal(targets[:, CLASSES:], answers[index % 14])
        assert np.array_equal(weights, expected[2])


def test_resumed_feed_gives_the_answers_of_the_unbroken_one(split):
    answers = np.random.default_rng(0).random((14, 5, CLASSES)).astype(np.float16)
    unbroken, resumed = (
        feed_of(split, answers=answers, first_epoch=first) for first in (0, 3)
    )
    for index in range(9):
        for a, b in zip(resumed[index], unbroken[21 + index], strict=True):
            assert np.array_equal(a, b)


# --- processes and stored images ---------------------------------------------------


@pytest.fixture(scope="module")
def photo_set(tmp_path_factory):
    root = tmp_path_factory.mktemp("images")
    rng = np.random.default_rng(5)
    for label in ("cat", "dog"):
        (root / "train" / label).mkdir(parents=True)
        (root / "val" / label).mkdir(parents=True)
        for i in range(30):
            folder = root / ("train" if i < 25 else "val") / label
            image = rng.integers(0, 256, (40, 50, 3), np.uint8)
            cv2.imwrite(str(folder / f"{i}.png"), image)
    return root


@pytest.mark.parametrize("cache", CACHES)
@pytest.mark.parametrize("count", [0, 2, 3])
def test_batches_are_the_same_with_any_processes_and_cache(
    photo_set, tmp_path, monkeypatch, cache, count
):
    monkeypatch.setenv("FER_EDGE_CACHE", str(tmp_path))
    options = {"augmentation": PHOTO_AUGMENTATION, "mixup": 0.2, "cutmix": 1.0}

    def feed(cache, workers):
        split = load(photo_set, size_px=32, decoder=Decoder(cache, 1)).train
        split = replace(split, sources=np.arange(len(split)) % 2)
        targets = np.eye(2, dtype=np.float32)[split.labels]
        looks = Appearances(split, 1.0)
        return TrainingFeed(
            split,
            8,
            targets=targets,
            seed=3,
            workers=workers,
            appearances=looks,
            **options,
        )

    expected = feed("ram", None)
    with Workers(count) if count else nullcontext() as workers:
        found = feed(cache, workers)
        for index in [0, 0, 1, 2, 3, 7, 8, 4]:  # Keras asks for the first ones twice
            for a, b in zip(found[index], expected[index], strict=True):
                assert np.array_equal(a, b)


def test_resumed_feed_with_processes_gives_the_batches_of_the_unbroken_one(split):
    answers = np.random.default_rng(0).random((14, 5, CLASSES)).astype(np.float16)
    unbroken = feed_of(split, augmentation=Augmentation(), answers=answers)
    with Workers(2) as workers:
        resumed = feed_of(
            split,
            augmentation=Augmentation(),
            answers=answers,
            first_epoch=3,
            workers=workers,
        )
        for index in range(9):
            for a, b in zip(resumed[index], unbroken[21 + index], strict=True):
                assert np.array_equal(a, b)


def test_error_in_a_process_is_kept_for_the_one_who_trains(photo_set, tmp_path):
    root = Path(shutil.copytree(photo_set, tmp_path / "set"))
    split = load(root, size_px=32, decoder=Decoder("none", 1)).train
    shutil.rmtree(root)
    targets = np.eye(2, dtype=np.float32)[split.labels]
    with Workers(2) as workers:
        feed = TrainingFeed(
            split,
            8,
            targets=targets,
            augmentation=NO_AUGMENTATION,
            seed=1,
            workers=workers,
        )
        with pytest.raises(DatasetError, match="--cache none"):
            feed[0]
    assert isinstance(feed.error, DatasetError)
