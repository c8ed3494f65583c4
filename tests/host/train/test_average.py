"""``python -m train.average``: the mean of runs, and the shifted prior."""

import json

import cv2
import numpy as np
import pytest

from train import average, metrics
from train.__main__ import main as train_main
from train.data import dataset
from train.networks.architectures import build_model
from train.run.folder import RunFolder

KIND = {"size_px": 16, "channels": 1, "classes": 3}


@pytest.fixture
def runs(tmp_path):
    made = []
    for seed in (1, 2):
        import keras

        keras.utils.set_random_seed(seed)
        run = RunFolder(tmp_path / f"run-{seed}")
        run.checkpoint.mkdir(parents=True)
        build_model("fer_small", **KIND).save(run.model)
        record = {"config": {"arch": "fer_small"}, "data_fingerprint": "same"}
        run.write_json(run.config, record)
        progress = {"epoch": 1, "best_epoch": 1, "history": []}
        (run.checkpoint / "progress.json").write_text(json.dumps(progress))
        made.append(run)
    return made


def weights_of(run):
    import keras

    return keras.models.load_model(run.model, compile=False).get_weights()


def test_mean_model_has_the_weighted_mean_of_every_weight(runs):
    mean = average.mean_model(runs, [0.25, 0.75]).get_weights()
    first, second = (weights_of(run) for run in runs)
    for got, one, other in zip(mean, first, second, strict=True):
        np.testing.assert_allclose(got, 0.25 * one + 0.75 * other, atol=1e-6)
    assert not np.allclose(mean[0], first[0])


def test_shifted_prior_lowers_a_logit_by_its_log_frequency(runs):
    model = average.mean_model(runs, [0.5, 0.5])
    pixels = np.full((1, 16, 16, 1), 128, np.uint8)
    before = model.predict(pixels, verbose=0)
    average.shift_prior(model, np.array([90, 9, 1]), 0.5)
    change = model.predict(pixels, verbose=0) - before
    expected = -0.5 * np.log([[0.9, 0.09, 0.01]])
    np.testing.assert_allclose(change, expected, atol=1e-4)


@pytest.mark.parametrize("weights", [[1], [1, 0], [1, -1], [1, float("nan")]], ids=str)
def test_weights_must_be_one_positive_number_a_run(weights):
    with pytest.raises(average.FerEdgeError, match="positive --weights"):
        average.normalize_weights(weights, 2)


def test_shares_sum_to_one():
    assert average.normalize_weights([3, 7], 2) == pytest.approx([0.3, 0.7])


@pytest.mark.parametrize("key", ["arch", "width", "depth", "data_fingerprint"])
def test_runs_of_other_networks_or_images_are_refused(runs, key):
    record = runs[1].read_json(runs[1].config)
    (record if key == "data_fingerprint" else record["config"])[key] = "other"
    runs[1].write_json(runs[1].config, record)
    with pytest.raises(average.RunError, match="one network and image set"):
        average.require_same_kind(runs)


def test_run_without_a_model_is_refused(runs):
    runs[0].model.unlink()
    with pytest.raises(average.RunError, match="has no model yet"):
        average.require_same_kind(runs)


def test_missing_run_is_one_line_and_leaves_nothing(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert average.main(["nowhere"]) == 2
    assert "no config.json there" in capsys.readouterr().err
    assert not (tmp_path / "runs").exists()


def bytes_below(folder):
    return {p: p.read_bytes() for p in folder.rglob("*") if p.is_file()}


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A folder with the runs "one" and "two" of one epoch each; tests run in it."""
    folder = tmp_path_factory.mktemp("trained")
    rng = np.random.default_rng(1)
    for darkest, label in enumerate(("black", "white")):
        (folder / "images" / label).mkdir(parents=True)
        for i in range(40):
            image = 120 * darkest + rng.integers(0, 100, (16, 16))
            cv2.imwrite(str(folder / "images" / label / f"{i}.png"), image)
    arguments = "--data images --arch fer_small --recipe demo --epochs 1"
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        assert train_main([*arguments.split(), "--name", "one"]) == 0
        assert train_main([*arguments.split(), "--name", "two", "--from", "one"]) == 0
        yield folder


def test_average_is_a_run_with_its_own_figures(trained):
    before = bytes_below(trained / "runs")
    assert average.main(["one", "two", "--weights", "1", "3", "--name", "mean"]) == 0
    after = bytes_below(trained / "runs")
    assert {path: after[path] for path in before} == before
    run = RunFolder(trained / "runs" / "mean")
    document = run.read_json(run.metrics)
    parents = [(one["run"], one["share"]) for one in document["averaged"]["runs"]]
    assert parents == [("one", 0.25), ("two", 0.75)]
    assert "best_epoch" not in document
    data = dataset.load("images", seed=1)
    import keras

    model = keras.models.load_model(run.model, compile=False)
    answers = model.predict(data.validation.images, verbose=0).argmax(axis=1)
    matrix = metrics.confusion_matrix(data.validation.labels, answers, 2)
    assert document["validation"]["confusion_matrix"] == matrix.tolist()


@pytest.mark.parametrize("name", ["one", "two", "runs/two"])
def test_average_never_replaces_a_run_it_is_made_of(trained, capsys, name):
    before = bytes_below(trained / "runs")
    assert average.main(["one", "two", "--name", name, "--force"]) == 2
    assert "expected a new --name" in capsys.readouterr().err
    assert bytes_below(trained / "runs") == before


def test_senseless_prior_shift_leaves_no_folder(trained, capsys):
    assert average.main(["one", "two", "--prior-shift", "1.5", "--name", "x"]) == 2
    assert "expected 0..1" in capsys.readouterr().err
    assert not (trained / "runs" / "x").exists()


def test_run_without_its_checkpoint_is_refused(runs):
    (runs[1].checkpoint / "progress.json").unlink()
    with pytest.raises(average.RunError, match="no checkpoint"):
        average.require_history(runs[1])
