"""The reader of TFLite graphs: right on real files, bounded on hostile ones."""

from __future__ import annotations

import struct
import time
from pathlib import Path

import numpy as np
import pytest

from edge_runtime.errors import ModelError
from edge_runtime.graph.tflite import read_tflite
from edge_runtime.model_file.container import read_model_file

DATA = Path(__file__).resolve().parents[2] / "data"
FILES = ["tiny.int8.tflite", "tiny.float32.tflite"]
CPU_SECONDS = 5.0  # on a slow machine; a real file takes milliseconds


def model_of(name: str) -> bytes:
    return read_model_file(DATA / name).model


def interpreter_of(name: str):
    try:
        from ai_edge_litert.interpreter import Interpreter
    except ImportError:
        from tflite_runtime.interpreter import Interpreter
    interpreter = Interpreter(model_content=model_of(name))
    interpreter.allocate_tensors()
    return interpreter


@pytest.mark.parametrize("name", FILES)
def test_tensors_are_those_the_interpreter_sees(name):
    graph, interpreter = read_tflite(model_of(name)), interpreter_of(name)
    details = {one["index"]: one for one in interpreter.get_tensor_details()}
    for index, tensor in enumerate(graph.tensors):
        seen = details[index]
        assert tensor.name == seen["name"]
        assert tensor.shape == tuple(seen["shape"])
        assert tensor.dtype == np.dtype(seen["dtype"]).name
        given = seen["quantization_parameters"]
        np.testing.assert_array_equal(tensor.scales, given["scales"])
        np.testing.assert_array_equal(tensor.zero_points, given["zero_points"])
        assert tensor.axis == given["quantized_dimension"]


@pytest.mark.parametrize("name", FILES)
def test_operators_are_those_the_interpreter_runs(name):
    graph, interpreter = read_tflite(model_of(name)), interpreter_of(name)
    seen = [
        one for one in interpreter._get_ops_details() if one["op_name"] != "DELEGATE"
    ]
    assert [one.name for one in graph.operators] == [one["op_name"] for one in seen]
    for ours, theirs in zip(graph.operators, seen, strict=True):
        assert list(ours.inputs) == list(theirs["inputs"])
        assert list(ours.outputs) == list(theirs["outputs"])


def test_constants_have_the_bytes_of_their_shape():
    for tensor in read_tflite(model_of("tiny.int8.tflite")).tensors:
        if tensor.constant:
            size = np.dtype(tensor.dtype).itemsize
            assert tensor.bytes == tensor.elements * size


def test_bytes_behind_a_flatbuffer_do_no_harm():
    model = model_of("tiny.int8.tflite")
    assert len(read_tflite(model + b"PK" * 99).tensors) == len(
        read_tflite(model).tensors
    )


TABLE_WORDS = 10  # a vtable for five fields, and the table itself


def flatbuffer_table(at: int, fields: dict[int, int]) -> list[int]:
    """The words of a table at a word, whose fields point to other words."""
    entries = [4 * field + 4 if field in fields else 0 for field in range(5)]
    vtable = struct.unpack("<4I", struct.pack("<8H", 14, 24, *entries, 0))
    targets = [
        4 * (fields.get(f, 0) - (at + 5 + f)) if f in fields else 0 for f in range(5)
    ]
    return [*vtable, 16, *targets]


def flatbuffer_vector(at: int, count: int, target: int) -> list[int]:
    """The words of a vector of the same table over and over."""
    return [count, *(4 * (target - (at + 1 + i)) for i in range(count))]


def overlapping_flatbuffer(count: int) -> bytes:
    """A model of `count` subgraphs of `count` tensors, all of them the same."""
    subgraphs = 2 + TABLE_WORDS
    buffers = subgraphs + 1 + count
    subgraph = buffers + 2
    tensors = subgraph + TABLE_WORDS
    tensor = tensors + 1 + count
    words = [4 * (2 + 4), int.from_bytes(b"TFL3", "little")]
    words += flatbuffer_table(2, {2: subgraphs, 4: buffers})
    words += flatbuffer_vector(subgraphs, count, subgraph + 4)
    words += flatbuffer_vector(buffers, 1, tensor + 4)
    words += flatbuffer_table(subgraph, {0: tensors})
    words += flatbuffer_vector(tensors, count, tensor + 4)
    words += flatbuffer_table(tensor, {})
    return struct.pack(f"<{len(words)}I", *words)


def test_tables_may_be_shared():
    assert len(read_tflite(overlapping_flatbuffer(20)).tensors) == 400


def test_overlapping_tables_end_in_an_error_soon():
    started = time.process_time()
    with pytest.raises(ModelError, match="entries"):
        read_tflite(overlapping_flatbuffer(4000))
    assert time.process_time() - started < CPU_SECONDS
