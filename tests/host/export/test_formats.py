"""Every format is what it is called, of any classifier, and always the same bytes."""

import json
import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import cv2
import numpy as np
import pytest

from edge_runtime import Classifier
from edge_runtime.__main__ import main as check_main
from edge_runtime.errors import FerEdgeError, ModelError, SignatureError
from edge_runtime.graph.tflite import read_tflite
from edge_runtime.inference.classifier import softmax
from edge_runtime.inspection.analyzer import analyze
from edge_runtime.inspection.format_rules import check_format
from edge_runtime.model_file.container import read_model_file
from edge_runtime.model_file.metadata import ModelSpec
from edge_runtime.model_file.pixels import PixelScaling
from edge_runtime.model_file.signature import new_key_pair
from train.networks.backend import start_keras

start_keras()

import keras  # noqa: E402
from keras import layers  # noqa: E402

from export.__main__ import main  # noqa: E402
from export.calibration.activations import tflite_reader  # noqa: E402
from export.calibration.measure import measure_ranges  # noqa: E402
from export.convert import tflite  # noqa: E402
from export.convert.converted_model import ConvertedModel  # noqa: E402
from export.convert.formats import FORMATS, choose_formats  # noqa: E402
from export.convert.keras_model import load_classifier  # noqa: E402
from export.convert.pixel_scaling import fold_rescaling, scaled  # noqa: E402
from export.convert.quantize_tflite import quantize  # noqa: E402
from export.verify import check_contents  # noqa: E402
from train.quantization.ranges import PIXEL_RANGE  # noqa: E402

# The converters' own; nothing here depends on what they warn of.
pytestmark = pytest.mark.filterwarnings("ignore")

ROOT = Path(__file__).parents[3]
OLD_RUNTIME = ROOT / ".venv-device" / "tflite-runtime" / "bin" / "python"
TFLITE = ("float32", "float16", "dynamic-range", "int8", "int16x8")
SUFFIXES = (*(f"{one}.tflite" for one in TFLITE), "float32.onnx", "int8.onnx")
rng = np.random.default_rng(5)


def classifier(*, size=16, channels=1, scaling="unit", end="logits"):
    """A small residual network with everything a user's may have."""
    keras.utils.set_random_seed(3)
    pixels = keras.Input((size, size, channels))
    values = pixels
    if scaling == "unit":
        values = layers.Rescaling(1 / 255)(values)
    if scaling == "signed":
        values = layers.Rescaling(1 / 127.5, offset=-1)(values)
    for _ in range(2):
        values = layers.Conv2D(8, 3, padding="same", use_bias=False)(values)
        values = layers.BatchNormalization()(values)
        values = layers.ReLU()(values)
    branch = layers.Conv2D(8, 3, padding="same")(values)
    values = layers.ReLU()(layers.Add()([values, branch]))
    values = layers.GlobalAveragePooling2D()(values)
    if end == "dense softmax":
        return keras.Model(pixels, layers.Dense(3, activation="softmax")(values))
    values = layers.Dense(3)(values)
    if end == "softmax layer":
        values = layers.Softmax()(values)
    if end == "activation":
        values = layers.Activation("softmax")(values)
    return keras.Model(pixels, values)


def nested_softmax():
    inner = keras.Sequential([keras.Input((16, 16, 3)), *small_layers("softmax")])
    return keras.Sequential([keras.Input((16, 16, 3)), layers.Rescaling(0.01), inner])


def small_layers(activation=None, outputs=3):
    return [
        layers.Conv2D(4, 3, activation="relu"),
        layers.GlobalAveragePooling2D(),
        layers.Dense(outputs, activation=activation),
    ]


def sequential(*more, shape=(16, 16, 1), activation=None, outputs=3):
    return keras.Sequential(
        [keras.Input(shape), *small_layers(activation, outputs), *more]
    )


def saved(model, folder):
    path = folder / "mine.keras"
    model.save(path)
    return path


def pictures(count, size=16, channels=1):
    return rng.integers(0, 256, (count, size, size, channels)).astype(np.uint8)


@pytest.fixture(scope="module")
def work(tmp_path_factory):
    """A folder with a .keras file and labelled images."""
    folder = tmp_path_factory.mktemp("formats")
    for split, count in (("train", 40), ("val", 5)):
        for label in "abc":
            place = folder / "images" / split / label
            place.mkdir(parents=True)
            for i, image in enumerate(pictures(count)):
                cv2.imwrite(str(place / f"{i}.png"), image)
    saved(classifier(), folder)
    return folder


def arguments_for(work, out):
    return [
        *(str(work / "mine.keras"), "--labels", "a,b,c", "--formats", "all"),
        *("--calibration-data", str(work / "images"), "--out", str(out)),
    ]


@pytest.fixture(scope="module")
def exported(work):
    """All formats in a folder, and the JSON document."""
    out, table, text = work / "out", work / "export.json", work / "table.md"
    written = ["--json", str(table), "--markdown", str(text)]
    assert main([*arguments_for(work, out), *written]) == 0
    return SimpleNamespace(
        folder=out,
        document=json.loads(table.read_text()),
        markdown=text.read_text(),
    )


@pytest.fixture(scope="module")
def io_files(work):
    """The int8 file with each type of input and output, by type."""
    found = {}
    base = [one for one in arguments_for(work, work / "io") if one != "all"]
    base.insert(base.index("--formats") + 1, "int8")
    for io in ("int8", "uint8", "float32"):
        assert main([*base, "--io", io]) == 0
        end = "" if io == "int8" else f"-io-{io}"
        found[io] = work / "io" / f"mine.int8{end}.tflite"
    return found


# --- what is in the files ----------------------------------------------------------


@pytest.mark.parametrize("name", TFLITE)
def test_tflite_file_is_what_it_is_called(exported, name):
    file = read_model_file(exported.folder / f"mine.{name}.tflite")
    assert file.document["format"] == f"tflite-{name}"
    assert check_format(analyze(read_tflite(file.model)), f"tflite-{name}") == []


@pytest.mark.parametrize("called", ["tflite-int8", "tflite-float16", "tflite-int16x8"])
def test_float32_model_under_another_name_is_refused(exported, called):
    file = read_model_file(exported.folder / "mine.float32.tflite")
    spec = ModelSpec.from_document(file.document)
    with pytest.raises(ModelError):
        check_contents(ConvertedModel(called, file.model), spec)


def test_dynamic_range_called_int8_is_refused(exported):
    file = read_model_file(exported.folder / "mine.dynamic-range.tflite")
    spec = ModelSpec.from_document(file.document)
    with pytest.raises(ModelError):
        check_contents(ConvertedModel("tflite-int8", file.model), spec)


# Measured on this network: 3e-5, 0.004, 0.015, 0.015, 2e-7 and 0.015 of it.
@pytest.mark.parametrize(
    ("suffix", "share"),
    [
        ("float16.tflite", 0.002),
        ("dynamic-range.tflite", 0.1),
        ("int8.tflite", 0.1),
        ("int16x8.tflite", 0.03),
        ("float32.onnx", 1e-4),
        ("int8.onnx", 0.1),
    ],
)
def test_answers_are_close_to_those_of_float32(exported, suffix, share):
    images = pictures(20)
    exact = Classifier.load(exported.folder / "mine.float32.tflite").logits(images)
    found = Classifier.load(exported.folder / f"mine.{suffix}").logits(images)
    assert np.abs(found - exact).max() <= share * max(1.0, np.abs(exact).max())


def test_dynamic_range_weights_are_per_channel_but_in_fully_connected_layers(exported):
    # tflite-runtime 2.14 takes the first scale for all channels of those.
    file = read_model_file(exported.folder / "mine.dynamic-range.tflite")
    layers = analyze(read_tflite(file.model)).layers
    weighted = [layer for layer in layers if layer.weights is not None]
    assert weighted
    for layer in weighted:
        assert layer.per_channel == (layer.operator == "CONV_2D")


def test_int16x8_is_called_diagnostic_wherever_it_is_shown(work, exported, capsys):
    marked = {one["format"]: one["diagnostic"] for one in exported.document["files"]}
    assert [name for name, mark in marked.items() if mark] == ["tflite-int16x8"]
    main(arguments_for(work, exported.folder))
    assert "int16x8 is diagnostic" in capsys.readouterr().out
    assert "diagnostic" in FORMATS["int16x8"]


def test_document_has_size_share_and_latency_of_each_file(exported):
    files = {one["format"]: one for one in exported.document["files"]}
    assert list(files) == [
        *(f"tflite-{one}" for one in TFLITE),
        "onnx-float32",
        "onnx-int8",
    ]
    assert files["tflite-int8"]["int8_share"] == 1.0
    assert files["tflite-float32"]["int8_share"] == 0.0
    assert all(one["latency_ms"] > 0 and one["bytes"] > 0 for one in files.values())


def test_document_can_be_published(work, exported):
    """It says what was measured with what, and not where on whose machine."""
    conditions = exported.document["conditions"]
    assert conditions["machine"]["cores"] == os.cpu_count()
    assert "ai-edge-litert" in conditions["libraries"]
    assert str(work) not in json.dumps(exported.document) + exported.markdown
    assert str(Path.home()) not in json.dumps(exported.document)


def test_markdown_table_has_every_file_with_its_figures(exported):
    table, caption = exported.markdown.rstrip().split("\n\n")
    rows = [
        [cell.strip() for cell in row.split("|")[1:-1]] for row in table.split("\n")
    ]
    assert {len(row) for row in rows} == {6}
    files = {row[0].split()[0]: row for row in rows[3:]}
    assert list(files) == [one["format"] for one in exported.document["files"]]
    int8 = next(
        one for one in exported.document["files"] if one["format"] == "tflite-int8"
    )
    assert files["tflite-int8"][1] == f"{int8['bytes'] / 1e6:.2f}"
    assert files["tflite-int8"][2].startswith(
        f"{100 * int8['figures']['accuracy']:.2f}"
    )
    assert files["tflite-int8"][5] == "100 %"
    assert files["tflite-int16x8"][0] == "tflite-int16x8 (diagnostic)"
    assert "images, validation split, 15 images" in caption


@pytest.fixture(scope="module")
def unfoldable(work):
    """The int8 files of a network whose BatchNorm stands behind a ReLU."""
    keras.utils.set_random_seed(6)
    pixels = keras.Input((16, 16, 1))
    values = layers.Conv2D(6, 3, activation="relu")(pixels)
    norm = layers.BatchNormalization(name="behind")
    values = layers.Conv2D(6, 3, activation="relu")(norm(values))
    values = layers.Dense(3)(layers.GlobalAveragePooling2D()(values))
    norm.set_weights([np.linspace(0.5, 1.5, 6) for _ in range(4)])
    folder = work / "unfoldable"
    folder.mkdir()
    saved(keras.Model(pixels, values), folder)
    arguments = ["--labels", "a,b,c", "--calibration-data", str(work / "images")]
    path, out = str(folder / "mine.keras"), str(folder / "out")
    assert main([path, "--int8", "--pixels", "raw", *arguments, "--out", out]) == 0
    return folder / "out"


@pytest.mark.parametrize("suffix", ["int8.tflite", "int8.onnx"])
def test_batchnorm_that_cannot_fold_is_declared_and_so_check_passes(
    unfoldable, suffix, capsys
):
    path = unfoldable / f"mine.{suffix}"
    assert check_main(["check", str(path), "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["unfolded_batchnorm"]
    assert document["origin"]["unfolded_batchnorm"] == document["unfolded_batchnorm"]
    assert any("did not fold" in one for one in document["verdict"]["notes"])


def test_the_same_model_without_the_declaration_is_caught(unfoldable, tmp_path, capsys):
    path = tmp_path / "mine.int8.tflite"
    path.write_bytes(read_model_file(unfoldable / "mine.int8.tflite").model)
    assert check_main(["check", str(path), "--json"]) == 3
    violations = json.loads(capsys.readouterr().out)["verdict"]["violations"]
    assert [one["rule"] for one in violations] == ["unfolded-batchnorm"]


def test_export_of_a_batchnorm_that_cannot_fold_warns(unfoldable, capsys):
    folder = unfoldable.parent
    arguments = [
        "--labels",
        "a,b,c",
        "--calibration-data",
        str(folder.parent / "images"),
    ]
    path, out = str(folder / "mine.keras"), str(folder / "out")
    arguments += ["--formats", "int8", "--pixels", "raw"]
    assert main([path, *arguments, "--out", out]) == 0
    assert "warning: tflite-int8: a BatchNorm could not fold" in capsys.readouterr().out


@pytest.mark.parametrize("io", ["uint8", "float32"])
def test_other_ends_give_the_same_answers(io_files, io):
    images = pictures(20)
    int8 = Classifier.load(io_files["int8"])
    other = Classifier.load(io_files[io])
    assert other.backend.input.dtype == np.dtype(io)
    assert np.abs(other.logits(images) - int8.logits(images)).max() < 1e-5


def test_uint8_input_takes_pixels_as_they_are(io_files):
    quantization = Classifier.load(io_files["uint8"]).backend.input.quantization
    assert (quantization.scale, quantization.zero_point) == (1.0, 0)


def test_int8_file_says_int8_whatever_its_ends_are(io_files):
    formats = {read_model_file(one).document["format"] for one in io_files.values()}
    assert formats == {"tflite-int8"}


@pytest.mark.skipif(not OLD_RUNTIME.exists(), reason="no environment with it")
@pytest.mark.parametrize("suffix", [one for one in SUFFIXES if one.endswith("tflite")])
def test_tflite_runtime_answers_the_golden_vectors_alike(exported, suffix):
    code = (
        "import sys; from edge_runtime import Classifier;"
        " print(Classifier.load(sys.argv[1], backend='tflite-runtime').backend.name)"
    )
    path = exported.folder / f"mine.{suffix}"
    done = subprocess.run(
        [str(OLD_RUNTIME), "-c", code, str(path)],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
    )
    assert done.stdout.strip() == "tflite-runtime", done.stderr


# --- always the same bytes ---------------------------------------------------------


def test_another_process_writes_the_same_bytes(work, exported):
    out = work / "again"
    command = [sys.executable, "-m", "export", *arguments_for(work, out)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    for suffix in SUFFIXES:
        name = f"mine.{suffix}"
        assert (out / name).read_bytes() == (exported.folder / name).read_bytes(), name


# --- which formats -----------------------------------------------------------------


@pytest.mark.parametrize(
    ("names", "int8", "expected"),
    [
        (None, False, ("float32", "onnx-float32")),
        (None, True, ("float32", "int8", "onnx-float32", "onnx-int8")),
        ("all", False, tuple(FORMATS)),
        ("int8,float16", False, ("float16", "int8")),
        ("float16", True, ("float16", "int8")),
    ],
)
def test_formats_are_chosen_in_one_order(names, int8, expected):
    assert choose_formats(names, int8=int8) == expected


def test_unknown_format_is_refused_with_the_known_ones():
    with pytest.raises(FerEdgeError, match=r"float16, dynamic-range.*'int4'"):
        choose_formats("int8,int4", int8=False)


# --- any classifier ----------------------------------------------------------------


@pytest.mark.parametrize(
    "model",
    [
        pytest.param(lambda: classifier(end="dense softmax"), id="dense softmax"),
        pytest.param(lambda: classifier(end="softmax layer"), id="softmax layer"),
        pytest.param(lambda: classifier(end="activation"), id="activation"),
        pytest.param(lambda: sequential(activation="softmax"), id="sequential"),
        pytest.param(nested_softmax, id="model in a model"),
    ],
)
def test_final_softmax_is_taken_off(model, tmp_path):
    original = model()
    size, channels = original.inputs[0].shape[1], original.inputs[0].shape[3]
    images = pictures(6, size, channels).astype(np.float32)
    loaded = load_classifier(saved(original, tmp_path))
    expected = original.predict(images, verbose=0)
    logits = loaded.predict(images, verbose=0)
    assert np.abs(softmax(logits) - expected).max() < 1e-5
    assert np.abs(logits.sum(axis=1) - 1).max() > 1e-3


@pytest.mark.parametrize("scaling", ["unit", "signed", "none"])
@pytest.mark.parametrize(("size", "channels"), [(16, 1), (20, 3)])
def test_any_scaling_size_and_colour_is_int8_throughout(scaling, size, channels):
    model = classifier(size=size, channels=channels, scaling=scaling)
    images = pictures(24, size, channels)
    exact = tflite.to_tflite(fold_rescaling(model))
    expected = model.predict(images, verbose=0)
    given = ConvertedModel("tflite-float32", exact).logits(images)
    assert np.abs(given - expected).max() < 1e-3 * np.abs(expected).max()
    ranges = measure_ranges(tflite_reader(exact), images).clipped
    assert PIXEL_RANGE in ranges.values()
    int8 = quantize(exact, ranges)
    converted = ConvertedModel("tflite-int8", int8)
    spec = ModelSpec(("a", "b", "c"), size, "grey" if channels == 1 else "rgb")
    check_contents(converted, spec)
    rounded = converted.logits(images)
    assert np.abs(rounded - expected).max() < 0.1 * np.abs(expected).max()


@pytest.mark.parametrize(("scale", "offset"), [(1 / 255, 0.0), (1 / 127.5, -1.0)])
def test_model_of_scaled_pixels_takes_raw_ones(scale, offset, tmp_path):
    model = load_classifier(saved(sequential(), tmp_path))
    images = pictures(4).astype(np.float32)
    expected = model.predict(images * scale + offset, verbose=0)
    raw = scaled(model, PixelScaling((scale,), (offset,)))
    found = fold_rescaling(raw).predict(images, verbose=0)
    assert np.abs(found - expected).max() < 1e-5


def test_pixels_option_is_refused_for_a_model_that_scales(work, tmp_path, capsys):
    arguments = [*arguments_for(work, tmp_path), "--pixels", "unit"]
    assert main(arguments) == 2
    assert "leave out --pixels" in capsys.readouterr().err


def two_inputs():
    first, second = keras.Input((8, 8, 1)), keras.Input((8, 8, 1))
    values = layers.Flatten()(layers.Add()([first, second]))
    return keras.Model([first, second], layers.Dense(3)(values))


def sequence():
    return keras.Sequential(
        [keras.Input((8, 8, 1)), layers.Reshape((8, 8)), layers.Dense(3)]
    )


def code():
    return sequential(layers.Lambda(lambda values: values * 2))


@pytest.mark.parametrize(
    ("model", "reason"),
    [
        pytest.param(two_inputs, "one image input, got 2", id="two inputs"),
        pytest.param(lambda: sequential(shape=(16, 12, 1)), "square", id="not square"),
        pytest.param(lambda: sequential(shape=(16, 16, 4)), "grey or RGB", id="RGBA"),
        pytest.param(lambda: sequential(outputs=1), "regression", id="one number"),
        pytest.param(sequence, "sequence", id="sequence"),
        pytest.param(code, "Lambda", id="Lambda"),
        pytest.param(
            lambda: sequential(activation="sigmoid"), "sigmoids", id="several labels"
        ),
        pytest.param(
            lambda: sequential(layers.Dropout(0.1), activation="softmax"),
            "no final softmax",
            id="softmax inside",
        ),
    ],
)
def test_what_is_no_classifier_is_refused_with_the_reason(model, reason, tmp_path):
    with pytest.raises(ModelError, match=reason):
        load_classifier(saved(model(), tmp_path))


# --- signatures --------------------------------------------------------------------


@pytest.fixture(scope="module")
def keys(tmp_path_factory):
    """Paths of a private key and its public key."""
    pytest.importorskip("cryptography")
    folder = tmp_path_factory.mktemp("keys")
    for name, data in zip(("key", "public"), new_key_pair(), strict=True):
        (folder / f"{name}.pem").write_bytes(data)
    return folder / "key.pem", folder / "public.pem"


def test_signed_file_is_accepted_with_the_public_key(work, keys, tmp_path):
    arguments = [one for one in arguments_for(work, tmp_path) if one != "all"]
    arguments.insert(arguments.index("--formats") + 1, "float32")
    assert main([*arguments, "--sign", str(keys[0])]) == 0
    path = tmp_path / "mine.float32.tflite"
    assert read_model_file(path, public_key=keys[1]).document["labels"] == [*"abc"]
    (tmp_path / "mine.float32.tflite.sig").write_bytes(bytes(64))
    with pytest.raises(SignatureError):
        read_model_file(path, public_key=keys[1])


def test_key_that_is_none_is_refused_before_anything_is_made(work, keys, tmp_path):
    arguments = arguments_for(work, tmp_path / "out")
    assert main([*arguments, "--sign", str(keys[1])]) == 2
    assert not (tmp_path / "out").exists()
