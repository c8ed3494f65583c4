"""``python -m train.average``: the mean of runs, and the shifted prior."""

import json

import numpy as np
import pytest

from train import average
from train.architectures import build_model
from train.run_folder import RunFolder

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
        average.normalised(weights, 2)


def test_shares_sum_to_one():
    assert average.normalised([3, 7], 2) == pytest.approx([0.3, 0.7])


@pytest.mark.parametrize("key", ["arch", "data_fingerprint"])
def test_runs_of_other_networks_or_images_are_refused(runs, key):
    record = runs[1].read_json(runs[1].config)
    (record["config"] if key == "arch" else record)[key] = "other"
    runs[1].write_json(runs[1].config, record)
    with pytest.raises(average.RunError, match="one network and image set"):
        average.common_record(runs)


def test_run_without_a_model_is_refused(runs):
    runs[0].model.unlink()
    with pytest.raises(average.RunError, match="has no model yet"):
        average.common_record(runs)


def test_missing_run_is_one_line_and_leaves_nothing(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert average.main(["nowhere"]) == 2
    assert "no config.json there" in capsys.readouterr().err
    assert not (tmp_path / "runs").exists()
