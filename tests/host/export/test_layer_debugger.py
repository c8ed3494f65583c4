"""The layer debugger finds a planted bad layer, and one exception mends it."""

import json
from types import SimpleNamespace

import cv2
import numpy as np
import pytest

from edge_runtime import Classifier
from edge_runtime.__main__ import main as edge_runtime_main
from edge_runtime.graph.tflite import read_tflite
from edge_runtime.model_file.container import read_model_file
from train.networks.backend import start_keras

start_keras()

import keras  # noqa: E402
from keras import layers  # noqa: E402

from export.__main__ import main  # noqa: E402
from export.analysis.debugger import measure_layers, snr_db  # noqa: E402
from export.analysis.rounding_layers import find_layers  # noqa: E402
from export.calibration.activations import tflite_reader  # noqa: E402
from export.calibration.measure import measure_ranges  # noqa: E402
from export.convert import tflite  # noqa: E402
from export.convert.editable_model import EditableModel  # noqa: E402
from export.convert.pixel_scaling import fold_rescaling  # noqa: E402
from export.convert.quantize_tflite import quantize  # noqa: E402

# The converters' own; nothing here depends on what they warn of.
pytestmark = pytest.mark.filterwarnings("ignore")

CLASSES = ("dots", "lines", "waves")


def pictures(label, count, seed):
    """Noisy patterns that tell the classes apart, uint8 (N, 16, 16)."""
    rng = np.random.default_rng([seed, CLASSES.index(label)])
    found = []
    for _ in range(count):
        y, x = np.indices((16, 16)) + rng.integers(0, 8, (2, 1, 1))
        pattern = {"dots": (x % 4 < 2) & (y % 4 < 2), "lines": x % 4 < 2}
        chosen = pattern.get(label, (x + y) % 8 < 4)
        found.append(120 * chosen + rng.integers(0, 130, (16, 16)))
    return np.array(found, dtype=np.uint8)


def network():
    """A small network, trained until it tells the patterns apart."""
    keras.utils.set_random_seed(1)
    pixels = keras.Input((16, 16, 1))
    values = layers.Rescaling(1 / 255)(pixels)
    for name in ("first", "bad"):
        conv = layers.Conv2D(16, 3, padding="same", activation="relu", name=name)
        values = conv(values)
    values = layers.MaxPooling2D()(values)
    for name in ("undo", "last"):
        conv = layers.Conv2D(16, 3, padding="same", activation="relu", name=name)
        values = conv(values)
    values = layers.GlobalAveragePooling2D()(values)
    model = keras.Model(pixels, layers.Dense(3, name="logits")(values), name="planted")
    images = np.concatenate([pictures(one, 120, 1) for one in CLASSES])[..., np.newaxis]
    answers = np.repeat(np.arange(3), 120)
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(keras.optimizers.Adam(3e-3), loss)
    model.fit(images, answers, batch_size=32, epochs=12, verbose=0)
    return model


def plant(model):
    """Makes one channel a thousand times as loud, and undoes it in the next layer."""
    bad, undo = model.get_layer("bad"), model.get_layer("undo")
    kernel, bias = bad.get_weights()
    loud = int(np.argmax(np.abs(undo.get_weights()[0]).sum(axis=(0, 1, 3))))
    kernel[..., loud] *= 1000
    bias[loud] *= 1000
    bad.set_weights([kernel, bias])
    kernel, bias = undo.get_weights()
    kernel[:, :, loud] /= 1000
    undo.set_weights([kernel, bias])


@pytest.fixture(scope="module")
def planted(tmp_path_factory):
    """A .keras file with a bad layer, labelled images, and the models made of it."""
    folder = tmp_path_factory.mktemp("planted")
    for split, count, seed in (("train", 40, 2), ("val", 40, 3)):
        for label in CLASSES:
            place = folder / "images" / split / label
            place.mkdir(parents=True)
            for i, image in enumerate(pictures(label, count, seed)):
                cv2.imwrite(str(place / f"{i}.png"), image)
    model = network()
    plant(model)
    model.save(folder / "planted.keras")
    images = np.concatenate([pictures(one, 30, 4) for one in CLASSES])[..., np.newaxis]
    exact = tflite.to_tflite(fold_rescaling(model))
    ranges = measure_ranges(tflite_reader(exact), images).clipped
    return SimpleNamespace(
        folder=folder,
        names=[layer.name for layer in model.layers],
        images=images,
        exact=exact,
        ranges=ranges,
        int8=quantize(exact, ranges),
    )


@pytest.fixture(scope="module")
def ranking(planted):
    return measure_layers(planted.exact, planted.int8, planted.images, planted.names)


def run_export(planted, folder, *arguments):
    table = folder / "export.json"
    code = main(
        [
            str(planted.folder / "planted.keras"),
            "--labels",
            ",".join(CLASSES),
            "--calibration-data",
            str(planted.folder / "images"),
            "--out",
            str(folder),
            "--json",
            str(table),
            *arguments,
        ]
    )
    return code, json.loads(table.read_text())


def test_planted_layer_is_found_first(ranking):
    assert ranking[0].layer.label == "bad"
    assert ranking[0].answer_snr_db < 20 < ranking[2].answer_snr_db


def test_channels_the_loud_one_silences_are_counted(ranking):
    worst = ranking[0]
    assert worst.channels == 16
    assert worst.lost_channels > 8


def test_error_at_the_own_output_does_not_show_the_fault(ranking):
    # Which is why layers are ranked by what they do to the answers.
    own = {one.layer.label: one.own_snr_db for one in ranking}
    assert own["bad"] > 30


def test_error_of_a_sound_layer_is_near_the_ideal(ranking):
    first = next(one for one in ranking if one.layer.label == "first")
    assert 0.15 < first.error_steps < 0.4


def test_operator_that_only_moves_integers_is_no_layer(planted):
    found = find_layers(planted.exact, planted.int8, planted.names)
    assert "MAX_POOL_2D" in [one.name for one in read_tflite(planted.exact).operators]
    assert "MAX_POOL_2D" not in [one.operator for one in found]


def test_inherited_error_is_not_counted_as_added(ranking):
    last = next(one for one in ranking if one.layer.label == "last")
    assert last.own_snr_db > last.whole_snr_db + 20


def test_one_exception_mends_the_planted_layer(planted, tmp_path, capsys):
    code, document = run_export(planted, tmp_path, "--int8", "--max-drop", "0.5")
    assert code == 0
    steps = document["exceptions"]["steps"]
    assert [step["float_layers"] for step in steps] == [[], ["bad"]]
    assert steps[0]["drop_points"] > 5
    assert steps[1]["drop_points"] <= 0.5
    assert steps[1]["bytes"] > steps[0]["bytes"]
    assert all(step["latency_ms"] > 0 for step in steps)
    printed = capsys.readouterr().out
    assert "holds" in printed
    assert "planted.mixed.tflite --source" in printed


def test_table_has_figures_of_every_file_of_a_bare_keras_file(
    planted, tmp_path, capsys
):
    _, document = run_export(planted, tmp_path, "--int8", "--max-drop", "0.5")
    assert document["images"] == "images, validation split"
    assert document["keras"]["count"] == 120
    figures = {one["format"]: one["figures"] for one in document["files"]}
    assert figures["tflite-mixed"]["accuracy"] > figures["tflite-int8"]["accuracy"]
    assert "?" not in capsys.readouterr().out


def test_mixed_file_says_what_it_is_and_answers_as_float(planted, tmp_path):
    run_export(planted, tmp_path, "--int8", "--max-drop", "0.5")
    mixed = tmp_path / "planted.mixed.tflite"
    assert read_model_file(mixed).document["format"] == "tflite-mixed"
    assert edge_runtime_main(["check", str(mixed)]) == 0
    exact = Classifier.load(tmp_path / "planted.float32.tflite").logits(planted.images)
    found = Classifier.load(mixed).logits(planted.images)
    assert snr_db(exact, found) > 25


def test_bound_that_no_exception_holds_ends_with_3(planted, tmp_path, capsys):
    arguments = ["--int8", "--max-drop", "0.5", "--float-layers", "0"]
    code, document = run_export(planted, tmp_path, *arguments)
    assert code == 3
    assert document["exceptions"]["passed"] is False
    assert not list(tmp_path.glob("*.tflite"))
    error = capsys.readouterr().err
    assert "nothing was written" in error
    assert "--float-layers" in error


def test_debug_layers_writes_table_json_and_picture(planted, tmp_path, capsys):
    code, document = run_export(planted, tmp_path, "--debug-layers")
    assert code == 0
    assert document["layers"][0]["layer"] == "bad"
    assert (tmp_path / "planted.layers.png").read_bytes().startswith(b"\x89PNG")
    printed = capsys.readouterr().out
    assert printed.index("bad  ") < printed.index("undo  ")
    assert "ideally 0.289" in printed


def test_debugger_without_images_says_what_to_do(planted, tmp_path, capsys):
    keras_file = str(planted.folder / "planted.keras")
    arguments = ["--labels", ",".join(CLASSES), "--debug-layers"]
    assert main([keras_file, *arguments, "--out", str(tmp_path)]) == 2
    assert "--calibration-data" in capsys.readouterr().err


def test_flatbuffer_taken_apart_and_put_together_answers_the_same(planted):
    again = EditableModel(planted.int8).to_bytes()
    first, second = read_tflite(planted.int8), read_tflite(again)
    assert [one.name for one in first.tensors] == [one.name for one in second.tensors]
    assert [one.name for one in first.operators] == [
        one.name for one in second.operators
    ]


def test_ratio_of_equal_signals_is_exact():
    values = np.ones((2, 3), dtype=np.float32)
    assert snr_db(values, values) == 120.0


def test_ratio_of_a_tenth_of_noise_is_20_db():
    values = np.ones((2, 3), dtype=np.float32)
    assert snr_db(values, values * np.float32(0.9)) == pytest.approx(20.0, abs=1e-3)
