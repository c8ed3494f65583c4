"""--qat: the simulation is the exported file, and its ranges reach that file."""

import json
import shutil
import textwrap
from dataclasses import replace
from importlib.util import find_spec

import numpy as np
import pytest

from train.__main__ import main
from train.average import main as average
from train.networks.backend import start_keras

start_keras()

import keras  # noqa: E402

from edge_runtime.errors import RunError  # noqa: E402
from edge_runtime.graph.tflite import read_tflite  # noqa: E402
from tests.console import one_error_line  # noqa: E402
from tests.host.train.test_fit import write_images  # noqa: E402
from train.data import dataset  # noqa: E402
from train.networks.architectures import build_model  # noqa: E402
from train.options.config import TrainConfig  # noqa: E402
from train.quantization.calibration import calibrate  # noqa: E402
from train.quantization.configuration import (  # noqa: E402
    configuration_of,
    require_unfolded,
)
from train.quantization.folding import (  # noqa: E402
    fold_batch_norms,
    round_first_kernels,
)
from train.quantization.grid import grid_of, range_of_pixels  # noqa: E402
from train.quantization.network import points, simulate  # noqa: E402
from train.quantization.operators import find_operators  # noqa: E402
from train.quantization.record import load_trained_ranges  # noqa: E402

if find_spec("ai_edge_quantizer") is None:
    pytest.skip("needs the group export", allow_module_level=True)

from export import exporter  # noqa: E402
from export.calibration.activations import tflite_reader  # noqa: E402
from export.calibration.measure import measure_ranges  # noqa: E402
from export.calibration.trained_ranges import with_trained_ranges  # noqa: E402
from export.convert import tflite  # noqa: E402
from export.convert.converted_model import ConvertedModel  # noqa: E402
from export.convert.pixel_scaling import fold_rescaling  # noqa: E402
from export.convert.quantize_tflite import quantize  # noqa: E402
from export.options import ExportOptions  # noqa: E402

# The converters' own; nothing here depends on what they warn of.
pytestmark = pytest.mark.filterwarnings("ignore")

NETWORKS = """\
    from keras import layers

    def small(x):
        x = layers.Conv2D(8, 3, padding="same", use_bias=False)(x)
        x = layers.ReLU()(layers.BatchNormalization()(x))
        y = layers.SeparableConv2D(8, 3, padding="same")(x)
        y = layers.BatchNormalization(center=False)(y)
        x = layers.ReLU(6)(layers.Add()([x, y]))
        x = layers.Dropout(0.1)(layers.MaxPooling2D(2)(x))
        x = layers.Conv2D(12, 3, activation="relu")(layers.AveragePooling2D(2)(x))
        return layers.GlobalAveragePooling2D()(x)
"""


@pytest.fixture(scope="module")
def faces():
    return dataset.load("drawn", size_px=48, colour="grey", fit="stretch")


def with_statistics(model, images):
    """The network, with BatchNorms that have seen images."""
    for layer in model.layers:
        if isinstance(layer, keras.layers.BatchNormalization):
            layer.momentum = 0.5
    for _ in range(6):
        model(images.astype(np.float32), training=True)
    return model


@pytest.mark.parametrize(
    ("arch", "channels"),
    [("mini_xception", 1), ("fer_small", 1), ("mobilenet_v2_035", 3)],
)
def test_simulated_logits_are_those_of_the_exported_file(faces, arch, channels):
    keras.utils.set_random_seed(1)
    images = np.repeat(np.asarray(faces.train.images[:32]), channels, axis=-1)
    others = np.repeat(np.asarray(faces.validation.images[:200]), channels, axis=-1)
    model = build_model(arch, size_px=48, channels=channels, classes=7)
    model = with_statistics(model, images)
    operators = find_operators(model)
    fold_batch_norms(operators)
    round_first_kernels(model, operators)
    ranges = calibrate(model, operators, images)
    exact = tflite.to_tflite(fold_rescaling(model))
    reader = tflite_reader(exact)
    measured, lost = with_trained_ranges(
        measure_ranges(reader, images), ranges, reader, model, images
    )
    assert lost == []
    assert not measured.means  # biases make up for nothing: they were trained with it
    file = quantize(exact, measured.clipped)
    graph = read_tflite(file)
    step = graph.tensors[graph.outputs[0]].scales[0]
    simulated = simulate(model, operators, ranges).predict(others, verbose=0)
    differences = np.abs(ConvertedModel("tflite-int8", file).logits(others) - simulated)
    assert len(others) == 200
    assert differences.max() < 1.01 * step
    assert np.mean(differences < 0.01 * step) > 0.95  # mostly the very same
    # The bound can fail: other steps of one layer give other logits.
    wider = {**ranges, operators[3].name: (-50.0, 50.0)}
    other = simulate(model, operators, wider).predict(others, verbose=0)
    assert np.abs(other - simulated).max() > 2 * step


def test_folding_keeps_the_logits(faces):
    keras.utils.set_random_seed(2)
    images = np.asarray(faces.train.images[:32])
    model = build_model("mini_xception", size_px=48, channels=1, classes=7)
    model = with_statistics(model, images)
    before = model.predict(images, verbose=0)
    operators = find_operators(model)
    fold_batch_norms(operators)
    folded = model.predict(images, verbose=0)
    assert np.abs(folded - before).max() < 1e-4 * np.abs(before).max()
    gammas = [x.gamma for x in model.layers if hasattr(x, "gamma")]
    assert gammas and all(np.all(np.asarray(gamma) == 1) for gamma in gammas)
    shown = points(model, operators).predict(images, verbose=0)[operators[-1].name]
    assert np.abs(shown - before).max() < 1e-4 * np.abs(before).max()


def test_a_dead_channel_adds_what_it_added():
    """Its scale would be so small that int32 cannot hold what is added."""
    keras.utils.set_random_seed(3)
    pixels = keras.Input((16, 16, 1))
    x = keras.layers.Rescaling(1 / 255)(pixels)
    x = keras.layers.Conv2D(4, 3, name="first")(x)
    x = keras.layers.Conv2D(4, 3, use_bias=False, name="second")(x)
    x = keras.layers.BatchNormalization(name="norm")(x)
    x = keras.layers.GlobalAveragePooling2D()(x)
    model = keras.Model(pixels, keras.layers.Dense(3)(x))
    model.get_layer("norm").gamma.assign([1e-12, 1, 1, 1])
    model.get_layer("norm").beta.assign([3, 0, 0, 0])
    images = np.random.default_rng(1).integers(0, 256, (8, 16, 16, 1), dtype=np.uint8)
    before = model.predict(images, verbose=0)
    operators = find_operators(model)
    fold_batch_norms(operators)
    ranges = calibrate(model, operators, images)
    simulated = simulate(model, operators, ranges).predict(images, verbose=0)
    assert np.abs(simulated - before).max() < 0.05 * np.abs(before).max()


def test_scaled_pixels_lie_on_steps():
    for scale, offset in ((255 / 128, -127 / 128), (1.0, 0.0)):
        grid = grid_of(range_of_pixels(scale / 255, offset))
        steps = (np.arange(256) * scale / 255 + offset) / grid.step
        assert np.abs(steps - np.rint(steps)).max() < 1e-3
    grid = grid_of(range_of_pixels(2 / 255, -1.0))  # 0 lies between two pixels
    steps = (np.arange(256) * 2 / 255 - 1) / grid.step
    assert np.abs(steps - np.floor(steps) - 0.5).min() > 1e-3  # and none between steps


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """A float run, and one that went on from it with --qat."""
    folder = tmp_path_factory.mktemp("qat")
    data = write_images(folder / "images", 32)
    (folder / "net.py").write_text(textwrap.dedent(NETWORKS))
    common = ["--data", str(data), "--batch-size", "16", "--learning-rate", "0.02"]
    arch = ["--arch", f"{folder}/net.py:small", "--epochs", "2"]
    assert main([*common, *arch, "--name", f"{folder}/float"]) == 0
    (folder / "net.py").unlink()  # its network is in the run
    flags = ["--from", f"{folder}/float", "--qat", "--epochs", "2"]
    assert main([*flags, "--name", f"{folder}/qat"]) == 0
    return folder


def test_the_ranges_of_the_training_are_those_of_the_file(runs, tmp_path):
    run = tmp_path / "qat"
    shutil.copytree(runs / "qat", run)
    ranges = load_trained_ranges(run / "calibration_ranges.json")
    lines = []
    options = ExportOptions(formats=("int8", "onnx-int8"))
    export = exporter.export(str(run), options, lines.append)
    assert any("--qat" in line for line in lines)
    assert not any("rounds nothing" in line for line in lines)
    file = next(x for x in export.files if x.converted.format == "tflite-int8")
    graph = read_tflite(file.converted.model)
    scales = {float(x.scales[0]) for x in graph.tensors if len(x.scales) == 1}
    for name, values in ranges.items():
        step = grid_of(values).step
        assert any(abs(step - scale) < 1e-6 * step for scale in scales), name
    # What the exporter measured stands beside them; the second export reads it.
    record = json.loads((run / "calibration_ranges.json").read_text())
    assert {name: tuple(x) for name, x in record["trained"].items()} == ranges
    again = exporter.export(str(run), options, lines.append)
    assert [x.content for x in again.files] == [x.content for x in export.files]


def test_the_run_remembers_its_network_and_configuration(runs):
    config = json.loads((runs / "qat" / "config.json").read_text())["config"]
    before = json.loads((runs / "float" / "config.json").read_text())["config"]
    assert config["qat"] and config["start_from"] == f"{runs}/float"
    assert config["data"] == before["data"] and config["arch"] == before["arch"]
    model = keras.models.load_model(runs / "qat" / "model.keras")
    source = keras.models.load_model(runs / "float" / "model.keras")
    kinds = [[type(x).__name__ for x in each.layers] for each in (model, source)]
    assert kinds[0] == kinds[1]


def test_resumed_epochs_are_those_of_the_unbroken_run(runs, tmp_path, monkeypatch):
    from train.run.epoch_callback import EpochCallback

    save = EpochCallback._save

    def stop_after_first(self, epoch, row):
        save(self, epoch, row)
        raise KeyboardInterrupt

    run = tmp_path / "broken"
    flags = ["--from", f"{runs}/float", "--qat", "--epochs", "2", "--name", str(run)]
    monkeypatch.setattr(EpochCallback, "_save", stop_after_first)
    assert main(flags) == 130
    monkeypatch.setattr(EpochCallback, "_save", save)
    assert main(["--resume", str(run)]) == 0
    ours, theirs = (
        keras.models.load_model(path / "model.keras").get_weights()
        for path in (run, runs / "qat")
    )
    history = [(x / "history.csv").read_text() for x in (run, runs / "qat")]
    rows = [[line.split(",")[:-1] for line in x.splitlines()] for x in history]
    assert rows[0] == rows[1]
    assert all(map(np.array_equal, ours, theirs))


def test_a_resumed_run_without_its_ranges_is_one_line(runs, tmp_path, capsys):
    run = tmp_path / "qat"
    shutil.copytree(runs / "qat", run)
    (run / "calibration_ranges.json").unlink()
    assert main(["--resume", str(run)]) == 2
    assert "calibration_ranges.json" in one_error_line(capsys)


def test_a_damaged_record_of_such_a_run_is_to_be_restored(runs, tmp_path):
    run = tmp_path / "qat"
    shutil.copytree(runs / "qat", run)
    (run / "calibration_ranges.json").write_text("{")
    with pytest.raises(RunError, match="restore it"):
        exporter.export(str(run), ExportOptions(formats=("int8",)), print)


def test_other_trainings_do_not_go_on_from_folded_batch_norms(runs, tmp_path, capsys):
    flags = ["--from", f"{runs}/qat", "--data", f"{runs}/images", "--epochs", "1"]
    assert main([*flags, "--name", str(tmp_path / "run")]) == 2
    assert f"--from {runs}/float" in one_error_line(capsys)
    assert not (tmp_path / "run").exists()
    config = TrainConfig(data="x", start_from=f"{runs}/qat")
    require_unfolded(replace(config, freeze_batch_norm=True))
    require_unfolded(replace(config, qat=True))
    require_unfolded(replace(config, start_from=f"{runs}/float"))


def test_votes_that_are_gone_are_left_out_with_their_categories(runs, tmp_path, capsys):
    run, votes = tmp_path / "voted", tmp_path / "votes.csv"
    shutil.copytree(runs / "float", run)
    document = json.loads((run / "config.json").read_text())
    document["config"] |= {"soft_labels": str(votes), "drop_categories": ["nothing"]}
    (run / "config.json").write_text(json.dumps(document))
    config = configuration_of(str(run), ())
    assert (config.soft_labels, config.drop_categories) == ("", None)
    assert "are learnt again" in capsys.readouterr().out
    given = configuration_of(str(run), ("soft_labels",))
    assert given.drop_categories == ("nothing",)
    votes.touch()
    assert configuration_of(str(run), ()).drop_categories == ("nothing",)


def test_a_mean_of_such_runs_is_refused(runs, tmp_path, capsys):
    names = [f"{runs}/float", f"{runs}/qat"]
    assert average([*names, "--name", str(tmp_path / "mean")]) == 2
    assert "--qat" in one_error_line(capsys)


@pytest.mark.parametrize(
    ("flags", "expected"),
    [
        (["--qat"], "--from"),
        (["--qat", "--from", "{runs}/float", "--arch", "fer_small"], "--arch"),
        (["--qat", "--from", "{runs}/none"], "none"),
    ],
)
def test_wrong_use_is_one_line(runs, capsys, flags, expected):
    assert main([flag.format(runs=runs) for flag in flags]) == 2
    assert expected in one_error_line(capsys)


def test_a_layer_that_cannot_be_simulated_is_named_before_the_training():
    pixels = keras.Input((16, 16, 1))
    x = keras.layers.Rescaling(1 / 255)(pixels)
    x = keras.layers.Conv2D(4, 3, activation="swish", name="soft")(x)
    x = keras.layers.Flatten()(x)
    model = keras.Model(pixels, keras.layers.Dense(3)(x))
    with pytest.raises(RunError, match="soft cannot be simulated"):
        find_operators(model)
