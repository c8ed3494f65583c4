"""Each format stands alone: what cannot be made is named, the rest is written."""

import json

import cv2
import numpy as np
import pytest

from edge_runtime import Classifier
from edge_runtime.graph.tflite import read_tflite
from edge_runtime.inspection.analyzer import analyze, read_graph
from edge_runtime.model_file.container import read_model_file
from train.networks.backend import start_keras

start_keras()

import keras  # noqa: E402
from keras import layers, ops  # noqa: E402

from export.__main__ import main  # noqa: E402
from export.calibration.activations import tflite_reader  # noqa: E402
from export.calibration.measure import measure_ranges  # noqa: E402
from export.convert import onnx_model, tflite  # noqa: E402
from export.convert.converted_model import ConvertedModel  # noqa: E402
from export.convert.formats import float_operators  # noqa: E402
from export.convert.quantize_tflite import quantize  # noqa: E402
from export.convert.upsampling import resize_instead  # noqa: E402

# The converters' own; nothing here depends on what they warn of.
pytestmark = pytest.mark.filterwarnings("ignore")

PICTURES = np.random.default_rng(4).integers(0, 256, (12, 24, 24, 3)).astype(np.uint8)


def network(middle, *, scaling=None):
    """A network around one layer, with logits a few units apart."""
    keras.utils.set_random_seed(8)
    pixels = keras.Input((24, 24, 3))
    values = (scaling or layers.Rescaling(1 / 255))(pixels)
    values = middle(layers.Conv2D(8, 3, strides=3)(values))
    if len(values.shape) == 4:
        values = layers.GlobalAveragePooling2D()(values)
    model = keras.Model(pixels, layers.Dense(3)(values))
    features = keras.Model(pixels, values)(PICTURES.astype(np.float32))
    weights = model.layers[-1].get_weights()[0]
    weights *= 2 / (np.asarray(features) @ weights).std(axis=0).mean()
    model.layers[-1].set_weights([weights, -np.asarray(features @ weights).mean(0)])
    return model


def rows(layer):
    return lambda values: layer(layers.Reshape((-1, 8))(values))


def attention(values):
    attended = layers.MultiHeadAttention(2, 4)(values, values)
    return layers.GlobalAveragePooling1D()(attended)


def answers(model):
    return np.asarray(model(PICTURES.astype(np.float32), training=False))


# --- integer kernels ---------------------------------------------------------------


@pytest.mark.parametrize(
    ("middle", "operator"),
    [
        (layers.LeakyReLU(), "LEAKY_RELU"),
        (layers.PReLU(alpha_initializer="random_normal"), "PRELU"),
        (layers.PReLU(alpha_initializer="normal", shared_axes=[1, 2]), "PRELU"),
        (layers.ELU(), "ELU"),
        (layers.Activation("gelu"), "GELU"),
        (layers.Activation("selu"), "EXP"),
        (layers.LayerNormalization(), "RSQRT"),
        (layers.GroupNormalization(4), "RSQRT"),
        (layers.GlobalMaxPooling2D(), "REDUCE_MAX"),
        (rows(layers.GlobalMaxPooling1D()), "REDUCE_MAX"),
        (layers.UpSampling2D(2), "RESIZE_NEAREST_NEIGHBOR"),
        (keras.Sequential([layers.UpSampling2D(2)]), "RESIZE_NEAREST_NEIGHBOR"),
        (layers.UpSampling2D(2, interpolation="bilinear"), "RESIZE_BILINEAR"),
        (lambda values: ops.minimum(values, 0.5 * values), "MINIMUM"),
        (ops.abs, "ABS"),
        (ops.square, "MUL"),
    ],
    ids=lambda value: value if isinstance(value, str) else None,
)
def test_layer_is_computed_in_integers(middle, operator):
    model = network(middle)
    exact = tflite.to_tflite(resize_instead(model))
    int8 = quantize(exact, measure_ranges(tflite_reader(exact), PICTURES).clipped)
    summary = analyze(read_tflite(int8))
    assert operator in {layer.operator for layer in summary.layers}
    assert float_operators(summary) == []
    expected = answers(model)
    found = ConvertedModel("tflite-int8", int8).logits(PICTURES)
    assert np.abs(found - expected).max() < 0.12 * np.ptp(expected)


def test_resized_model_answers_as_the_repeating_one():
    model = network(layers.UpSampling2D((3, 2)))
    assert np.allclose(answers(resize_instead(model)), answers(model), atol=1e-5)
    plain = network(layers.ReLU())
    assert resize_instead(plain) is plain


# --- ONNX --------------------------------------------------------------------------


def augmented(pixels):
    inside = [layers.RandomFlip(), layers.RandomRotation(0.1), layers.RandomZoom(0.1)]
    values = keras.Sequential(inside)(pixels)
    return keras.applications.mobilenet_v2.preprocess_input(values)


def adapted(pixels):
    layer = layers.Normalization()
    layer.adapt(PICTURES.astype(np.float32))
    return layer(pixels)


@pytest.mark.parametrize(
    ("middle", "scaling"),
    [
        (layers.ReLU(), augmented),
        (layers.ReLU(), adapted),
        (layers.ReLU(), keras.applications.resnet.preprocess_input),
        (layers.ReLU(), keras.applications.densenet.preprocess_input),
        (layers.Activation("gelu"), None),
        (layers.Conv2D(8, 3, groups=4), None),
        (layers.Conv2D(16, 3, groups=8, strides=2), None),
        (rows(attention), None),
    ],
    ids=[
        *("augmentation", "normalization", "resnet", "densenet", "gelu", "groups"),
        *("groups-strides", "attention"),
    ],
)
def test_onnx_answers_as_the_keras_model(middle, scaling):
    model = network(middle, scaling=scaling)
    converted = ConvertedModel("onnx-float32", onnx_model.to_onnx(model))
    assert np.allclose(converted.logits(PICTURES), answers(model), atol=1e-4)


@pytest.mark.parametrize("opset", [17, 18])
def test_onnx_file_has_one_domain_and_the_opset_asked_for(opset):
    import onnx

    parsed = onnx.load_from_string(onnx_model.to_onnx(network(layers.ReLU()), opset))
    assert [(one.domain, one.version) for one in parsed.opset_import] == [("", opset)]


# --- the command -------------------------------------------------------------------


@pytest.fixture(scope="module")
def work(tmp_path_factory):
    """A folder with images, and a function that exports a model with them."""
    folder = tmp_path_factory.mktemp("missing")
    rng = np.random.default_rng(2)
    for label in "abc":
        (folder / "images" / label).mkdir(parents=True)
        for i in range(40):
            picture = rng.integers(0, 256, (24, 24, 3)).astype(np.uint8)
            cv2.imwrite(str(folder / "images" / label / f"{i}.png"), picture)

    def run(model, name, *options):
        model.save(folder / f"{name}.keras")
        given = [str(folder / f"{name}.keras"), "--labels", "a,b,c"]
        given += ["--calibration-data", str(folder / "images")]
        return main([*given, "--out", str(folder / name), *options]), folder / name

    return run


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def softplus():
    return network(layers.Activation("softplus"))  # LOG has no integer kernel


def test_operator_without_integer_kernel_is_named_and_the_rest_written(work, capsys):
    code, out = work(softplus(), "rest", "--int8", "--json", "export.json")
    captured = capsys.readouterr()
    assert code == 3
    assert names(out) == ["rest.float32.onnx", "rest.float32.tflite", "rest.int8.onnx"]
    assert captured.err.count("\n") == 1
    assert "not written: int8: no integer kernel for LOG" in captured.err
    assert "--allow-float" in captured.err


@pytest.fixture(autouse=True)
def in_a_folder_of_its_own(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def test_missing_format_is_in_the_document(work, tmp_path):
    work(softplus(), "document", "--formats", "float32,int8", "--json", "export.json")
    missing = json.loads((tmp_path / "export.json").read_text())["missing"]
    assert [one["format"] for one in missing] == ["int8"]
    assert "LOG" in missing[0]["reason"]


def test_allowed_float_gives_a_mixed_file_and_tells_its_share(work, capsys):
    code, out = work(softplus(), "mixed", "--formats", "int8", "--allow-float")
    assert code == 0
    assert names(out) == ["mixed.mixed.tflite"]
    assert "100.0% of the MACs in int8, in float32: LOG" in capsys.readouterr().out
    file = read_model_file(out / "mixed.mixed.tflite")
    assert file.document["format"] == "tflite-mixed"
    assert float_operators(analyze(read_graph(file))) == ["LOG"]
    assert Classifier.load(out / "mixed.mixed.tflite").golden_difference < 1e-3


def test_allowing_float_changes_nothing_where_all_is_integer(work):
    code, out = work(
        network(layers.ReLU()), "plain", "--formats", "int8", "--allow-float"
    )
    assert code == 0
    assert names(out) == ["plain.int8.tflite"]


def test_onnx_is_not_converted_where_only_tflite_is_asked_for(work, monkeypatch):
    def fail(*_):
        raise AssertionError("converted to ONNX")

    monkeypatch.setattr(onnx_model, "to_onnx", fail)
    code, out = work(network(layers.ReLU()), "only", "--formats", "float32,int8")
    assert code == 0
    assert names(out) == ["only.float32.tflite", "only.int8.tflite"]


@pytest.mark.parametrize(
    ("module", "kind", "written"),
    [
        (onnx_model, "onnx", ["x.float32.tflite", "x.int8.tflite"]),
        (tflite, "tflite", ["x.float32.onnx", "x.int8.onnx"]),
    ],
)
def test_converter_that_fails_leaves_the_other_alone(
    work, monkeypatch, capsys, module, kind, written
):
    from edge_runtime.errors import ModelError

    def fail(*_):
        raise ModelError(f"{kind} has no operator for Unheard")

    monkeypatch.setattr(module, f"to_{kind}", fail)
    code, out = work(network(layers.ReLU()), "x", "--int8", "--force")
    assert code == 3
    assert [name for name in names(out) if kind not in name] == written
    assert f"{kind} has no operator for Unheard" in capsys.readouterr().err


@pytest.mark.parametrize(
    "layer",
    [lambda: layers.LSTM(4), lambda: layers.Bidirectional(layers.GRU(4))],
    ids=["LSTM", "two GRUs"],
)
def test_recurrent_layer_is_written_in_all_formats(work, capsys, layer):
    code, out = work(network(rows(layer())), "rows", "--int8", "--force")
    assert (code, len(names(out))) == (0, 4)
    assert "Traceback" not in capsys.readouterr().err


def test_pictures_without_class_folders_calibrate(tmp_path, capsys):
    folder = tmp_path / "pictures"
    folder.mkdir()
    for i, picture in enumerate(PICTURES):
        cv2.imwrite(str(folder / f"{i}.png"), picture)
    (folder / "notes.txt").write_text("no picture")
    for i, picture in enumerate(PICTURES):  # nearly black, which says no range
        dark = picture.astype(np.uint16) * 4
        cv2.imwrite(str(folder / f"dark{i}.png"), dark)
    network(layers.ReLU()).save(tmp_path / "m.keras")
    given = [str(tmp_path / "m.keras"), "--labels", "a,b,c", "--formats", "int8"]
    given += ["--calibration-data", str(folder), "--out", str(tmp_path / "out")]
    assert main(given) == 0
    assert "12 pictures of pictures without class folders" in capsys.readouterr().out
    spec = Classifier.load(tmp_path / "out" / "m.int8.tflite").spec
    assert spec.origin["calibration"]["count"] == 12
    assert spec.accuracy == {}
