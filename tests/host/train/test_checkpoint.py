"""The state of an unfinished run: there or not there, never in between."""

import dataclasses

import numpy as np
import pytest

from edge_runtime.errors import RunError
from train.networks.backend import start_keras

start_keras()

import keras  # noqa: E402

from train.run import checkpoint  # noqa: E402
from train.run.checkpoint import Progress  # noqa: E402
from train.run.epoch_callback import estimate_left_s  # noqa: E402


def network(units=4):
    inputs = keras.Input((3,))
    model = keras.Model(inputs, keras.layers.Dense(units)(inputs))
    model.compile(keras.optimizers.SGD(0.1, momentum=0.9), "mse")
    return model


@pytest.fixture
def trained():
    keras.utils.set_random_seed(1)
    model = network()
    x = np.random.default_rng(0).normal(size=(16, 3)).astype(np.float32)
    model.fit(x, x @ np.ones((3, 4), np.float32), epochs=1, verbose=0)
    return model


def state(model):
    weights = [np.asarray(one) for one in model.weights]
    return weights + [np.asarray(one) for one in model.optimizer.variables]


def test_weights_and_optimizer_state_come_back(trained, tmp_path):
    checkpoint.save(tmp_path, trained, Progress(epoch=1), best=None)
    fresh = network()
    checkpoint.restore(tmp_path, fresh, checkpoint.load_progress(tmp_path))
    for one, other in zip(state(trained), state(fresh), strict=True):
        assert np.array_equal(one, other)


def test_loss_scale_of_float16_comes_back(tmp_path):
    """Its optimizer is built when the model is compiled, and only once."""
    both = []
    for _ in range(2):
        model = network()
        sgd = keras.optimizers.SGD(0.1, momentum=0.9)
        model.compile(keras.optimizers.LossScaleOptimizer(sgd), "mse")
        model.optimizer.build(model.trainable_variables)
        both.append(model)
    before, fresh = both
    before.optimizer.dynamic_scale.assign(4.0)
    checkpoint.save(tmp_path, before, Progress(epoch=1), best=None)
    checkpoint.restore(tmp_path, fresh, checkpoint.load_progress(tmp_path))
    assert float(fresh.optimizer.dynamic_scale) == 4.0
    for one, other in zip(state(before), state(fresh), strict=True):
        assert np.array_equal(one, other)


def test_progress_comes_back(trained, tmp_path):
    rows = ({"epoch": 1, "loss": 0.5}, {"epoch": 2, "loss": 0.25})
    progress = Progress(epoch=2, best_epoch=1, best_accuracy=0.75, history=rows)
    saved = checkpoint.save(tmp_path, trained, progress, best=None)
    assert checkpoint.load_progress(tmp_path) == saved
    assert saved.history == rows


def test_nothing_saved_is_a_fresh_start(tmp_path):
    assert checkpoint.load_progress(tmp_path) == Progress()
    model = network()
    before = [np.asarray(one) for one in model.weights]
    checkpoint.restore(tmp_path, model, Progress())
    for one, other in zip(before, model.weights, strict=True):
        assert np.array_equal(one, np.asarray(other))


def test_older_weights_are_removed(trained, tmp_path):
    for epoch in (1, 2, 3):
        checkpoint.save(tmp_path, trained, Progress(epoch=epoch), best=None)
    names = sorted(path.name for path in tmp_path.iterdir())
    assert names == ["epoch-0003.weights.h5", "progress.json"]


def test_best_model_of_an_earlier_epoch_is_kept(trained, tmp_path):
    saved = checkpoint.save(tmp_path, trained, Progress(epoch=1), best=trained)
    later = dataclasses.replace(saved, epoch=2)
    checkpoint.save(tmp_path, trained, later, best=None)
    names = sorted(path.name for path in tmp_path.iterdir())
    assert names == ["best-0001.keras", "epoch-0002.weights.h5", "progress.json"]
    checkpoint.publish_best(tmp_path, tmp_path / "out" / "model.keras", later)
    best = (tmp_path / "best-0001.keras").read_bytes()
    assert (tmp_path / "out" / "model.keras").read_bytes() == best


def test_failed_save_leaves_the_state_before(trained, tmp_path, monkeypatch):
    """As a kill between the weights and the small file that names them."""
    checkpoint.save(tmp_path, trained, Progress(epoch=1), best=None)

    def fail(*_):
        raise OSError("disk full")

    monkeypatch.setattr(checkpoint, "write_text", fail)
    with pytest.raises(OSError, match="disk full"):
        checkpoint.save(tmp_path, trained, Progress(epoch=2), best=None)
    monkeypatch.undo()
    progress = checkpoint.load_progress(tmp_path)
    assert progress.epoch == 1
    checkpoint.restore(tmp_path, network(), progress)


@pytest.mark.parametrize(
    "text", ["", "{", "[]", '{"unheard_of": 1}', '"text"'], ids=repr
)
def test_damaged_progress_is_a_run_error(tmp_path, text):
    (tmp_path / "progress.json").write_text(text)
    with pytest.raises(RunError, match=r"progress\.json is damaged"):
        checkpoint.load_progress(tmp_path)


@pytest.mark.parametrize("content", [None, b"no hdf5"], ids=["missing", "damaged"])
def test_lost_weights_are_a_run_error(trained, tmp_path, content):
    checkpoint.save(tmp_path, trained, Progress(epoch=1), best=None)
    weights = tmp_path / "epoch-0001.weights.h5"
    weights.unlink()
    if content is not None:
        weights.write_bytes(content)
    with pytest.raises(RunError, match="cannot resume"):
        checkpoint.restore(tmp_path, network(), checkpoint.load_progress(tmp_path))


# Keras guesses at the reason before it raises.
@pytest.mark.filterwarnings("ignore:Skipping nested container:UserWarning")
def test_weights_of_another_network_are_a_run_error(trained, tmp_path):
    checkpoint.save(tmp_path, trained, Progress(epoch=1), best=None)
    with pytest.raises(RunError, match="cannot resume"):
        checkpoint.restore(
            tmp_path, network(units=5), checkpoint.load_progress(tmp_path)
        )


def test_first_epoch_does_not_count_in_the_estimate_where_others_do():
    assert estimate_left_s([120], 3) == 360
    assert estimate_left_s([120, 4, 6], 3) == 15
