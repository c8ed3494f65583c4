"""Exported files: what is inside them, what they answer, and what is refused."""

import contextlib
import json
import shutil
import signal
from pathlib import Path
from types import SimpleNamespace

import cv2
import numpy as np
import pytest

from edge_runtime import Classifier
from edge_runtime.errors import DatasetError, ModelError, RunError
from edge_runtime.inspection.analyzer import analyze, read_graph
from edge_runtime.model_file.container import read_model_file
from edge_runtime.model_file.metadata import ModelSpec
from edge_runtime.model_file.reference import measure_reference, read_reference
from train.networks.backend import start_keras

start_keras()

import keras  # noqa: E402
from keras import layers  # noqa: E402

from export import verify  # noqa: E402
from export.__main__ import main  # noqa: E402
from export.analysis.accuracy import (  # noqa: E402
    describe_disagreement,
    require_agreement,
)
from export.calibration.record import SCHEMA, CalibrationRecord, sha256_of  # noqa: E402
from export.calibration.representative import check_leaks, select_images  # noqa: E402
from export.convert import keras_model, quantize_tflite  # noqa: E402
from export.convert.converted_model import ConvertedModel  # noqa: E402
from export.convert.pixel_scaling import fold_rescaling  # noqa: E402
from tests.console import one_error_line  # noqa: E402
from tests.patterns import CLASSES, write_patterns  # noqa: E402
from train.__main__ import main as train_main  # noqa: E402
from train.data import dataset  # noqa: E402
from train.quantization.ranges import MeasuredRanges  # noqa: E402

# The converters' own; nothing here depends on what they warn of.
pytestmark = pytest.mark.filterwarnings("ignore")

SUFFIXES = (".float32.tflite", ".int8.tflite", ".float32.onnx", ".int8.onnx")


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A run of the default network on small images."""
    folder = tmp_path_factory.mktemp("work")
    data = write_patterns(folder / "images", {"train": 40, "val": 30})
    arguments = ["--data", str(data), "--name", str(folder / "tiny"), "--epochs", "2"]
    arguments += ["--batch-size", "24", "--recipe", "demo"]
    assert train_main(arguments) == 0
    return folder / "tiny"


@pytest.fixture(scope="module")
def exported(run, tmp_path_factory):
    """The folder of the first export, and what it wrote as JSON."""
    folder = tmp_path_factory.mktemp("first")
    table = folder / "table.json"
    arguments = [str(run), "--int8", "--out", str(folder), "--json", str(table)]
    assert main(arguments) == 0
    return SimpleNamespace(folder=folder, document=json.loads(table.read_text()))


@pytest.fixture(scope="module")
def images(run):
    return dataset.load(run.parent / "images")


def model_bytes(exported, suffix):
    return read_model_file(exported.folder / f"tiny{suffix}").model


def interpreter_of(model):
    from ai_edge_litert.interpreter import Interpreter

    interpreter = Interpreter(model_content=model)
    interpreter.allocate_tensors()
    return interpreter


def dtypes_of(model):
    """The data types of all tensors, as the interpreter sees them."""
    details = interpreter_of(model).get_tensor_details()
    return {np.dtype(one["dtype"]).name for one in details}


# --- the files of a run ------------------------------------------------------------


def test_int8_export_writes_four_files(exported):
    names = {path.name for path in exported.folder.iterdir()}
    assert names == {f"tiny{suffix}" for suffix in SUFFIXES} | {"table.json"}


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_exported_file_loads_with_its_labels_and_golden_vectors(exported, suffix):
    spec = Classifier.load(exported.folder / f"tiny{suffix}").spec
    assert spec.labels == CLASSES
    assert spec.golden is not None
    assert spec.origin["calibration"]["split"] == "train"
    assert spec.accuracy["this_file"]["count"] == 90


def test_float_file_has_no_int8_tensor(exported):
    dtypes = dtypes_of(model_bytes(exported, ".float32.tflite"))
    assert not {"int8", "uint8", "int16"} & dtypes


def test_int8_file_has_no_float_tensor(exported):
    dtypes = dtypes_of(model_bytes(exported, ".int8.tflite"))
    assert not {"float32", "float16"} & dtypes


def test_int8_input_is_the_pixel_minus_128(exported):
    details = interpreter_of(model_bytes(exported, ".int8.tflite"))
    tensor = details.get_input_details()[0]
    assert tensor["dtype"] == np.int8
    assert tensor["quantization"] == (1.0, -128)


def test_int8_convolution_weights_have_a_scale_per_channel(exported):
    interpreter = interpreter_of(model_bytes(exported, ".int8.tflite"))
    kernels = [
        one
        for one in interpreter.get_tensor_details()
        if one["dtype"] == np.int8
        and len(one["shape"]) == 4
        and one["quantization_parameters"]["zero_points"].size > 1
    ]
    assert len(kernels) >= 10
    for one in kernels:
        assert len(one["quantization_parameters"]["scales"]) == one["shape"][0]


@pytest.mark.parametrize("suffix", [".float32.tflite", ".int8.tflite"])
def test_tflite_file_has_builtin_operators_and_batch_one(exported, suffix):
    interpreter = interpreter_of(model_bytes(exported, suffix))
    names = {one["op_name"] for one in interpreter._get_ops_details()}
    assert not any(name.startswith(("Flex", "CUSTOM")) for name in names)
    assert interpreter.get_input_details()[0]["shape"].tolist() == [1, 16, 16, 1]


def test_scaling_is_folded_into_the_first_convolution(exported):
    interpreter = interpreter_of(model_bytes(exported, ".float32.tflite"))
    assert "MUL" not in {one["op_name"] for one in interpreter._get_ops_details()}


@pytest.mark.parametrize("suffix", [".int8.tflite", ".int8.onnx"])
def test_pixels_are_exact_though_no_image_has_a_255(exported, images, suffix):
    assert images.train.images.max() < 255
    summary = analyze(read_graph(read_model_file(exported.folder / f"tiny{suffix}")))
    pixels = summary.quantized_input or summary.input
    assert pixels.scales.tolist() == [1.0]


@pytest.mark.parametrize("suffix", [".float32.onnx", ".int8.onnx"])
def test_onnx_checker_accepts_the_file(exported, suffix):
    import onnx

    model = onnx.load(exported.folder / f"tiny{suffix}")
    onnx.checker.check_model(model, full_check=True)


def test_int8_onnx_has_a_scale_per_channel(exported):
    import onnx

    graph = onnx.load(exported.folder / "tiny.int8.onnx").graph
    sizes = [
        int(np.prod(tensor.dims))
        for tensor in graph.initializer
        if "scale" in tensor.name or tensor.data_type == onnx.TensorProto.FLOAT
    ]
    assert sum(size > 1 for size in sizes) >= 10


@pytest.mark.parametrize("suffix", [".float32.tflite", ".float32.onnx"])
def test_float_files_answer_as_the_keras_model_does(exported, run, images, suffix):
    model = keras_model.load_classifier(run / "model.keras")
    expected = model.predict(images.validation.images, verbose=0)
    file = Classifier.load(exported.folder / f"tiny{suffix}")
    logits = file.logits(images.validation.images)
    assert np.mean(logits.argmax(1) == expected.argmax(1)) >= 0.999
    assert np.abs(logits - expected).max() < 1e-3 * max(1, np.abs(expected).max())


def test_int8_logits_cover_the_range_of_the_float_ones(exported, images):
    """Ranges that are averaged over images would cut off the largest logits."""
    pixels = images.train.images
    exact = Classifier.load(exported.folder / "tiny.float32.tflite").logits(pixels)
    int8 = Classifier.load(exported.folder / "tiny.int8.tflite").logits(pixels)
    assert np.abs(int8 - exact).max() < 0.1 * np.ptp(exact)


def test_table_lists_every_file_with_figures(exported):
    document = exported.document
    assert document["schema"].startswith("fer-edge/export/")
    assert [one["format"] for one in document["files"]] == [
        "tflite-float32",
        "tflite-int8",
        "onnx-float32",
        "onnx-int8",
    ]
    for one in document["files"]:
        assert one["bytes"] == (exported.folder / one["file"]).stat().st_size
        assert one["figures"]["count"] == 90


def test_measured_ranges_are_kept_in_the_run_folder(exported, run):
    record = CalibrationRecord.load(
        run / "calibration_ranges.json", run / "model.keras"
    )
    assert (0.0, 255.0) in record.tflite.whole.values()
    assert record.onnx.clipped["pixels"] == (0.0, 255.0)
    assert record.images["count"] == 120


# --- again, without images ---------------------------------------------------------


@pytest.fixture(scope="module")
def again(exported, run, tmp_path_factory):
    """The folder of a second export, where the images are gone and one file is not."""
    away = run.parent / "away"
    (run.parent / "images").rename(away)
    folder = tmp_path_factory.mktemp("again")
    shutil.copy(exported.folder / "tiny.int8.onnx", folder)
    try:
        assert main([str(run), "--int8", "--out", str(folder)]) == 0
    finally:
        away.rename(run.parent / "images")
    return folder


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_export_without_images_gives_the_same_bytes(exported, again, suffix):
    name = f"tiny{suffix}"
    assert (again / name).read_bytes() == (exported.folder / name).read_bytes()


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_histograms_of_the_validation_images_are_in_the_file(exported, images, suffix):
    classifier = Classifier.load(exported.folder / f"tiny{suffix}")
    reference = read_reference(classifier.spec.reference, len(CLASSES))
    answers = classifier.probabilities(images.validation.images)
    expected = measure_reference(images.validation.images, answers)
    assert reference.images == 90
    assert reference.brightness.tolist() == expected.brightness.tolist()
    assert reference.sharpness.tolist() == expected.sharpness.tolist()
    # The Keras model's answers: int8 gives a few others.
    assert np.abs(reference.labels - expected.labels).sum() <= 4


def without_histograms(run):
    path = run / "calibration_ranges.json"
    document = json.loads(path.read_text())
    del document["accuracy"]["reference"]
    path.write_text(json.dumps(document))


def test_older_record_gets_histograms_where_the_images_are_here(
    exported, revised, tmp_path
):
    without_histograms(revised)
    out = tmp_path / "out"
    assert main([str(revised), "--int8", "--out", str(out)]) == 0
    for suffix in SUFFIXES:
        name = f"tiny{suffix}"
        assert (out / name).read_bytes() == (exported.folder / name).read_bytes()


def test_older_record_without_images_gives_files_without_histograms(
    revised, tmp_path, capsys
):
    without_histograms(revised)
    path = revised / "config.json"
    document = json.loads(path.read_text())
    document["config"]["data"] = str(write_patterns(tmp_path / "other", {"train": 3}))
    path.write_text(json.dumps(document))
    assert main([str(revised), "--int8", "--out", str(tmp_path / "out")]) == 0
    assert "no histograms for drift" in capsys.readouterr().out
    file = read_model_file(tmp_path / "out" / "tiny.int8.tflite")
    assert "reference" not in file.document


@pytest.fixture
def revised(exported, run, tmp_path):
    """A copy of the run, in whose record one figure is another than measured here."""
    copy = Path(shutil.copytree(run, tmp_path / "tiny"))
    path = copy / "calibration_ranges.json"
    document = json.loads(path.read_text())
    document["accuracy"]["keras"]["accuracy"] = 0.125
    path.write_text(json.dumps(document))
    return copy


def accuracy_of(folder, name):
    return read_model_file(folder / name).document["accuracy"]["keras"]["accuracy"]


def test_recorded_figures_are_kept_where_the_images_are_here(revised, run, tmp_path):
    assert (run.parent / "images").exists()
    record = (revised / "calibration_ranges.json").read_bytes()
    out = tmp_path / "out"
    assert main([str(revised), "--int8", "--out", str(out)]) == 0
    assert {accuracy_of(out, f"tiny{suffix}") for suffix in SUFFIXES} == {0.125}
    assert (revised / "calibration_ranges.json").read_bytes() == record


@pytest.mark.parametrize("formats", ["int8", "float32"])
def test_other_images_do_not_matter_where_all_is_recorded(revised, tmp_path, formats):
    path = revised / "config.json"
    document = json.loads(path.read_text())
    document["config"]["data"] = str(write_patterns(tmp_path / "other", {"train": 3}))
    path.write_text(json.dumps(document))
    out = tmp_path / "out"
    assert main([str(revised), "--formats", formats, "--out", str(out)]) == 0
    assert accuracy_of(out, f"tiny.{formats}.tflite") == 0.125


def test_files_that_differ_are_replaced_only_with_force(tmp_path, capsys):
    path, out = saved(small_network(), tmp_path / "m.keras"), tmp_path / "out"
    out.mkdir()
    (out / "m.float32.onnx").write_bytes(b"mine")
    given = [str(path), "--labels", "a,b,c", "--out", str(out)]
    assert main(given) == 2
    assert "--force" in one_error_line(capsys)
    assert [one.name for one in out.iterdir()] == ["m.float32.onnx"]
    assert (out / "m.float32.onnx").read_bytes() == b"mine"
    assert main([*given, "--force"]) == 0
    assert len(list(out.iterdir())) == 2


# --- ranges and representative images ----------------------------------------------


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        "[]",
        "{}",
        '{"schema": "fer-edge/ranges/99"}',
        '{"schema": "SCHEMA"}',
        '{"schema": "SCHEMA", "model_sha256": "", "images": {}, "onnx": {},'
        ' "accuracy": {}, "tflite": {"whole": {"x": [1]}, "clipped": {}}}',
        '{"schema": "SCHEMA", "model_sha256": "", "images": {}, "onnx": {},'
        ' "accuracy": {}, "tflite": {"whole": [], "clipped": {}}}',
    ],
    ids=["empty", "cut", "list", "bare", "future", "missing", "one-sided", "no-table"],
)
def test_damaged_ranges_file_says_to_delete_or_restore_it(tmp_path, text):
    path, model = tmp_path / "ranges.json", tmp_path / "model.keras"
    path.write_text(text.replace("SCHEMA", SCHEMA))
    model.write_bytes(b"x")
    with pytest.raises(RunError, match="delete it"):
        CalibrationRecord.load(path, model)
    with pytest.raises(RunError, match="restore it"):
        CalibrationRecord.load(path, model, is_only_copy=True)


def test_ranges_of_another_model_are_not_used(tmp_path):
    path, model = tmp_path / "ranges.json", tmp_path / "model.keras"
    model.write_bytes(b"one")
    ranges = MeasuredRanges({"a": (0.0, 1.0)}, {"a": (0.0, 0.5)})
    record = CalibrationRecord(sha256_of(model), {}, ranges, MeasuredRanges({}, {}), {})
    record.save(path)
    assert CalibrationRecord.load(path, model) == record
    model.write_bytes(b"other")
    assert CalibrationRecord.load(path, model) is None


def test_ranges_that_name_other_tensors_are_refused(exported):
    with pytest.raises(ModelError, match="belong to another model"):
        quantize_tflite.quantize(
            model_bytes(exported, ".float32.tflite"), {"x": (0.0, 1.0)}
        )


def test_calibration_images_come_from_the_training_split(images):
    chosen = select_images(images, 60, seed=1)
    training = {image.tobytes() for image in images.train.images}
    assert len(chosen.images) == 60
    assert all(image.tobytes() in training for image in chosen.images)
    check_leaks(chosen, images)


def test_calibration_on_evaluation_images_is_refused(run, images, tmp_path):
    """The run's validation images offered as somebody's own training images."""
    own = tmp_path / "own"
    shutil.copytree(run.parent / "images" / "val", own / "train")
    chosen = select_images(dataset.load(own), 60, seed=1)
    with pytest.raises(DatasetError, match="calibration images are validation"):
        check_leaks(chosen, images)


# --- subjects ----------------------------------------------------------------------


def small_network(
    size=16, channels=1, *, classes=3, activation=None, rescaling=True, softmax=False
):
    inputs = keras.Input((size, size, channels))
    x = layers.Rescaling(1 / 255)(inputs) if rescaling else inputs
    x = layers.Conv2D(4, 3, strides=2, padding="same")(x)
    x = layers.ReLU()(x)
    x = layers.GlobalAveragePooling2D()(x)
    x = layers.Dense(classes, activation=activation)(x)
    return keras.Model(inputs, layers.Softmax()(x) if softmax else x, name="small")


def sequential_network(*, activation="softmax", rescaling=True):
    first = [layers.Rescaling(1 / 255)] if rescaling else []
    return keras.Sequential(
        [
            keras.Input((16, 16, 1)),
            *first,
            layers.Conv2D(4, 3, padding="same", activation="relu"),
            layers.Flatten(),
            layers.Dense(3, activation=activation),
        ],
        name="row",
    )


def saved(model, path):
    model.save(path)
    return path


def pixels_for(model, count=6):
    shape = (count, *model.inputs[0].shape[1:])
    return np.random.default_rng(5).integers(0, 256, shape).astype(np.float32)


def softmax_at_the_end():
    return {
        "activation": small_network(activation="softmax"),
        "layer": small_network(softmax=True),
        "sequential": sequential_network(),
    }


@pytest.mark.parametrize("kind", ["activation", "layer", "sequential"])
def test_softmax_at_the_end_is_stripped(tmp_path, kind):
    model = softmax_at_the_end()[kind]
    stripped = keras_model.load_classifier(saved(model, tmp_path / "m.keras"))
    pixels = pixels_for(model)
    probabilities = model.predict(pixels, verbose=0)
    logits = stripped.predict(pixels, verbose=0)
    assert np.abs(logits.sum(axis=1) - 1).max() > 1e-3
    exponentials = np.exp(logits - logits.max(axis=1, keepdims=True))
    shares = exponentials / exponentials.sum(axis=1, keepdims=True)
    assert np.allclose(shares, probabilities, atol=1e-5)


@pytest.mark.parametrize("kind", ["functional", "sequential", "no-rescaling"])
def test_folding_the_scaling_changes_no_answer(tmp_path, kind):
    model = {
        "functional": small_network(),
        "sequential": sequential_network(activation=None),
        "no-rescaling": small_network(rescaling=False),
    }[kind]
    loaded = keras_model.load_classifier(saved(model, tmp_path / "m.keras"))
    folded = fold_rescaling(loaded)
    pixels = pixels_for(model)
    expected = model.predict(pixels, verbose=0)
    assert np.allclose(folded.predict(pixels, verbose=0), expected, atol=1e-4)


def test_folded_model_multiplies_no_pixels(tmp_path):
    loaded = keras_model.load_classifier(saved(small_network(), tmp_path / "m.keras"))
    folded = fold_rescaling(loaded)
    assert not any(isinstance(one, layers.Rescaling) for one in folded.layers)


def test_lambda_layer_is_refused(tmp_path):
    inputs = keras.Input((16, 16, 1))
    x = layers.Flatten()(layers.Lambda(lambda pixels: pixels / 255)(inputs))
    model = keras.Model(inputs, layers.Dense(3)(x))
    with pytest.raises(ModelError, match="Lambda"):
        keras_model.load_classifier(saved(model, tmp_path / "m.keras"))


def two_inputs():
    one, other = keras.Input((16, 16, 1)), keras.Input((16, 16, 1))
    x = layers.Flatten()(layers.Add()([one, other]))
    return keras.Model([one, other], layers.Dense(3)(x))


def two_outputs():
    inputs = keras.Input((16, 16, 1))
    x = layers.Flatten()(inputs)
    return keras.Model(inputs, [layers.Dense(3)(x), layers.Dense(2)(x)])


def of_shape(*shape):
    inputs = keras.Input(shape)
    return keras.Model(inputs, layers.Dense(3)(layers.Flatten()(inputs)))


@pytest.mark.parametrize(
    ("make", "part"),
    [
        (two_inputs, "one image input"),
        (two_outputs, "one output"),
        (lambda: of_shape(16, 20, 1), "square"),
        (lambda: of_shape(16, 16, 4), "square"),
        (lambda: of_shape(256), "square"),
        (lambda: small_network(classes=1), "classes >= 2"),
    ],
    ids=["two-inputs", "two-outputs", "oblong", "channels", "flat", "one-class"],
)
def test_model_that_is_no_image_classifier_is_refused(tmp_path, make, part):
    with pytest.raises(ModelError, match=part):
        keras_model.load_classifier(saved(make(), tmp_path / "m.keras"))


@pytest.mark.parametrize(
    ("name", "content", "part"),
    [
        ("model.h5", b"\x89HDF", "damaged"),
        ("model.keras", b"no zip", "damaged"),
        ("model.keras", None, "no such file"),
        ("model.tflite", b"", "an exported file already"),
        ("nothing", None, "no config.json there"),
    ],
    ids=["h5", "damaged", "missing", "tflite", "no-run"],
)
def test_what_cannot_be_exported_is_one_line(tmp_path, capsys, name, content, part):
    path = tmp_path / name
    if content is not None:
        path.write_bytes(content)
    out = tmp_path / "out"
    assert main([str(path), "--labels", "a,b", "--out", str(out)][:1]) == 2
    assert part in one_error_line(capsys)
    assert not out.exists()


def test_unfinished_run_says_how_to_finish_it(run, tmp_path, capsys):
    unfinished = tmp_path / "unfinished"
    unfinished.mkdir()
    shutil.copy(run / "config.json", unfinished)
    assert main([str(unfinished), "--out", str(tmp_path / "out")]) == 2
    assert "python -m train --resume" in one_error_line(capsys)
    assert not (tmp_path / "out").exists()


def test_labels_for_a_run_are_refused(run, capsys):
    assert main([str(run), "--labels", "a,b,c"]) == 2
    assert "leave out --labels" in one_error_line(capsys)


@pytest.mark.parametrize(
    ("labels", "part"),
    [([], "--labels cat,dog"), (["--labels", "a,b"], "has 3 classes, got 2")],
    ids=["none", "too-few"],
)
def test_bare_file_needs_a_label_for_each_class(tmp_path, capsys, labels, part):
    path = saved(small_network(), tmp_path / "m.keras")
    assert main([str(path), *labels, "--out", str(tmp_path / "out")]) == 2
    assert part in one_error_line(capsys)


def test_int8_of_a_bare_file_needs_images(tmp_path, capsys):
    path = saved(small_network(), tmp_path / "m.keras")
    out = tmp_path / "out"
    given = [str(path), "--int8", "--labels", "a,b,c", "--out", str(out)]
    assert main(given) == 2
    assert "--calibration-data" in one_error_line(capsys)
    assert not out.exists()


def test_bare_rgb_file_of_32_pixels_is_exported(tmp_path):
    data = write_patterns(tmp_path / "set", {"train": 50}, size=32, colour=True)
    model = small_network(32, 3, activation="softmax")
    path, out = saved(model, tmp_path / "m.keras"), tmp_path / "out"
    given = [str(path), "--int8", "--labels", ",".join(CLASSES), "--out", str(out)]
    assert main([*given, "--calibration-data", str(data)]) == 0
    assert {one.name for one in out.iterdir()} == {f"m{suffix}" for suffix in SUFFIXES}
    bgr = cv2.imread(str(data / "train" / "dots" / "0.png"))
    rgb = bgr[..., ::-1]
    expected = model.predict(rgb[np.newaxis].astype(np.float32), verbose=0)[0]
    for suffix in SUFFIXES:
        file = Classifier.load(out / f"m{suffix}")
        assert (file.spec.size_px, file.spec.colour) == (32, "rgb")
        answer = file.predict(bgr)
        tolerance = 0.05 if "int8" in suffix else 1e-4
        assert np.abs(answer.probabilities - expected).max() < tolerance


def test_network_of_bgr_is_exported_as_the_line_says(tmp_path, capsys):
    data = write_patterns(tmp_path / "set", {"train": 50}, size=32, colour=True)
    model, pixels = small_network(32, 3, activation="softmax"), keras.Input((32, 32, 3))
    path = saved(keras.Model(pixels, model(pixels[..., ::-1])), tmp_path / "m.keras")
    given = [str(path), "--int8", "--labels", ",".join(CLASSES)]
    out = tmp_path / "out"
    assert main([*given, "--out", str(out), "--calibration-data", str(data)]) == 0
    said = capsys.readouterr().out
    assert "not square are stretched (change: --fit)" in said
    assert "keras.Model(pixels, model(pixels[..., ::-1]))" in said
    bgr = cv2.imread(str(data / "train" / "dots" / "0.png"))
    expected = model.predict(bgr[np.newaxis].astype(np.float32), verbose=0)[0]
    for suffix in SUFFIXES:
        answer = Classifier.load(out / f"m{suffix}").predict(bgr)
        tolerance = 0.05 if "int8" in suffix else 1e-4
        assert np.abs(answer.probabilities - expected).max() < tolerance


def test_bare_file_says_how_its_images_became_square(tmp_path):
    path, out = saved(small_network(), tmp_path / "m.keras"), tmp_path / "out"
    given = [str(path), "--formats", "float32", "--labels", "a,b,c", "--fit", "crop"]
    assert main([*given, "--out", str(out)]) == 0
    assert Classifier.load(out / "m.float32.tflite").spec.fit == "crop"


def test_run_knows_how_its_images_became_square(run, capsys):
    assert main([str(run), "--fit", "crop"]) == 2
    assert "leave out --fit" in one_error_line(capsys)


def test_nothing_is_written_when_a_check_fails(tmp_path, capsys, monkeypatch):
    def fail(*_, **_options):
        raise ModelError("not what it must be")

    monkeypatch.setattr(verify, "check_format", fail)
    path, out = saved(sequential_network(), tmp_path / "m.keras"), tmp_path / "out"
    assert main([str(path), "--labels", "a,b,c", "--out", str(out)]) == 2
    assert "not what it must be" in one_error_line(capsys)
    assert not out.exists()


# --- the checks themselves ---------------------------------------------------------


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_file_under_the_name_of_another_format_is_refused(exported, suffix):
    file = read_model_file(exported.folder / f"tiny{suffix}")
    spec = ModelSpec.from_document(file.document)
    for format in ("float32", "int8"):
        converted = ConvertedModel(f"{file.kind}-{format}", file.model)
        if spec.format == converted.format:
            verify.check_contents(converted, spec)
        else:
            with pytest.raises(ModelError, match="expected"):
                verify.check_contents(converted, spec)


@pytest.mark.parametrize("io", ["uint8", "float32"])
def test_int8_file_with_other_input_and_output_than_asked_is_refused(exported, io):
    file = read_model_file(exported.folder / "tiny.int8.tflite")
    spec = ModelSpec.from_document(file.document)
    with pytest.raises(ModelError, match=f"expected .* {io} input"):
        verify.check_contents(ConvertedModel("tflite-int8", file.model, io), spec)


def test_float_file_that_disagrees_with_keras_is_refused():
    converted = ConvertedModel("tflite-float32", b"")
    require_agreement(converted, {"agreement": 0.999, "count": 1000})
    with pytest.raises(ModelError, match="nothing was written"):
        require_agreement(converted, {"agreement": 0.998, "count": 1000})


@pytest.mark.parametrize(
    ("agreement", "count", "told"),
    [(2 / 6, 6, True), (5 / 6, 6, False), (0.8, 100, True), (0.97, 3000, False)],
)
def test_int8_file_that_often_answers_otherwise_is_told(agreement, count, told):
    figures = {"agreement": agreement, "count": count}
    converted = ConvertedModel("tflite-int8", b"")
    found = describe_disagreement(converted, figures)
    assert ("predicts another label" in found) == told
    assert describe_disagreement(converted, None) == ""


def test_file_that_does_not_load_is_a_model_error():
    broken = ConvertedModel("tflite-float32", b"\x1c\x00\x00\x00TFL3" + bytes(40))
    with pytest.raises(ModelError, match="cannot load"):
        broken.open()


def test_file_name_is_the_runs_name_and_the_format():
    models = [
        ConvertedModel(f"{kind}-{format}", b"")
        for kind in ("tflite", "onnx")
        for format in ("float32", "int8")
    ]
    assert {converted.suffix for converted in models} == set(SUFFIXES)
    assert Path(f"x{models[0].suffix}").suffix == ".tflite"


@pytest.mark.parametrize("then", ["goes on", "logs something", "fails"])
def test_ctrl_c_that_a_converter_swallows_ends_the_export_all_the_same(
    tmp_path, monkeypatch, capsys, then
):
    from export import exporter

    def swallowing(_name, _options, log):
        with contextlib.suppress(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)
        if then == "logs something":
            log("converting")
            raise AssertionError("it went on")
        if then == "fails":
            raise ModelError("TFLite cannot express this model")

    monkeypatch.setattr(exporter, "export", swallowing)
    before = signal.getsignal(signal.SIGINT)
    assert main(["fer2013", "--int8", "--out", str(tmp_path / "out")]) == 130
    assert signal.getsignal(signal.SIGINT) is before
    assert not (tmp_path / "out").exists()
    assert capsys.readouterr().err == "interrupted\n"
