"""The inference libraries behind one call: the same numbers, silently."""

import importlib.metadata
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from edge_runtime import Classifier
from edge_runtime.errors import MissingDependencyError, ModelError
from edge_runtime.inference.backends import (
    BACKENDS,
    BACKENDS_BY_KIND,
    open_backend,
)
from edge_runtime.inference.tensors import (
    Quantization,
    TensorInfo,
    dequantize,
    output_table,
)
from edge_runtime.model_file.container import read_model_file
from tests.onnx_runtime import require_onnxruntime
from train.data.drawn_faces import drawn_faces

ROOT = Path(__file__).resolve().parents[3]
FILES = [
    "tiny.int8.tflite",
    "tiny.float32.tflite",
    "tiny.int8.onnx",
    "tiny.float32.onnx",
]
# float32 sums in another order: the last digits of logits of about 10.
FLOAT_TOLERANCE = 1e-3


def here(name):
    """A file name, skipped where no library of this environment runs it."""
    if name.endswith(".onnx"):
        require_onnxruntime()
    return name


@pytest.fixture(scope="module")
def images():
    return drawn_faces(70, 99)[0][..., np.newaxis]


def logits_of(data_folder, name, images, **options):
    return Classifier.load(data_folder / here(name), **options).logits(images)


def test_float_tflite_and_float_onnx_give_the_same_logits(data_folder, images):
    one = logits_of(data_folder, "tiny.float32.onnx", images)
    other = logits_of(data_folder, "tiny.float32.tflite", images)
    assert np.abs(one - other).max() < FLOAT_TOLERANCE


@pytest.mark.parametrize("name", ["tiny.int8.tflite", "tiny.int8.onnx"])
def test_int8_logits_are_near_those_of_the_float_file(data_folder, images, name):
    exact = logits_of(data_folder, "tiny.float32.tflite", images)
    difference = np.abs(logits_of(data_folder, name, images) - exact)
    assert difference.mean() < 0.05 * exact.std()


def test_int8_onnx_answers_on_every_processor_as_where_it_was_exported(data_folder):
    """Without VNNI the library's fastest kernels saturate: a logit was off by 2.1."""
    require_onnxruntime()
    assert Classifier.load(data_folder / "tiny.int8.onnx").golden_difference < 1e-5


@pytest.mark.parametrize("name", FILES)
def test_logits_are_float32_and_answer_to_the_pixels(data_folder, images, name):
    logits = logits_of(data_folder, name, images)
    assert logits.dtype == np.float32
    assert logits.shape == (len(images), 7)
    assert np.ptp(logits, axis=0).min() > 0


@pytest.mark.parametrize("name", FILES)
def test_two_threads_give_the_same_logits_as_one(data_folder, images, name):
    one = logits_of(data_folder, name, images, num_threads=1)
    two = logits_of(data_folder, name, images, num_threads=2)
    assert np.abs(one - two).max() < FLOAT_TOLERANCE


@pytest.mark.parametrize("name", FILES)
def test_the_same_image_gives_the_same_logits_again(data_folder, images, name):
    classifier = Classifier.load(data_folder / here(name))
    first = classifier.logits(images[:3])
    classifier.logits(images[3:9])
    assert np.array_equal(classifier.logits(images[:3]), first)


def test_result_is_not_overwritten_by_the_next_call(data_folder, images):
    classifier = Classifier.load(data_folder / "tiny.float32.tflite")
    first = classifier.logits(images[:1])
    kept = first.copy()
    classifier.logits(images[5:6])
    assert np.array_equal(first, kept)


def test_input_and_output_of_the_int8_file_are_read_from_it(data_folder):
    backend = Classifier.load(data_folder / "tiny.int8.tflite").backend
    assert backend.input.shape == (1, 48, 48, 1)
    assert backend.input.dtype == np.int8
    assert (
        backend.input.quantization.scale,
        backend.input.quantization.zero_point,
    ) == (
        1.0,
        -128,
    )
    assert backend.output.quantization


def test_free_batch_of_an_onnx_file_is_zero_in_its_shape(data_folder):
    backend = Classifier.load(data_folder / here("tiny.float32.onnx")).backend
    assert backend.input.shape == (0, 48, 48, 1)


@pytest.mark.parametrize("name", FILES)
def test_backend_names_its_library_and_version(data_folder, name):
    backend = Classifier.load(data_folder / here(name)).backend
    assert backend.name in ("ai-edge-litert", "tflite-runtime", "onnxruntime")
    assert backend.version == importlib.metadata.version(backend.name)


def test_answers_of_a_batch_are_those_of_its_images(data_folder, images):
    for name in ("tiny.int8.tflite", "tiny.float32.tflite"):
        backend = Classifier.load(data_folder / name).backend
        single = [backend.logits(image[np.newaxis]) for image in images[:3]]
        assert np.array_equal(backend.logits(images[:3]), np.concatenate(single))
        assert backend.logits(images[:0]).shape == (0, *single[0].shape[1:])
        assert backend.logits(images[:0]).dtype == np.float32


@pytest.mark.parametrize("dtype", [np.int8, np.uint8])
def test_table_of_answers_holds_what_dequantize_says(dtype):
    tensor = TensorInfo((1, 7), np.dtype(dtype), Quantization(0.137, 3))
    integers = np.arange(256, dtype=np.uint8).view(dtype)
    table = output_table(tensor)
    assert table is not None
    expected = dequantize(integers, tensor.quantization)
    assert np.array_equal(table[integers.view(np.uint8)], expected)


def test_only_bytes_that_stand_for_real_values_have_a_table():
    wide = TensorInfo((1, 7), np.dtype(np.int16), Quantization(0.1, 0))
    real = TensorInfo((1, 7), np.dtype(np.float32), Quantization(0.0, 0))
    assert (output_table(wide), output_table(real)) == (None, None)


@pytest.mark.parametrize("name", FILES)
def test_nothing_is_printed_while_loading_and_predicting(data_folder, name):
    code = (
        "import numpy\n"
        "from edge_runtime import Classifier\n"
        f"model = Classifier.load({str(data_folder / here(name))!r}, num_threads=2)\n"
        "model.predict(numpy.zeros((50, 50), numpy.uint8))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_bytes_that_are_no_onnx_model_are_a_model_error(tmp_path):
    path = tmp_path / here("no.onnx")
    path.write_bytes(b"\x08\x0a\x12\x03abc")
    with pytest.raises(ModelError, match="cannot load it"):
        open_backend(read_model_file(path))


@pytest.mark.parametrize("threads", [np.int64(1), np.uint8(1)])
def test_number_of_threads_may_be_numpys(data_folder, threads):
    file = read_model_file(data_folder / "tiny.int8.tflite")
    assert open_backend(file, threads=threads).input.shape[0] == 1


@pytest.mark.parametrize("threads", [1.0, "1", None])
def test_number_of_threads_is_an_integer(data_folder, threads):
    file = read_model_file(data_folder / "tiny.int8.tflite")
    with pytest.raises(ValueError, match="expected 1 to 256 threads"):
        open_backend(file, threads=threads)


@pytest.mark.parametrize("threads", [-1, 0, 257])
def test_impossible_number_of_threads_is_not_the_files_fault(data_folder, threads):
    with pytest.raises(ValueError, match=f"expected 1 to 256 threads, got {threads}"):
        Classifier.load(data_folder / "tiny.int8.tflite", num_threads=threads)


def test_library_that_cannot_be_loaded_is_not_called_missing(monkeypatch):
    file = read_model_file(ROOT / "tests" / "data" / "tiny.int8.tflite")

    def broken(*_):
        raise ImportError("libgomp.so.1: cannot open shared object file")

    def absent(*_):
        raise ModuleNotFoundError("No module named 'tflite_runtime'")

    first, second = BACKENDS_BY_KIND[file.kind]
    monkeypatch.setitem(BACKENDS, second, absent)
    monkeypatch.setitem(BACKENDS, first, broken)
    with pytest.raises(MissingDependencyError, match=r"cannot be loaded: libgomp.*"):
        open_backend(file)
    monkeypatch.setitem(BACKENDS, first, absent)
    with pytest.raises(MissingDependencyError, match="is not installed: run  pip"):
        open_backend(file)
