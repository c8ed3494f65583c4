"""ONNX files of others give what ONNX Runtime says, or the command asks."""

import sys

import numpy as np
import pytest

from edge_runtime import Classifier
from edge_runtime.__main__ import main
from edge_runtime.errors import MetadataError, ModelError
from edge_runtime.inference import foreign
from edge_runtime.inference.backends import open_backend
from edge_runtime.model_file.container import read_model_file
from edge_runtime.model_file.pixels import SCALINGS
from tests.foreign_models import SIZE, weights
from tests.onnx_runtime import require_onnxruntime

LABELS = ("red", "green", "blue")


@pytest.fixture(autouse=True)
def nothing_said_yet():
    foreign._warn_once.cache_clear()


@pytest.fixture(scope="module")
def images():
    noise = np.random.default_rng(3).integers(0, 256, (8, SIZE, SIZE, 3), np.uint8)
    noise[0], noise[1] = 0, 255
    return noise


@pytest.fixture
def save(tmp_path):
    """Writes an ONNX model: operators with constants, a product, and an end."""
    onnx = pytest.importorskip("onnx", reason="writes ONNX files")
    require_onnxruntime()
    helper, numpy_helper = onnx.helper, onnx.numpy_helper

    def write(
        first=(),
        end=(),
        *,
        shape=("N", SIZE, SIZE, 3),
        quantization=None,
        product="Gemm",
        answer=None,
        dtype=np.float32,
    ):
        nodes, constants, index = [], [], "x"

        def constant(value, dtype=dtype):
            name = f"c{len(constants)}"
            constants.append(numpy_helper.from_array(np.asarray(value, dtype), name))
            return name

        def node(operator, *inputs, **attributes):
            output = f"{operator}_{len(nodes)}"
            nodes.append(helper.make_node(operator, inputs, [output], **attributes))
            return output

        if quantization:
            scale, zero = constant(quantization[0]), constant(quantization[1], np.uint8)
            index = node("QuantizeLinear", index, scale, zero)
            index = node("DequantizeLinear", index, scale, zero)
        for operator, value in first:
            index = node(operator, index, constant(value))
        index = node("Flatten", index)
        index = node(product, index, constant(4 * weights(3).T))
        if product == "MatMul":
            index = node("Add", index, constant(np.zeros(3)))
        for operator, attributes in end:
            index = node(operator, index, **attributes)
        if answer:
            index = node("Reshape", index, constant(answer, np.int64))
        kind = helper.np_dtype_to_tensor_dtype(np.dtype(dtype))
        graph = helper.make_graph(
            nodes,
            "g",
            [helper.make_tensor_value_info("x", kind, shape)],
            [helper.make_tensor_value_info(index, kind, answer or [shape[0], 3])],
            constants,
        )
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)])
        model.ir_version = 8
        path = tmp_path / "m.onnx"
        path.write_bytes(model.SerializeToString())
        return path

    return write


def own_answers(path, values, dtype=np.float32):
    session = require_onnxruntime().InferenceSession(str(path))
    return session.run(None, {"x": values.astype(dtype)})[0]


ENDS = {
    "softmax": [("Softmax", {"axis": 1})],
    "identity": [("Softmax", {"axis": 1}), ("Identity", {})],
    "sigmoid": [("Sigmoid", {})],
}


@pytest.mark.parametrize("end", ENDS.values(), ids=ENDS)
def test_probabilities_are_those_of_onnx_runtime(save, images, end):
    path = save([("Mul", 1 / 255)], end)
    classifier = Classifier.load(path, labels=LABELS)
    expected = own_answers(path, images)
    assert classifier.spec.output == "probabilities"
    assert np.allclose(classifier.probabilities(images), expected, atol=1e-5)


@pytest.mark.parametrize("dtype", [np.float16, np.float64])
def test_other_floats_are_taken(save, images, dtype):
    path = save([("Mul", 1 / 255)], ENDS["softmax"], product="MatMul", dtype=dtype)
    classifier = Classifier.load(path, labels=LABELS, pixels=SCALINGS["raw"])
    expected = own_answers(path, images, dtype)
    assert np.allclose(classifier.probabilities(images), expected, atol=1e-3)


@pytest.mark.parametrize("answer", [(1, 3, 1, 1), (1, 1, 1, 3), (3,)], ids=str)
def test_one_number_a_class_is_enough_of_a_shape(save, images, answer):
    path = save(
        [("Mul", 1 / 255)], ENDS["softmax"], shape=(1, SIZE, SIZE, 3), answer=answer
    )
    found = Classifier.load(path, labels=LABELS).probabilities(images)
    expected = [own_answers(path, image[np.newaxis]).ravel() for image in images]
    assert np.allclose(found, expected, atol=1e-5)


def test_softmax_along_the_images_is_refused(save):
    path = save([("Mul", 1 / 255)], [("Softmax", {"axis": 0})])
    with pytest.raises(ModelError, match="not along the classes"):
        Classifier.load(path, labels=LABELS)


@pytest.mark.parametrize("product", ["Gemm", "MatMul"])
def test_logits_get_a_softmax(save, images, product):
    path = save([("Div", 255.0)], product=product)
    exponents = np.exp(own_answers(path, images))
    expected = exponents / exponents.sum(axis=1, keepdims=True)
    found = Classifier.load(path, labels=LABELS).probabilities(images)
    assert np.allclose(found, expected, atol=1e-5)


@pytest.mark.parametrize(
    ("first", "name"),
    [
        ([("Div", 127.5), ("Sub", 1.0)], "raw"),
        ([("Sub", [0.485, 0.456, 0.406]), ("Div", [0.229, 0.224, 0.225])], "unit"),
    ],
    ids=["MobileNetV2", "torchvision"],
)
def test_scaling_inside_the_model_says_what_it_takes(save, images, first, name):
    path = save(first, ENDS["softmax"])
    scale, offset = SCALINGS[name]
    expected = own_answers(path, np.array(scale) * images + np.array(offset))
    found = Classifier.load(path, labels=LABELS).probabilities(images)
    assert np.allclose(found, expected, atol=1e-5)


@pytest.mark.parametrize(
    ("quantization", "words"),
    [((1.0, 0), "0..255 (raw)"), ((1 / 255, 0), "0..1"), ((1 / 127.5, 128), "-1.0")],
    ids=["raw", "unit", "signed"],
)
def test_quantization_at_the_input_says_it(save, images, caplog, quantization, words):
    path = save(end=ENDS["softmax"], quantization=quantization)
    found = Classifier.load(path, labels=LABELS).probabilities(images)
    scale, zero = quantization
    expected = own_answers(path, scale * (images.astype(float) - zero))
    assert np.allclose(found, expected, atol=1e-5)
    assert words in caplog.text


def test_file_that_does_not_say_its_pixels_is_asked_about(save):
    path = save(end=ENDS["softmax"])
    with pytest.raises(MetadataError, match="--pixels raw"):
        Classifier.load(path, labels=LABELS)
    assert Classifier.load(path, labels=LABELS, pixels=SCALINGS["unit"])


@pytest.fixture
def no_onnx_package(monkeypatch):
    """Taken away after the file is written."""

    def remove():
        monkeypatch.setitem(sys.modules, "onnx", None)

    return remove


def test_without_the_onnx_package_it_is_asked_for(save, no_onnx_package, capsys):
    path = save([("Mul", 1 / 255)], ENDS["softmax"])
    no_onnx_package()
    assert main(["run", str(path), "--labels", "a,b,c", "--source", "x.png"]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert "--pixels raw" in line
    assert "pip install 'fer-edge[onnx-check]'" in line


def test_without_it_a_softmax_is_seen_in_the_answers(save, no_onnx_package, images):
    path = save([("Mul", 1 / 255)], ENDS["softmax"])
    expected = own_answers(path, images)
    no_onnx_package()
    classifier = Classifier.load(path, labels=LABELS, pixels=SCALINGS["raw"])
    assert np.allclose(classifier.probabilities(images), expected, atol=1e-5)


@pytest.mark.parametrize("end", ["sigmoid", "logits"])
def test_without_it_what_may_be_both_is_asked_for(save, no_onnx_package, end):
    path = save([("Mul", 1 / 255)], ENDS.get(end, []))
    no_onnx_package()
    if end == "sigmoid":
        with pytest.raises(MetadataError, match="--model-output"):
            Classifier.load(path, labels=LABELS, pixels=SCALINGS["raw"])
    else:
        classifier = Classifier.load(path, labels=LABELS, pixels=SCALINGS["raw"])
        assert classifier.spec.output == "logits"


@pytest.mark.parametrize(
    ("shape", "part"),
    [
        (("N", 3, 4, SIZE), "channels first"),
        ((4, SIZE, SIZE, 3), "4 images at once"),
    ],
    ids=["channels", "batch"],
)
def test_other_shape_is_named(save, shape, part):
    path = save([("Mul", 1 / 255)], ENDS["softmax"], shape=shape)
    with pytest.raises(ModelError, match=part):
        Classifier.load(path, labels=LABELS)


def test_weights_in_another_file_are_named(save):
    import onnx

    path = save([("Mul", 1 / 255)], ENDS["softmax"])
    onnx.save(
        onnx.load(path),
        path,
        save_as_external_data=True,
        location="m.onnx.data",
        size_threshold=0,
    )
    for pixels in (None, SCALINGS["raw"]):
        with pytest.raises(ModelError, match="keeps its weights in another file"):
            Classifier.load(path, labels=LABELS, pixels=pixels)


def test_file_of_a_newer_onnx_says_what_helps(save):
    import onnx

    path = save([("Mul", 1 / 255)], ENDS["softmax"])
    model = onnx.load(path)
    model.ir_version = 99
    path.write_bytes(model.SerializeToString())
    with pytest.raises(ModelError, match=r"install a newer onnxruntime.*IR version"):
        Classifier.load(path, labels=LABELS)


def test_file_that_makes_one_answer_of_a_batch_is_asked_for_each_image(save, images):
    path = save(end=[("ReduceMean", {"axes": [0], "keepdims": 1})])
    file = read_model_file(path)
    backend = open_backend(file)
    whole = backend.logits(images)
    assert whole.shape == (len(images), 3)
    for image, row in zip(images, whole, strict=True):
        np.testing.assert_array_equal(backend.logits(image[np.newaxis])[0], row)
    assert backend.logits(images[:0]).shape == (0, 3)
