"""Recipe transfer: the last layer first, BatchNorm kept, rates by layer, early ends."""

import dataclasses
import json

import numpy as np
import pytest

from train.__main__ import build_config, main
from train.networks.backend import start_keras
from train.options.config import TrainConfig

start_keras()

import keras  # noqa: E402
from keras import layers  # noqa: E402

from edge_runtime.errors import FerEdgeError, RunError  # noqa: E402
from tests.host.train.test_fit import tiny_features, write_images  # noqa: E402
from train.data import dataset  # noqa: E402
from train.networks import architectures  # noqa: E402
from train.optimization.head import fit_head, fit_softmax  # noqa: E402
from train.optimization.optimizer import (  # noqa: E402
    build_optimizer,
    compile_model,
    layer_rates,
)
from train.options.recipes import RECIPES  # noqa: E402
from train.release.__main__ import require_finished  # noqa: E402
from train.run.checkpoint import Progress, is_kept, stop_reason  # noqa: E402
from train.run.folder import RunFolder  # noqa: E402


@pytest.fixture(scope="module", autouse=True)
def _tiny_architecture():
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(architectures.ARCHITECTURES, "efficientnet_lite0", tiny_features)
        yield


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return write_images(tmp_path_factory.mktemp("images") / "set", 12)


def flags(data, run, *more, weights=("--pretrained", "none")):
    named = ("--data", str(data), "--name", str(run), "--recipe", "transfer")
    return [*named, *weights, *more]


def tiny_model(channels=1):
    return architectures.build_model(
        "efficientnet_lite0", size_px=16, channels=channels, classes=3
    )


# --- rates by layer ----------------------------------------------------------------


@pytest.mark.parametrize("optimizer", ["sgd", "adam", "adamw"])
def test_each_tensor_is_stepped_at_its_own_rate(optimizer):
    config = TrainConfig(
        optimizer=optimizer, weight_decay=0.0, ema_epochs=0, warmup_epochs=0
    )
    rates = [0.1, 0.5, 1.0]
    steps = {}
    for name, used in (("own", rates), ("one", [1.0] * 3)):
        tensors = [keras.Variable(np.ones(2)) for _ in rates]
        made = build_optimizer(config, 100, used)
        made.build(tensors)
        made.apply([keras.ops.ones(2) for _ in rates], tensors)
        steps[name] = np.array([1 - np.asarray(tensor)[0] for tensor in tensors])
    np.testing.assert_allclose(steps["own"], steps["one"] * rates, rtol=1e-3)
    assert steps["one"].min() > 0


def test_rates_rise_from_the_first_layer_to_the_last():
    model = tiny_model()
    rates = layer_rates(model, TrainConfig(first_layer_rate=0.01))
    assert len(rates) == len(model.trainable_variables)
    assert rates == sorted(rates)
    assert (rates[0], rates[-1]) == pytest.approx((0.01, 1.0))
    assert set(layer_rates(model, TrainConfig())) == {1.0}


@pytest.mark.parametrize("rate", [0.0, -1.0, 1.1, float("nan")])
def test_impossible_rate_is_refused(rate):
    with pytest.raises(FerEdgeError, match="first layer"):
        TrainConfig(first_layer_rate=rate)


# --- BatchNorm ---------------------------------------------------------------------


@pytest.mark.parametrize("frozen", [True, False])
def test_frozen_batch_norm_stays_as_it_is(frozen):
    model = tiny_model()
    config = dataclasses.replace(
        RECIPES["transfer"].config,
        freeze_batch_norm=frozen,
        frozen_stride=0,
        warmup_epochs=0,
    )
    norm = next(x for x in model.layers if isinstance(x, layers.BatchNormalization))
    convolution = next(x for x in model.layers if isinstance(x, layers.Conv2D))
    before = [value.copy() for value in norm.get_weights()]
    kernel = convolution.get_weights()[0].copy()
    compile_model(model, config, 10)
    pixels = np.random.default_rng(0).integers(0, 256, (8, 16, 16, 1))
    model.fit(pixels, np.eye(3)[np.arange(8) % 3], verbose=0)
    same = [
        np.array_equal(old, new)
        for old, new in zip(before, norm.get_weights(), strict=True)
    ]
    assert same == [frozen] * 4
    assert not np.array_equal(convolution.get_weights()[0], kernel)


@pytest.mark.parametrize(("stride", "kept"), [(0, 0), (1, 1), (2, 2), (8, 2)])
def test_layers_of_the_larger_sizes_stay_as_they_are(stride, kept):
    inputs = keras.Input((16, 16, 1))
    x = layers.Conv2D(2, 3, padding="same", name="whole")(inputs)
    x = layers.Conv2D(2, 3, strides=2, padding="same", name="half")(x)
    x = layers.GlobalAveragePooling2D()(x)
    model = keras.Model(inputs, layers.Dense(3, name="logits")(x))
    config = TrainConfig(frozen_stride=stride, warmup_epochs=0)
    before = {layer.name: layer.get_weights() for layer in model.layers}
    compile_model(model, config, 10)
    pixels = np.random.default_rng(0).integers(0, 256, (8, 16, 16, 1))
    model.fit(pixels, np.eye(3)[np.arange(8) % 3], verbose=0)
    same = [
        name
        for name in ("whole", "half", "logits")
        if np.array_equal(before[name][0], model.get_layer(name).get_weights()[0])
    ]
    assert same == ["whole", "half"][:kept]


@pytest.mark.parametrize(
    ("weights", "kept"),
    [({"pretrained": "none"}, False), ({}, True), ({"start_from": "fer2013"}, True)],
)
def test_nothing_of_random_weights_is_kept(weights, kept):
    config = build_config({"recipe": "transfer", **weights})
    assert config.freeze_batch_norm == kept
    assert bool(config.frozen_stride) == kept
    assert bool(config.head_views) == kept


# --- the last layer ----------------------------------------------------------------


def test_softmax_regression_finds_the_classes():
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 3, 300)
    features = rng.normal(0, 1, (300, 20)) * np.geomspace(0.01, 100, 20) + 7
    features[:, 3] = 5.0  # says nothing and has no deviation
    features[np.arange(300), labels] += 4 * np.geomspace(0.01, 100, 20)[labels]
    weights = fit_softmax(features, np.eye(3)[labels])
    predicted = (features @ weights[:-1] + weights[-1]).argmax(axis=1)
    assert (predicted == labels).mean() > 0.97
    assert np.isfinite(weights).all()


def test_feature_that_hardly_varies_gets_no_huge_weight():
    """In int8 it would leave no step to the others."""
    rng = np.random.default_rng(0)
    labels = np.arange(24) % 3
    features = rng.normal(0, 1, (24, 20))
    features[:, 3] = np.where(np.arange(24) == 5, 1e-5, 0)
    weights = np.abs(fit_softmax(features, np.eye(3)[labels])[:-1])
    assert weights[3].max() < weights.max()


@pytest.mark.parametrize("views", [1, 3])
def test_head_is_fitted_and_all_below_it_stays(data, views):
    images = dataset.load(data).train
    model = tiny_model(images.images.shape[-1])
    before = [weight.copy() for weight in model.get_weights()]
    config = dataclasses.replace(RECIPES["transfer"].config, head_views=views)
    fit_head(model, images, np.eye(3, dtype="f4")[images.labels], config)
    after = model.get_weights()
    for old, new in zip(before[:-2], after[:-2], strict=True):
        np.testing.assert_array_equal(old, new)
    predicted = model.predict(images.images, verbose=0).argmax(axis=1)
    assert (predicted == images.labels).mean() > 0.6


# --- whole runs --------------------------------------------------------------------


def test_small_set_gets_three_hundred_steps(data, tmp_path, capsys):
    run, start = tmp_path / "run", tmp_path / "start"
    assert main(flags(data, start, "--epochs", "1")) == 0
    assert "first the last layer alone" not in capsys.readouterr().out
    weights = ("--from", str(start))
    assert main(flags(data, run, "--patience", "3", weights=weights)) == 0
    assert "first the last layer alone" in capsys.readouterr().out
    config = json.loads((run / "config.json").read_text())["config"]
    assert config["epochs"] * (36 // config["batch_size"]) >= 300
    metrics = json.loads((run / "metrics.json").read_text())
    assert metrics["epochs"] < config["epochs"]  # it was learnt long before
    assert metrics["ended_early"].startswith("no better validation accuracy in 3")


def test_ended_run_is_finished_resumed_and_released(data, tmp_path, capsys):
    run = tmp_path / "run"
    assert main(flags(data, run, "--max-time", "0.02s")) == 0
    assert "ends here: --max-time" in capsys.readouterr().out
    metrics = json.loads((run / "metrics.json").read_text())
    assert metrics["epochs"] == 1
    model = (run / "model.keras").read_bytes()
    assert main(["--resume", str(run)]) == 0
    assert (run / "model.keras").read_bytes() == model
    with pytest.raises(RunError, match="python -m export"):  # nothing else is missing
        require_finished(RunFolder(run))


def test_resumed_run_has_the_losses_of_the_unbroken_one(data, tmp_path, monkeypatch):
    from train.run import epoch_callback

    def stop_after_first(self, epoch, row):
        kept(self, epoch, row)
        if epoch == 1:
            raise KeyboardInterrupt

    losses = {}
    kept = epoch_callback.EpochCallback._save
    for name in ("unbroken", "broken"):
        run = tmp_path / name
        if name == "broken":
            monkeypatch.setattr(epoch_callback.EpochCallback, "_save", stop_after_first)
            assert main(flags(data, run, "--epochs", "3")) == 130
            monkeypatch.undo()
            assert main(["--resume", str(run)]) == 0
        else:
            assert main(flags(data, run, "--epochs", "3")) == 0
        rows = (run / "history.csv").read_text().splitlines()[1:]
        losses[name] = [float(row.split(",")[1]) for row in rows]
    # float32 sums of several threads differ in their last digits.
    assert losses["broken"] == pytest.approx(losses["unbroken"], rel=1e-3)


# --- which epoch is kept -----------------------------------------------------------


@pytest.mark.parametrize(
    ("keep", "accuracies", "kept"),
    [
        ("best", [0.5, 0.7, 0.7, 0.69, 0.71], [0, 1, 4]),
        # A standard error of 0.8 on 100 images is 0.04.
        ("latest", [0.5, 0.8, 0.77, 0.75, 0.78], [0, 1, 2, 4]),
        ("latest", [0.8, 0.77, 0.745], [0, 1]),  # from the highest, not the last kept
        ("latest", [0.9, 1.0, 1.0, 0.99, 1.0], [0, 1, 2, 4]),  # no standard error
    ],
)
def test_epochs_are_kept_by_their_validation_accuracy(keep, accuracies, kept):
    rows = [{"val_accuracy": value} for value in accuracies]
    config = TrainConfig(keep=keep)
    found = [
        number
        for number in range(len(rows))
        if is_kept(config, rows[: number + 1], images=100)
    ]
    assert found == kept


# --- when a run ends ---------------------------------------------------------------


def progress(epoch, best, seconds=10.0):
    rows = tuple(
        {"seconds": seconds, "val_accuracy": 0.9 if number == best else 0.8}
        for number in range(1, epoch + 1)
    )
    return Progress(epoch=epoch, best_epoch=best, history=rows)


@pytest.mark.parametrize(
    ("config", "at", "reason"),
    [
        ({}, progress(20, 1), ""),
        ({"patience": 5}, progress(7, 3), ""),
        ({"patience": 5}, progress(8, 3), "no better validation accuracy in 5"),
        ({"max_time_s": 60}, progress(5, 5), ""),
        ({"max_time_s": 60}, progress(6, 6), "--max-time"),
        ({"max_time_s": 1}, progress(0, 0), ""),
        ({"max_time_s": 1, "patience": 1}, progress(30, 1), ""),
    ],
    ids=[
        "no-limit",
        "still-patient",
        "patience-over",
        "time-left",
        "time-over",
        "never-without-an-epoch",
        "all-epochs-done",
    ],
)
def test_run_ends_when_told(config, at, reason):
    got = stop_reason(TrainConfig(epochs=30, **config), at)
    assert got.startswith(reason)
    assert bool(got) == bool(reason)
