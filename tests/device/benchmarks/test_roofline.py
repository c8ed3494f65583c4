"""The roofline: peak models, prefixes of a graph, and shares of the peak."""

import dataclasses
import json

import numpy as np
import pytest

from benchmarks.__main__ import main
from benchmarks.common.interpreter import invoke_call
from benchmarks.roofline.measure import PROTOCOL, measure_roofline, physical_gmacs
from benchmarks.roofline.peak_model import CONVOLUTIONS, Convolution, peak_model
from benchmarks.roofline.prefix_model import prefix_model
from benchmarks.roofline.table import roofline_table
from edge_runtime import Classifier
from edge_runtime.graph.tflite import read_tflite
from edge_runtime.inspection.analyzer import analyze, read_graph
from edge_runtime.model_file.container import read_model_file

QUICK = dataclasses.replace(
    PROTOCOL,
    runs=2,
    seconds=0,
    windows=1,
    window_seconds=0,
    block_runs=2,
    block_seconds=0,
    warmup_runs=1,
    warmup_seconds=0,
)
SMALL = Convolution(side_px=5, channels=4, kernel_px=3)


@pytest.fixture
def library(tiny_model_path):
    return Classifier.load(tiny_model_path).backend.name


@pytest.fixture
def interpreter(library):
    if library == "tflite-runtime":
        from tflite_runtime.interpreter import Interpreter
    else:
        from ai_edge_litert.interpreter import Interpreter
    return Interpreter


def run_model(interpreter, model, image):
    runner = interpreter(model_content=model)
    runner.allocate_tensors()
    runner.set_tensor(runner.get_input_details()[0]["index"], image)
    runner.invoke()
    return [runner.get_tensor(one["index"]) for one in runner.get_output_details()]


@pytest.mark.parametrize("dtype", ["int8", "float32"])
@pytest.mark.parametrize("convolution", CONVOLUTIONS, ids=["1x1", "3x3"])
def test_peak_model_has_the_macs_of_its_convolution(convolution, dtype):
    found = analyze(read_tflite(peak_model(convolution, dtype)))
    assert found.macs == convolution.macs
    assert [layer.dtype for layer in found.layers] == [dtype]
    assert found.layers[0].per_channel == (dtype == "int8")


def test_peak_model_is_the_same_every_time():
    assert peak_model(SMALL, "int8") == peak_model(SMALL, "int8")


def test_float_peak_model_computes_the_convolution(interpreter):
    model = peak_model(SMALL, "float32")
    image = np.random.default_rng(1).normal(size=(1, 5, 5, 4)).astype(np.float32)
    weights = np.random.default_rng(0).normal(0, 0.05, (4, 3, 3, 4)).astype("<f4")
    padded = np.pad(image[0], ((1, 1), (1, 1), (0, 0)))
    windows = np.lib.stride_tricks.sliding_window_view(padded, (3, 3), axis=(0, 1))
    expected = np.einsum("hwcij,oijc->hwo", windows, weights)
    (found,) = run_model(interpreter, model, image)
    assert np.allclose(found[0], expected, atol=1e-5)


def test_prefix_gives_what_the_whole_model_has_there(tiny_model_path, interpreter):
    """The first two layers' answer, then all but the last one, through the rest."""
    file = read_model_file(tiny_model_path)
    graph = read_graph(file)
    image = np.random.default_rng(0).integers(-128, 128, (1, 48, 48, 1), dtype=np.int8)
    (first,) = run_model(interpreter, prefix_model(file.model, graph, 1), image)
    shape = graph.tensors[graph.operators[0].outputs[0]].shape
    assert first.shape == shape
    assert first.std() > 0
    whole = run_model(interpreter, file.model, image)
    same = run_model(
        interpreter, prefix_model(file.model, graph, len(graph.operators)), image
    )
    assert np.array_equal(whole[0], same[0])


def test_every_prefix_loads_and_ends_where_it_should(tiny_model_path, library):
    file = read_model_file(tiny_model_path)
    graph = read_graph(file)
    for count in range(1, len(graph.operators) + 1):
        part = prefix_model(file.model, graph, count)
        cut = read_tflite(part)
        assert cut.operators == graph.operators[:count]
        assert graph.operators[count - 1].outputs[0] in cut.outputs
        invoke_call(part, library=library, threads=1)()


def test_prefix_leaves_the_file_alone(tiny_model_path):
    file = read_model_file(tiny_model_path)
    before = bytes(file.model)
    prefix_model(file.model, read_graph(file), 2)
    assert file.model == before


def test_roofline_is_shares_of_a_peak_of_the_same_run(tiny_model_path):
    document = measure_roofline([tiny_model_path], threads=(1, 2), protocol=QUICK)
    assert document["schema"] == "fer-edge/limit/1"
    assert [row["threads"] for row in document["results"]] == [1, 2]
    row = document["results"][0]
    inventory = analyze(read_graph(read_model_file(tiny_model_path)))
    assert document["models"][0]["macs"] == inventory.macs
    assert [one["macs"] for one in row["layers"]] == [
        one.macs for one in inventory.layers
    ]
    assert row["share"] == pytest.approx(row["ideal_ms"] / row["invoke_ms"])
    assert row["ideal_ms"] == pytest.approx(
        1e-6 * inventory.macs / row["peak_gmacs"]["int8"]
    )
    assert json.loads(json.dumps(document, allow_nan=False)) == document
    assert "measured peak" in roofline_table(document)


@pytest.mark.parametrize("name", ["roofline", "limit"])
def test_onnx_file_is_refused_in_one_line(name, tiny_onnx_path, capsys):
    assert main([name, str(tiny_onnx_path)]) == 2
    assert ".tflite" in capsys.readouterr().err


def test_physical_peak_of_a_pi_5_core():
    card = {"cpu": "Cortex-A76", "max_frequency_mhz": 2400, "cores": 4}
    assert physical_gmacs(card, "int8", 1) == pytest.approx(76.8)
    assert physical_gmacs(card, "float32", 8) == pytest.approx(76.8)


def test_physical_peak_of_an_unknown_core_is_not_guessed():
    card = {"cpu": "AMD EPYC", "max_frequency_mhz": 2400, "cores": 4}
    assert physical_gmacs(card, "int8", 1) is None
