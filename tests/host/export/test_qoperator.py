"""ONNX files of others in QOperator form, for which not every kernel is exact."""

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from edge_runtime import Classifier

SIZE = 4
WEIGHTS = np.random.default_rng(1).integers(-60, 60, (SIZE * SIZE * 3, 3))


def file_of(node, path):
    """A file that makes pixels int8 and multiplies them with int8 weights."""
    number = {"f": np.float32(1.0), "zero": np.int8(0), "black": np.int8(-128)}
    constants = [numpy_helper.from_array(np.array(v), k) for k, v in number.items()]
    constants += [
        numpy_helper.from_array(WEIGHTS.astype(np.int8), "weights"),
        numpy_helper.from_array(np.array([-1, SIZE * SIZE * 3]), "flat"),
        numpy_helper.from_array(np.float32(0.01), "scale"),
    ]
    nodes = [
        helper.make_node("QuantizeLinear", ["pixels", "f", "black"], ["bytes"]),
        helper.make_node("Reshape", ["bytes", "flat"], ["row"]),
        *node,
    ]
    shape = ["batch", SIZE, SIZE, 3]
    graph = helper.make_graph(
        nodes,
        "q",
        [helper.make_tensor_value_info("pixels", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["batch", 3])],
        constants,
    )
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid("com.microsoft", 1)]
    model = helper.make_model(graph, opset_imports=opsets)
    model.ir_version = 8
    onnx.save(model, path)
    return path


def gemm():
    inputs = ["row", "f", "black", "weights", "scale", "zero"]
    return [helper.make_node("QGemm", inputs, ["logits"], domain="com.microsoft")]


def integer_product():
    return [
        helper.make_node(
            "MatMulInteger", ["row", "weights", "black", "zero"], ["sums"]
        ),
        helper.make_node("Cast", ["sums"], ["floats"], to=TensorProto.FLOAT),
        helper.make_node("Mul", ["floats", "scale"], ["logits"]),
    ]


@pytest.mark.parametrize("nodes", [gemm, integer_product])
def test_file_in_integers_is_loaded_and_answers_exactly(tmp_path, nodes):
    path = file_of(nodes(), tmp_path / "q.onnx")
    classifier = Classifier.load(path, labels=("a", "b", "c"))
    pixels = np.random.default_rng(2).integers(0, 256, (5, SIZE, SIZE, 3))
    found = classifier.logits(pixels.astype(np.uint8))
    expected = 0.01 * (pixels.reshape(5, -1) @ WEIGHTS)
    assert np.allclose(found, expected, rtol=1e-5)
