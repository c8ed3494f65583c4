"""Targets of teachers and raters: mixed as stated, kept, and refused when foreign."""

import dataclasses
import shutil
from pathlib import Path

import numpy as np
import pytest

from edge_runtime.errors import DatasetError, RunError
from train.data.augment import NO_AUGMENTATION, Augmentation
from train.data.dataset import Dataset
from train.data.sources import times_drawn
from train.data.splits import TEST, TRAIN, VALIDATION, Split, carve_validation
from train.networks.backend import start_keras
from train.options.config import TrainConfig
from train.run.folder import RunFolder

start_keras()

import keras  # noqa: E402

from train.distillation import distill, teachers  # noqa: E402
from train.distillation.loss import DistillationLoss, target_accuracy  # noqa: E402
from train.distillation.training_inputs import prepare_inputs  # noqa: E402
from train.feed import TrainingFeed  # noqa: E402
from train.optimization import initialization  # noqa: E402
from train.run import results  # noqa: E402
from train.run.checkpoint import Progress  # noqa: E402

COUNT, LABELS = 12, ("cat", "dog", "owl")
CLASSES = len(LABELS)


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setattr(teachers, "CACHE", tmp_path / "cache")


def split_of(count, seed=0):
    rng = np.random.default_rng(seed)
    images = rng.integers(0, 256, (count, 16, 16, 1), dtype=np.uint8)
    labels = np.arange(count) % CLASSES
    return Split(images, labels, tuple(f"train/{i}.png" for i in range(count)))


@pytest.fixture(scope="module")
def data():
    empty = split_of(0)
    return Dataset("drawn", LABELS, 16, "grey", split_of(COUNT), empty, empty)


def network(bias=(0.0, 0.0, 0.0), *, size=16, activation=None):
    """Answers the bias, plus the mean of the left half of the image for a cat."""
    inputs = keras.Input((size, size, 1))
    left = keras.layers.Cropping2D(((0, 0), (0, size // 2)))(inputs)
    x = keras.layers.GlobalAveragePooling2D()(left)
    outputs = keras.layers.Dense(len(bias), activation=activation)(x)
    model = keras.Model(inputs, outputs)
    slope = np.zeros((1, len(bias)))
    slope[0, 0] = 0.01
    model.layers[-1].set_weights([slope, np.array(bias)])
    return model


def saved(folder, model, name="teacher"):
    path = folder / f"{name}.keras"
    model.save(path)
    return str(path)


def votes_file(folder, rows):
    path = folder / "votes.csv"
    lines = [f"train/{i}.png,{','.join(map(str, row))}" for i, row in rows.items()]
    path.write_text("\n".join(["file,cat,dog,owl,NF", *lines]) + "\n")
    return str(path)


ALL_VOTES = {i: (*(8 * (i % 3 == k) for k in range(3)), 2) for i in range(COUNT)}


# --- the mixture -------------------------------------------------------------------


@pytest.mark.parametrize("smoothing", [0.0, 0.1, 0.5])
def test_smoothed_label_is_a_distribution(smoothing):
    hard = distill.hard_targets(np.array([2, 0]), CLASSES, smoothing)
    assert hard.dtype == np.float32
    assert np.allclose(hard.sum(axis=1), 1)
    assert np.allclose(hard.max(axis=1), 1 - smoothing + smoothing / CLASSES)
    assert hard.argmax(axis=1).tolist() == [2, 0]


def test_mixture_has_the_stated_shares():
    hard = np.array([[1, 0]], np.float32)
    one, other = np.array([[0.5, 0.5]], np.float32), np.array([[0, 1]], np.float32)
    mixed = distill.mix(hard, [(0.2, one), (0.4, other)])
    assert mixed == pytest.approx(np.array([[0.4 + 0.1, 0.1 + 0.4]]))


def test_unknown_distribution_leaves_its_share_to_the_label():
    hard = np.array([[1, 0], [1, 0]], np.float32)
    votes = np.array([[np.nan, np.nan], [0, 1]], np.float32)
    assert distill.mix(hard, [(0.4, votes)]) == pytest.approx(
        np.array([[1, 0], [0.6, 0.4]])
    )


def test_votes_have_their_share_of_what_the_teachers_leave(data, tmp_path):
    """0.2 for teachers, 0.4 for votes, 0.4 for the label: half of the target each."""
    votes = votes_file(tmp_path, ALL_VOTES)
    config = TrainConfig(
        teachers=("any",),
        teacher_share=0.2,
        soft_labels=votes,
        soft_label_share=0.4,
        label_smoothing=0,
    )
    targets = distill.compute_targets(config, data)
    assert np.allclose(targets.sum(axis=1), 1, atol=1e-6)
    alone = distill.compute_targets(
        dataclasses.replace(config, teachers=(), soft_label_share=0.5), data
    )
    assert np.allclose(targets, alone, atol=1e-6)


def test_probability_rule_trains_on_the_shares_of_the_votes(data, tmp_path):
    votes = votes_file(tmp_path, {i: (6, 2, 1, 1) for i in range(COUNT)})
    config = TrainConfig(
        labels_from=votes, label_rule="probability", label_smoothing=0.1
    )
    targets = distill.compute_targets(config, data)
    assert np.allclose(targets, 0.9 * np.array([0.75, 0.25, 0]) + 0.1 / 3)


def test_majority_rule_trains_on_the_label(data, tmp_path):
    votes = votes_file(tmp_path, ALL_VOTES)
    config = TrainConfig(labels_from=votes, label_smoothing=0)
    assert np.array_equal(
        distill.compute_targets(config, data), np.eye(CLASSES)[data.train.labels]
    )


# --- teachers ----------------------------------------------------------------------


def build_config(*teachers, **more):
    return TrainConfig(teachers=teachers, **more)


def feed_for(data, **more):
    options = {"targets": np.eye(CLASSES, dtype=np.float32)[data.train.labels]}
    options |= {"augmentation": Augmentation(), "seed": teachers.VIEWS_SEED, **more}
    return TrainingFeed(data.train, 4, **options)


def answers_of(config, data, **more):
    return teachers.teacher_answers(config, data, data.train, feed_for(data, **more))


def expected_answers(feed, views, temperature):
    """What ``network`` answers to the images of the feed's first epochs."""
    batches = np.stack([feed[i][0] for i in range(views * feed.steps_per_epoch)])
    logits = np.zeros((len(batches), 4, CLASSES))
    logits[..., 0] += 0.01 * batches[:, :, :, :8].mean(axis=(2, 3, 4))
    scaled = np.exp(logits / temperature)
    return scaled / scaled.sum(axis=2, keepdims=True)


@pytest.mark.parametrize("temperature", [1.0, 4.0])
@pytest.mark.parametrize("mixup", [0.0, 0.4])
def test_answers_are_to_the_images_that_the_student_sees(
    data, tmp_path, temperature, mixup
):
    config = build_config(
        saved(tmp_path, network()), teacher_views=3, teacher_temperature=temperature
    )
    found = answers_of(config, data, mixup=mixup)
    assert (found.shape, found.dtype) == ((9, 4, CLASSES), np.float16)
    expected = expected_answers(feed_for(data, mixup=mixup), 3, temperature)
    assert np.allclose(found, expected, atol=2e-3)


def test_probabilities_of_several_teachers_are_averaged(data, tmp_path):
    paths = [
        saved(tmp_path, network((0.0, 3.0, 0.0)), "one"),
        saved(tmp_path, network((0.0, 0.0, 3.0)), "other"),
    ]
    alone = [answers_of(build_config(path), data) for path in paths]
    both = answers_of(build_config(*paths), data)
    assert np.allclose(both, (alone[0] + alone[1]) / 2, atol=2e-3)


def test_second_run_takes_the_answers_of_the_first(data, tmp_path, monkeypatch):
    config = build_config(saved(tmp_path, network()), teacher_temperature=1.0)
    first = answers_of(config, data)
    monkeypatch.setattr(teachers, "predict_logits", None)  # would fail
    assert np.array_equal(answers_of(config, data), first)
    warmer = dataclasses.replace(config, teacher_temperature=4.0)
    assert answers_of(warmer, data).max() < first.max()


@pytest.mark.parametrize(
    "change",
    [
        {"augmentation": NO_AUGMENTATION},
        {"mixup": 0.3},
        {"teacher_views": 2},
        {"batch_size": 3},
    ],
    ids=lambda change: next(iter(change)),
)
def test_answers_to_other_images_are_not_taken(data, tmp_path, monkeypatch, change):
    config = build_config(saved(tmp_path, network()))
    answers_of(config, data)
    asked = []

    def count(model, images):
        asked.append(len(images))
        return results.predict_logits(model, images)

    monkeypatch.setattr(teachers, "predict_logits", count)
    answers_of(dataclasses.replace(config, **change), data)
    assert asked


def test_answers_to_images_drawn_as_often_differ_by_which(data, tmp_path):
    """Two sets, one epoch of as many images: the batches hold others."""
    sources = np.repeat([0, 1], COUNT // 2)
    two = dataclasses.replace(data.train, sources=sources)
    path = saved(tmp_path, network())
    for weights in ((1.0, 3.0), (3.0, 1.0), (2.0, 2.0)):
        config = build_config(
            path, more_data=("b",), data_weights=weights, teacher_views=1
        )
        times = times_drawn(two, weights)
        feed = feed_for(data, times=times)
        found = teachers.teacher_answers(config, data, two, feed)
        assert np.allclose(found, expected_answers(feed, 1, 2.0), atol=2e-3)
    assert len(list(teachers.CACHE.iterdir())) == 3


def test_answers_to_images_of_other_appearance_are_not_taken(data, tmp_path):
    path = saved(tmp_path, network())
    for first in (COUNT // 2, COUNT // 3):
        sources = np.repeat([0, 1], [first, COUNT - first])
        two = dataclasses.replace(data.train, sources=sources)
        for most in (0.0, 1.0):
            config = build_config(
                path, more_data=("b",), data_weights=(1, 1), match_appearance=most
            )
            teachers.teacher_answers(config, data, two, feed_for(data))
    assert len(list(teachers.CACHE.iterdir())) == 4


def test_images_learnt_take_on_the_appearance_of_a_further_set(data):
    dark = data.train.images // 3
    sources = np.repeat([0, 1], len(dark))
    images = np.concatenate([data.train.images, dark])
    train = Split(images, np.tile(data.train.labels, 2), data.train.names * 2, sources)
    two = dataclasses.replace(data, train=train)
    seen = []
    for most in (0.0, 1.0):
        config = TrainConfig(
            more_data=("b",), match_appearance=most, augmentation=NO_AUGMENTATION
        )
        inputs = prepare_inputs(
            config, two, RunFolder(Path("none")), Progress(), None, resume=False
        )
        seen.append(inputs.feed[0][0].astype(float).mean())
    assert seen[1] < 0.9 * seen[0]


def test_damaged_cache_is_made_again(data, tmp_path):
    config = build_config(saved(tmp_path, network()))
    first = answers_of(config, data)
    (cached,) = teachers.CACHE.iterdir()
    cached.write_bytes(b"no array")
    assert np.array_equal(answers_of(config, data), first)


def test_cache_that_cannot_be_written_is_no_reason_to_stop(
    data, tmp_path, monkeypatch, capsys
):
    (tmp_path / "file").write_text("")
    monkeypatch.setattr(teachers, "CACHE", tmp_path / "file" / "below")
    assert len(answers_of(build_config(saved(tmp_path, network())), data))
    assert "was not written" in capsys.readouterr().out


def metrics_beside(path, labels):
    RunFolder(path).write_json(path / "metrics.json", {"labels": labels})


@pytest.mark.parametrize(
    ("model", "labels", "part"),
    [
        (lambda: network(size=20), None, "expected an input of (None, 16, 16, 1)"),
        (lambda: network((0.0, 0.0)), None, "got 2 classes"),
        (network, ["dog", "cat", "owl"], "got dog, cat, owl"),
        (network, ["cat", "dog", "cow"], "got cat, dog, cow"),
        (lambda: network(activation="softmax"), None, "got probabilities"),
    ],
    ids=["size", "class-count", "class-order", "class-names", "softmax"],
)
def test_foreign_teacher_is_refused(data, tmp_path, model, labels, part):
    path = saved(tmp_path, model())
    if labels:
        metrics_beside(tmp_path, labels)
    with pytest.raises(RunError, match=r"teacher .*teacher\.keras: expected") as raised:
        answers_of(build_config(path), data)
    assert part in str(raised.value)


def test_damaged_teacher_is_refused(data, tmp_path):
    (tmp_path / "teacher.keras").write_bytes(b"no zip")
    with pytest.raises(RunError, match="cannot load the teacher"):
        answers_of(build_config(str(tmp_path / "teacher.keras")), data)


# --- evaluation images that a teacher has seen -------------------------------------


def carved(seed):
    """The same images, split as --validation train splits them with this seed."""
    empty = split_of(0)
    whole = {TRAIN: split_of(COUNT), VALIDATION: empty, TEST: empty}
    splits = carve_validation(whole, 0.25, seed)
    return Dataset("drawn", LABELS, 16, "grey", *(splits[name] for name in splits))


def trained_with(seed, folder):
    """The model of a run that was trained on such a split."""
    path = saved(folder, network(), "model")
    metrics_beside(folder, LABELS)
    results.write_calibration_choice(RunFolder(folder), carved(seed), TrainConfig())
    return path


def learn_from_teacher(path, data):
    answers_of(build_config(path), data)


def begin_with_weights(path, data):
    assert initialization.copy_weights(network(), path, data)


USES = pytest.mark.parametrize("use", [learn_from_teacher, begin_with_weights])


@USES
def test_model_that_learnt_from_evaluation_images_is_refused(tmp_path, use):
    path = trained_with(2, tmp_path)
    with pytest.raises(RunError, match=r"at least \d of them: give both") as raised:
        use(path, carved(1))
    assert "\n" not in str(raised.value)


def test_way_out_of_weights_that_learnt_from_evaluation_images_is_named(tmp_path):
    with pytest.raises(RunError, match="or begin without them: --pretrained none"):
        begin_with_weights(trained_with(2, tmp_path), carved(1))


@USES
def test_test_images_are_guarded_as_well(tmp_path, use):
    path, data = trained_with(1, tmp_path), carved(1)
    with pytest.raises(RunError, match=f"at least {len(data.train)} of them"):
        use(path, dataclasses.replace(data, test=data.train))


@USES
def test_model_of_the_same_split_is_accepted(tmp_path, use):
    use(trained_with(1, tmp_path), carved(1))


# --- the loss ----------------------------------------------------------------------


def cross_entropy(target, logits):
    log_p = logits - np.log(np.exp(logits).sum(axis=1, keepdims=True))
    return -(target * log_p).sum(axis=1)


@pytest.mark.parametrize(("share", "temperature"), [(0.0, 3.0), (0.5, 1.0), (0.8, 4.0)])
def test_loss_is_that_of_target_and_of_softened_answers(share, temperature):
    rng = np.random.default_rng(0)
    target, answers = rng.dirichlet(np.ones(CLASSES), (2, 5)).astype(np.float32)
    logits = rng.normal(size=(5, CLASSES)).astype(np.float32)
    expected = (1 - share) * cross_entropy(target, logits)
    softened = cross_entropy(answers, logits / temperature)
    expected += share * temperature**2 * softened
    loss = DistillationLoss(share, temperature)
    both = np.concatenate([target, answers], axis=1)
    assert np.allclose(np.asarray(loss.call(both, logits)), expected, atol=1e-4)


def test_accuracy_is_that_of_the_target():
    target = np.array([[1, 0, 0], [0, 1, 0]], np.float32)
    answers = np.array([[0, 0, 1], [0, 0, 1]], np.float32)
    logits = np.array([[3, 0, 0], [0, 0, 3]], np.float32)
    both = np.concatenate([target, answers], axis=1)
    assert np.asarray(target_accuracy(both, logits)).tolist() == [1, 0]
    assert np.asarray(target_accuracy(target, logits)).tolist() == [1, 0]


# --- images to leave out -----------------------------------------------------------


def without_faces(*numbers):
    return {**ALL_VOTES, **{number: (2, 2, 1, 5) for number in numbers}}


def test_images_that_raters_drop_are_not_trained_on(data, tmp_path):
    votes = votes_file(tmp_path, without_faces(1, 6))
    config = TrainConfig(soft_labels=votes, drop_categories=("NF",))
    targets = distill.compute_targets(config, data)
    split, answers = distill.select_images(data, targets)
    left_out = {"train/1.png", "train/6.png"}
    assert split.names == tuple(n for n in data.train.names if n not in left_out)
    assert not np.isnan(answers).any()


def test_images_stay_where_nothing_is_to_be_dropped(data, tmp_path):
    votes = votes_file(tmp_path, without_faces(1, 6))
    targets = distill.compute_targets(TrainConfig(soft_labels=votes), data)
    split, answers = distill.select_images(data, targets)
    assert split is data.train
    assert answers is targets


def test_class_that_loses_every_image_is_named(data, tmp_path):
    votes = votes_file(tmp_path, without_faces(*range(1, COUNT, 3)))
    config = TrainConfig(soft_labels=votes, drop_categories=("NF",))
    targets = distill.compute_targets(config, data)
    with pytest.raises(DatasetError, match="no training image of dog"):
        distill.select_images(data, targets)


# --- continued runs ----------------------------------------------------------------


VOTED = TrainConfig(soft_labels="gone.csv")


def test_kept_targets_outlive_the_votes(data, tmp_path):
    sources = tmp_path / "sources"
    sources.mkdir()
    config = TrainConfig(
        soft_labels=votes_file(sources, without_faces(4)),
        drop_categories=("NF",),
    )
    run = RunFolder(tmp_path / "run")
    targets = distill.compute_targets(config, data)
    distill.save_targets(targets, data, run)
    shutil.rmtree(sources)
    kept = distill.load_targets(config, data, run)
    assert np.array_equal(kept, targets, equal_nan=True)


def test_plain_labels_need_not_be_kept(data, tmp_path):
    kept = distill.load_targets(TrainConfig(), data, RunFolder(tmp_path / "run"))
    assert kept.argmax(axis=1).tolist() == data.train.labels.tolist()


@pytest.mark.parametrize(
    "content", [None, b"", b"no array"], ids=["missing", "empty", "damaged"]
)
def test_lost_targets_are_a_run_error(data, tmp_path, content):
    run = RunFolder(tmp_path / "run")
    run.checkpoint.mkdir(parents=True)
    if content is not None:
        (run.checkpoint / "targets.npy").write_bytes(content)
    with pytest.raises(RunError, match="cannot be resumed"):
        distill.load_targets(VOTED, data, run)


def test_targets_of_other_images_are_a_run_error(data, tmp_path):
    run = RunFolder(tmp_path / "run")
    distill.save_targets(np.ones((COUNT + 1, CLASSES), np.float32), data, run)
    with pytest.raises(RunError, match="of other images"):
        distill.load_targets(VOTED, data, run)


def test_targets_of_the_images_in_another_order_are_a_run_error(data, tmp_path):
    run = RunFolder(tmp_path / "run")
    distill.save_targets(np.ones((COUNT, CLASSES), np.float32), data, run)
    turned = data.train.take(np.arange(COUNT)[::-1])
    with pytest.raises(RunError, match="in another order"):
        distill.load_targets(VOTED, dataclasses.replace(data, train=turned), run)


@pytest.mark.parametrize("content", [None, "no json", "[]", "{}"])
def test_targets_that_name_no_images_are_a_run_error(data, tmp_path, content):
    run = RunFolder(tmp_path / "run")
    distill.save_targets(np.ones((COUNT, CLASSES), np.float32), data, run)
    order = run.checkpoint / distill.TARGETS_ORDER
    order.unlink() if content is None else order.write_text(content)
    with pytest.raises(RunError, match="missing or damaged: start a new run"):
        distill.load_targets(VOTED, data, run)


def test_answers_outlive_the_teacher(data, tmp_path):
    run = RunFolder(tmp_path / "run")
    answers = answers_of(build_config(saved(tmp_path, network())), data)
    teachers.save_answers(answers, run)
    assert np.array_equal(teachers.load_answers(run, answers.shape), answers)


@pytest.mark.parametrize("content", [None, b"", b"no array"])
def test_lost_answers_are_a_run_error(data, tmp_path, content):
    run = RunFolder(tmp_path / "run")
    run.checkpoint.mkdir(parents=True)
    if content is not None:
        (run.checkpoint / "answers.npy").write_bytes(content)
    with pytest.raises(RunError, match=r"cannot be resumed: answers\.npy"):
        teachers.load_answers(run, (9, 4, CLASSES))


def test_answers_of_another_shape_are_a_run_error(data, tmp_path):
    run = RunFolder(tmp_path / "run")
    teachers.save_answers(np.zeros((9, 4, CLASSES), np.float16), run)
    with pytest.raises(RunError, match="of other images"):
        teachers.load_answers(run, (8, 4, CLASSES))


def test_clearing_a_run_removes_its_targets(data, tmp_path):
    run = RunFolder(tmp_path / "run")
    teachers.save_answers(np.zeros((9, 4, CLASSES), np.float16), run)
    distill.save_targets(np.ones((COUNT, CLASSES), np.float32), data, run)
    run.clear()
    assert not list(run.checkpoint.iterdir())
