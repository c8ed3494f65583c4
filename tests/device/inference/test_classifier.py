"""Loading a model file and asking it."""

import dataclasses
import subprocess
import sys
import types
from pathlib import Path

import numpy as np
import pytest

from edge_runtime import Classifier, ModelSpec
from edge_runtime.__main__ import main as edge_runtime_main
from edge_runtime.errors import GoldenVectorError, MetadataError, ModelError
from edge_runtime.inference.backends import open_backend
from edge_runtime.inference.classifier import model_path, softmax
from edge_runtime.model_file.container import attach, read_model_file
from edge_runtime.sources.fake.face import LABELS
from tests.onnx_runtime import require_onnxruntime
from train.data.drawn_faces import drawn_faces

ROOT = Path(__file__).resolve().parents[3]
FACES = 210


@pytest.fixture(scope="module")
def classifier(data_folder):
    return Classifier.load(data_folder / "tiny.int8.tflite")


@pytest.fixture(scope="module")
def faces():
    """Drawn faces of a seed that the tiny model did not learn from, and labels."""
    return drawn_faces(FACES, 4242)


@pytest.fixture
def bare_path(tiny_model_path, tmp_path):
    """The tiny model without its metadata."""
    path = tmp_path / "bare.tflite"
    path.write_bytes(read_model_file(tiny_model_path).model)
    return path


def rewritten(source, path, **changes):
    """Writes a model file with an altered spec, as an exporter would have."""
    file = read_model_file(source)
    spec = dataclasses.replace(ModelSpec.from_document(file.document), **changes)
    path.write_bytes(attach(file.model, spec.to_document(), file.kind))
    return path


# --- predictions -------------------------------------------------------------------


def test_prediction_is_the_most_probable_label(classifier, faces):
    prediction = classifier.predict(faces[0][0])
    best = int(prediction.probabilities.argmax())
    assert prediction.label == classifier.spec.labels[best]
    assert prediction.confidence == pytest.approx(prediction.probabilities[best])


@pytest.mark.parametrize(
    "shape", [(48, 48), (200, 120), (30, 30, 1), (90, 60, 3), (90, 60, 4)], ids=str
)
def test_any_size_and_colour_is_predicted(classifier, shape):
    image = np.random.default_rng(1).integers(0, 256, shape, dtype=np.uint8)
    probabilities = classifier.predict(image).probabilities
    assert probabilities.shape == (7,)
    assert probabilities.sum() == pytest.approx(1, abs=1e-5)


def test_predictions_are_far_better_than_chance(classifier, faces):
    images, labels = faces
    answers = classifier.probabilities(images).argmax(axis=1)
    assert np.mean(answers == labels) > 0.4  # chance is 1/7


def test_model_names_the_labels_in_order(classifier):
    assert classifier.spec.labels == LABELS


def test_int8_and_float_files_agree(classifier, tiny_float_path, faces):
    images, _ = faces
    one = classifier.probabilities(images).argmax(axis=1)
    other = Classifier.load(tiny_float_path).probabilities(images).argmax(axis=1)
    assert np.mean(one == other) >= 0.9


# --- batches -----------------------------------------------------------------------


@pytest.mark.parametrize("count", [0, 1, 5])
@pytest.mark.parametrize("name", ["tiny.int8.tflite", "tiny.float32.onnx"])
def test_batch_of_any_size_gives_a_row_each(data_folder, faces, name, count):
    if name.endswith(".onnx"):
        require_onnxruntime()
    probabilities = Classifier.load(data_folder / name).probabilities(faces[0][:count])
    assert probabilities.shape == (count, 7)
    assert probabilities.dtype == np.float32
    assert np.allclose(probabilities.sum(axis=1), 1, atol=1e-5)


def test_a_batch_gives_what_its_images_give_alone(classifier, faces):
    images = faces[0][:4]
    together = classifier.probabilities(images)
    alone = [classifier.predict(image).probabilities for image in images]
    assert np.array_equal(together, np.stack(alone))


def test_grey_batch_may_lack_the_channel_axis(classifier, faces):
    images = faces[0][:3]
    one, other = classifier.logits(images), classifier.logits(images[..., np.newaxis])
    assert np.array_equal(one, other)


@pytest.mark.parametrize(
    "batch",
    [
        np.zeros((2, 47, 48), np.uint8),
        np.zeros((2, 48, 48, 3), np.uint8),
        np.zeros((48, 48), np.uint8),
        np.zeros((2, 48, 48), np.float32),
        np.zeros((2, 48, 48), np.int8),
    ],
    ids=["size", "channels", "single", "float", "signed"],
)
def test_batch_of_wrong_shape_or_type_is_refused(classifier, batch):
    with pytest.raises(ValueError, match="expected uint8"):
        classifier.probabilities(batch)


def test_probabilities_use_the_temperature_of_the_file(
    tiny_model_path, tmp_path, faces
):
    path = rewritten(tiny_model_path, tmp_path / "hot.tflite", temperature=3.0)
    hot = Classifier.load(path)
    images = faces[0][:5]
    expected = softmax(hot.logits(images), 3.0)
    assert np.array_equal(hot.probabilities(images), expected)


# --- labels ------------------------------------------------------------------------


def test_model_without_metadata_asks_for_labels(bare_path):
    with pytest.raises(MetadataError, match="--labels"):
        Classifier.load(bare_path)


def test_model_without_metadata_works_with_labels(bare_path, classifier, faces, caplog):
    bare = Classifier.load(bare_path, labels=LABELS)
    assert "0..255 (raw) by the quantization of its input" in caplog.text
    images = faces[0][:5]
    assert np.array_equal(bare.logits(images), classifier.logits(images))


@pytest.mark.parametrize("count", [2, 6, 8])
def test_wrong_number_of_labels_is_refused(bare_path, count):
    with pytest.raises(ModelError, match=f"one output per label .{count}."):
        Classifier.load(bare_path, labels=[str(n) for n in range(count)])


@pytest.mark.parametrize("labels", [[], ["a"], ["a"] * 7, [*LABELS[:6], ""]], ids=repr)
def test_unusable_labels_are_refused(bare_path, labels):
    with pytest.raises(MetadataError):
        Classifier.load(bare_path, labels=labels)


def test_labels_that_contradict_the_file_are_refused(tiny_model_path):
    with pytest.raises(MetadataError, match="leave out --labels"):
        Classifier.load(tiny_model_path, labels=LABELS[::-1])


def test_labels_that_repeat_the_files_own_are_accepted(tiny_model_path):
    assert Classifier.load(tiny_model_path, labels=list(LABELS)).spec.golden


# --- promises that do not hold -----------------------------------------------------


@pytest.mark.parametrize("name", ["tiny.int8.tflite", "tiny.float32.onnx"])
def test_model_that_answers_otherwise_than_at_export_is_refused(
    data_folder, tmp_path, name
):
    if name.endswith(".onnx"):
        require_onnxruntime()
    golden = ModelSpec.from_document(
        read_model_file(data_folder / name).document
    ).golden
    shift = 1.01 * max(golden.tolerance, golden.tolerance_elsewhere) + 0.01
    shifted = golden.logits + np.float32(2 * shift)
    path = rewritten(
        data_folder / name,
        tmp_path / name,
        golden=dataclasses.replace(golden, logits=shifted),
    )
    with pytest.raises(GoldenVectorError, match="export the model again"):
        Classifier.load(path)


def test_strict_tolerance_counts_only_for_the_same_library_and_version(
    tiny_model_path, tmp_path, classifier
):
    """Within 0 here fails; the same logits from another version may differ."""
    backend = classifier.backend
    golden = classifier.spec.golden
    off = golden.logits + np.float32(0.5 * golden.tolerance_elsewhere)
    here = dataclasses.replace(
        golden,
        logits=off,
        runtime=backend.name,
        version=backend.version,
        tolerance=0.0,
        tolerance_elsewhere=2 * golden.tolerance_elsewhere,
    )
    path = rewritten(tiny_model_path, tmp_path / "same.tflite", golden=here)
    with pytest.raises(GoldenVectorError):
        Classifier.load(path)
    elsewhere = dataclasses.replace(here, version="0.0")
    path = rewritten(tiny_model_path, tmp_path / "other.tflite", golden=elsewhere)
    assert Classifier.load(path).spec.golden.version == "0.0"


@pytest.mark.parametrize(
    ("changes", "part"),
    [
        ({"size_px": 32}, "name an input"),
        ({"colour": "rgb"}, "name an input"),
        ({"labels": ("a", "b", "c")}, "one output per label"),
    ],
    ids=["size", "colour", "labels"],
)
def test_metadata_that_contradict_the_tensors_are_refused(
    tiny_model_path, tmp_path, changes, part
):
    path = rewritten(tiny_model_path, tmp_path / "x.tflite", golden=None, **changes)
    with pytest.raises(ModelError, match=part):
        Classifier.load(path)


def test_metadata_without_labels_are_no_reason_for_a_traceback(
    tiny_model_path, tmp_path
):
    file = read_model_file(tiny_model_path)
    path = tmp_path / "x.tflite"
    path.write_bytes(attach(file.model, {"schema": 1}, "tflite"))
    with pytest.raises(MetadataError):
        Classifier.load(path, labels=LABELS)


# --- backends ----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "backend"),
    [
        ("tiny.int8.tflite", "onnxruntime"),
        ("tiny.float32.onnx", "ai-edge-litert"),
        ("tiny.float32.onnx", "tflite-runtime"),
        ("tiny.int8.tflite", "nonsense"),
    ],
)
def test_backend_that_does_not_run_this_kind_of_file_is_refused(
    data_folder, name, backend
):
    with pytest.raises(ModelError, match=f"got backend '{backend}'"):
        Classifier.load(data_folder / name, backend=backend)


def test_backend_may_be_named(tiny_model_path, classifier):
    again = Classifier.load(tiny_model_path, backend=classifier.backend.name)
    assert again.backend.name == classifier.backend.name


@pytest.mark.parametrize(
    ("name", "backend", "command"),
    [
        (
            "tiny.int8.tflite",
            "auto",
            "pip install 'fer-edge[litert]' or 'fer-edge[tflite-runtime]'",
        ),
        ("tiny.int8.tflite", "ai-edge-litert", "pip install 'fer-edge[litert]'"),
        ("tiny.float32.onnx", "auto", "pip install 'fer-edge[onnx]'"),
    ],
    ids=["tflite", "named", "onnx"],
)
def test_without_an_inference_library_the_error_gives_the_pip_command(
    data_folder, name, backend, command
):
    code = (
        "import sys\n"
        "for name in ('ai_edge_litert', 'ai_edge_litert.interpreter',"
        " 'tflite_runtime', 'tflite_runtime.interpreter', 'onnxruntime'):\n"
        "    sys.modules[name] = None\n"
        "from edge_runtime import Classifier\n"
        "from edge_runtime.errors import MissingDependencyError\n"
        "try:\n"
        f"    Classifier.load({str(data_folder / name)!r}, backend={backend!r})\n"
        "except MissingDependencyError as error:\n"
        "    print(error)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True
    )
    assert done.stdout.strip().endswith(f"run  {command}"), done.stderr


def test_tflite_runtime_is_refused_with_numpy_2_and_says_so(
    tiny_model_path, monkeypatch
):
    if int(np.__version__.split(".")[0]) < 2:
        pytest.skip("NumPy 1 is in this environment, where tflite-runtime works")
    installed = types.ModuleType("tflite_runtime")
    monkeypatch.setitem(sys.modules, "tflite_runtime", installed)
    with pytest.raises(Exception, match="pip install 'numpy<2'"):
        open_backend(read_model_file(tiny_model_path), "tflite-runtime")


def test_without_a_path_the_released_model_is_taken_or_missed_with_advice():
    """Both are right: a checkout has no released model before the first release."""
    try:
        path = model_path(None)
    except ModelError as error:
        assert "python -m export" in str(error)
    else:
        assert Classifier.load().file.name == path.name


def test_onnx_model_of_free_image_size_is_refused(tmp_path):
    onnx = pytest.importorskip("onnx", reason="onnx is not in this environment")
    require_onnxruntime()
    helper, floats = onnx.helper, onnx.TensorProto.FLOAT
    graph = helper.make_graph(
        [
            helper.make_node("GlobalAveragePool", ["x"], ["pooled"]),
            helper.make_node("Flatten", ["pooled"], ["y"]),
        ],
        "free",
        [helper.make_tensor_value_info("x", floats, [None, None, None, 3])],
        [helper.make_tensor_value_info("y", floats, [None, None])],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)])
    model.ir_version = 8
    path = tmp_path / "free.onnx"
    path.write_bytes(model.SerializeToString())
    with pytest.raises(ModelError, match="square image input"):
        Classifier.load(path, labels=["a", "b"])


@pytest.mark.parametrize("share", [0.2, 0.5, 0.9, 0.999])
@pytest.mark.parametrize("named", [True, False], ids=["labels", "no-labels"])
def test_cut_off_file_without_metadata_is_called_damaged(
    tiny_model_path, tmp_path, share, named
):
    model = read_model_file(tiny_model_path).model
    path = tmp_path / "cut.tflite"
    path.write_bytes(model[: int(len(model) * share)])
    with pytest.raises(ModelError, match="cut off"):
        Classifier.load(path, labels=LABELS if named else None)


def test_check_calls_a_cut_off_file_damaged(tiny_model_path, tmp_path, capsys):
    model = read_model_file(tiny_model_path).model
    path = tmp_path / "cut.tflite"
    path.write_bytes(model[: len(model) * 9 // 10])
    assert edge_runtime_main(["check", str(path)]) == 2
    assert "cut off" in capsys.readouterr().err
