"""The reader of ONNX graphs: right on real files, bounded on hostile ones."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edge_runtime.errors import ModelError
from edge_runtime.graph.ir import count_macs
from edge_runtime.graph.onnx import LARGEST_STRUCTURE_BYTES, read_onnx
from edge_runtime.graph.protobuf import write_varint
from edge_runtime.inspection.analyzer import analyze, read_graph
from edge_runtime.model_file.container import read_model_file

onnx = pytest.importorskip("onnx", reason="reads the graphs of .onnx files")
from onnx import TensorProto, helper  # noqa: E402

DATA = Path(__file__).resolve().parents[2] / "data"
CPU_SECONDS = 5.0  # on a slow machine; a real file takes milliseconds
MEMORY_MIB = 800
NODE, INITIALIZER, GRAPH = b"\x0a", b"\x2a", b"\x3a"


def model_of(name: str) -> bytes:
    return read_model_file(DATA / name).model


def build(nodes: list[Any], *constants: Any, functions: Any = ()) -> bytes:
    """Returns a model from x, float32 (batch, 2, 8, 8), to y."""
    graph = helper.make_graph(
        nodes,
        "graph",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["batch", 2, 8, 8])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)],
        constants,
    )
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid("com.microsoft", 1)]
    opsets.append(helper.make_opsetid("local", 1))
    model = helper.make_model(graph, opset_imports=opsets, functions=functions)
    return bytes(model.SerializeToString())


def constant(name: str, values: Any, dtype: str = "float32") -> Any:
    return onnx.numpy_helper.from_array(np.asarray(values, dtype), name)


# --- real files ---------------------------------------------------------------------


@pytest.mark.parametrize("name", ["tiny.int8.onnx", "tiny.float32.onnx"])
def test_an_onnx_file_has_the_macs_of_the_tflite_file(name):
    totals = []
    for file in ("tiny.int8.tflite", name):
        graph = read_graph(read_model_file(DATA / file))
        totals.append(sum(count_macs(graph, one) or 0 for one in graph.operators))
    assert totals[0] == totals[1] > 0


def test_qdq_groups_come_out_as_integer_operators():
    summary = analyze(read_onnx(model_of("tiny.int8.onnx")))
    weighted = [layer for layer in summary.layers if layer.weights is not None]
    assert {layer.dtype for layer in weighted} == {"int8"}
    assert all(layer.per_channel for layer in weighted)
    assert summary.quantized_input is not None
    assert summary.quantized_input.dtype == "uint8"
    assert summary.quantized_input.scales.tolist() == [1.0]


def test_constants_have_the_bytes_of_their_shape():
    for tensor in read_onnx(model_of("tiny.float32.onnx")).tensors:
        if tensor.constant and tensor.dtype == "float32":
            assert tensor.bytes == 4 * tensor.elements


# --- what files may contain ---------------------------------------------------------


def test_operators_of_onnx_runtime_pass_their_shape_and_type_on():
    """As in a QOperator file, whose additions have no schema in the onnx package."""
    one, zero = constant("one", 1.0), constant("zero", 0, "uint8")
    nodes = [
        helper.make_node("QuantizeLinear", ["x", "one", "zero"], ["q"]),
        helper.make_node(
            "QLinearAdd",
            ["q", "one", "zero", "q", "one", "zero", "one", "zero"],
            ["sum"],
            domain="com.microsoft",
        ),
        helper.make_node(
            "QLinearConv",
            ["sum", "one", "zero", "w", "one", "w_zero", "one", "zero"],
            ["c"],
        ),
        helper.make_node("DequantizeLinear", ["c", "one", "zero"], ["y"]),
    ]
    weights = constant("w", np.ones((4, 2, 3, 3)), "int8")
    w_zero = constant("w_zero", 0, "int8")
    summary = analyze(read_onnx(build(nodes, one, zero, weights, w_zero)))
    layers = {layer.operator: layer for layer in summary.layers}
    assert layers["QLinearConv"].macs == 4 * 6 * 6 * 2 * 9
    assert layers["QLinearConv"].dtype == layers["QLinearAdd"].dtype == "int8"
    assert summary.custom_operators == ()


def test_weights_in_another_file_are_never_loaded(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "weights.bin").write_bytes(np.ones(4, "f4").tobytes())
    scale = constant("scale", 1.0)
    onnx.external_data_helper.set_external_data(scale, "weights.bin")
    scale.ClearField("raw_data")
    zero = constant("zero", 0, "uint8")
    node = helper.make_node("QuantizeLinear", ["x", "scale", "zero"], ["y"])
    graph = read_onnx(build([node], scale, zero))
    tensors = {tensor.name: tensor for tensor in graph.tensors}
    assert tensors["scale"].constant
    assert len(tensors["y"].scales) == 0


def test_functions_that_call_themselves_are_custom_operators():
    call = helper.make_node("Again", ["x"], ["y"], domain="local")
    opsets = [helper.make_opsetid("local", 1)]
    again = helper.make_function("local", "Again", ["x"], ["y"], [call], opsets)
    summary = analyze(read_onnx(build([call], functions=[again])))
    assert summary.custom_operators == ("Again",)


def test_a_size_that_is_not_known_gives_no_macs():
    nodes = [
        helper.make_node("NonZero", ["x"], ["places"]),
        helper.make_node("Cast", ["places"], ["values"], to=TensorProto.FLOAT),
        helper.make_node("MatMul", ["w", "values"], ["y"]),
    ]
    summary = analyze(read_onnx(build(nodes, constant("w", np.ones((3, 4))))))
    assert summary.layers[-1].macs is None


# --- hostile files ------------------------------------------------------------------


def part(tag: bytes, content: bytes) -> bytes:
    return tag + write_varint(len(content)) + content


HOSTILE = {
    "endless graph": part(GRAPH, b"\x08\x01" * 2_000_000),
    "endless nodes": part(GRAPH, b"\x0a\x00" * 2_000_000),
    "endless attributes": part(GRAPH, part(NODE, b"\x2a\x00" * 1_100_000)),
    "endless sizes": part(GRAPH, part(INITIALIZER, b"\x08\x01" * 2_000_000)),
    "endless names": part(GRAPH, part(NODE, b"\x0a\x00" * 1_100_000)),
    "endless opsets": b"\x42\x00" * 2_000_000,
}


@pytest.mark.parametrize("name", HOSTILE)
def test_a_file_that_would_fill_the_memory_is_refused_unparsed(name):
    started = time.process_time()
    with pytest.raises(ModelError, match="bytes of graph beside the weights"):
        read_onnx(b"\x08\x0a" + HOSTILE[name])
    assert time.process_time() - started < CPU_SECONDS


def test_the_worst_file_below_the_bound_stays_in_memory(tmp_path):
    path = tmp_path / "hostile.onnx"
    content = part(NODE, b"\x2a\x00" * (LARGEST_STRUCTURE_BYTES // 2 - 100))
    path.write_bytes(b"\x08\x0a" + part(b"\x42", b"\x10\x0d") + part(GRAPH, content))
    code = (
        "import re, sys\n"
        "from edge_runtime.graph.onnx import read_onnx\n"
        "from edge_runtime.errors import ModelError\n"
        "try:\n    read_onnx(open(sys.argv[1], 'rb').read())\n"
        "except ModelError:\n    pass\n"
        # Not ru_maxrss: that counts the parent, too.
        "status = open('/proc/self/status').read()\n"
        "print(int(re.search(r'VmHWM:\\s+(\\d+)', status)[1]) // 1024)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(path)],
        capture_output=True,
        text=True,
        cwd=DATA.parents[1],
        check=True,
    )
    assert int(done.stdout) < MEMORY_MIB


def test_large_weights_are_no_structure():
    weights = constant("w", np.zeros((2**20, 2)))
    node = helper.make_node("MatMul", ["w", "x"], ["y"])
    graph = read_onnx(build([node], weights))
    assert graph.tensors[0].bytes == 2**23 > LARGEST_STRUCTURE_BYTES
