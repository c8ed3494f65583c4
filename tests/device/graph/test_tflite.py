"""The graph readers: right on real files, and unharmed by broken ones."""

from __future__ import annotations

import functools
import random
import struct
import time
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge_runtime.errors import ModelError
from edge_runtime.graph.ir import count_macs
from edge_runtime.graph.onnx import read_onnx
from edge_runtime.graph.protobuf import to_varint
from edge_runtime.graph.tflite import read_tflite
from edge_runtime.inspection.analyzer import analyze, read_graph
from edge_runtime.inspection.format_rules import FORMATS, check_format, notes
from edge_runtime.model_file.container import read_model_file

DATA = Path(__file__).resolve().parents[2] / "data"
FILES = ["tiny.int8.tflite", "tiny.float32.tflite", "tiny.int8.onnx"]
FILES += ["tiny.float32.onnx"]
CPU_SECONDS = 5.0  # on a slow machine; an honest file takes milliseconds


@functools.cache
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


def examine(name: str, data: bytes) -> None:
    """Reads and judges bytes; anything but a ModelError is a failure."""
    read = read_tflite if name.endswith("tflite") else read_onnx
    try:
        inventory = analyze(read(data))
    except ModelError:
        return
    for format in FORMATS:
        check_format(inventory, format)
        notes(inventory, format)


# --- real files ---------------------------------------------------------------------


@pytest.mark.parametrize("name", FILES[:2])
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


@pytest.mark.parametrize("name", FILES[:2])
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


@pytest.mark.parametrize("name", FILES[1:])
def test_every_format_of_a_network_has_the_same_macs(name):
    totals = []
    for file in ("tiny.int8.tflite", name):
        graph = read_graph(read_model_file(DATA / file))
        totals.append(sum(count_macs(graph, one) or 0 for one in graph.operators))
    assert totals[0] == totals[1] > 0


def test_qdq_groups_come_out_as_integer_operators():
    inventory = analyze(read_onnx(model_of("tiny.int8.onnx")))
    assert {one.dtype for one in inventory.weighted} == {"int8"}
    assert all(one.per_channel for one in inventory.weighted)
    assert inventory.inside is not None
    assert inventory.inside.dtype == "uint8"
    assert inventory.inside.scales.tolist() == [1.0]


def test_bytes_behind_a_flatbuffer_do_no_harm():
    model = model_of("tiny.int8.tflite")
    assert len(read_tflite(model + b"PK" * 99).tensors) == len(
        read_tflite(model).tensors
    )


# --- broken files -------------------------------------------------------------------


@pytest.mark.parametrize("name", FILES)
@settings(max_examples=150, deadline=None)
@given(data=st.data())
def test_flipped_bytes_never_do_more_than_raise_a_model_error(name, data):
    model = bytearray(model_of(name))
    places = st.integers(0, len(model) - 1)
    if data.draw(st.booleans()):  # where the graph is, not the weights
        places = st.integers(0, 400) | st.integers(len(model) - 6000, len(model) - 1)
    for place in data.draw(st.lists(places, min_size=1, max_size=8)):
        model[place % len(model)] = data.draw(st.integers(0, 255))
    examine(name, bytes(model))


@pytest.mark.parametrize("name", FILES)
def test_every_truncation_is_read_or_refused(name):
    model = model_of(name)
    for end in [*range(0, 200), *range(200, len(model), 53)]:
        examine(name, model[:end])


@given(st.binary(max_size=300))
@settings(deadline=None)
def test_any_bytes_are_read_or_refused(content):
    examine("any.tflite", content)
    examine("any.onnx", content)
    examine("any.onnx", b"\x3a" + to_varint(len(content)) + content)  # as the graph


@pytest.mark.parametrize("name", FILES)
def test_broken_files_cost_neither_time_nor_memory(name):
    dice, original = random.Random(1), model_of(name)
    tracemalloc.start()
    try:
        for _ in range(100):
            model = bytearray(original)
            for _ in range(dice.choice((1, 4, 40))):
                model[dice.randrange(len(model))] = dice.choice((0, 0x7F, 0xFF))
            started = time.process_time()
            examine(name, bytes(model))
            assert time.process_time() - started < CPU_SECONDS
        assert tracemalloc.get_traced_memory()[1] < 64 * 2**20
    finally:
        tracemalloc.stop()


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


def test_an_endless_message_ends_in_an_error_soon():
    started = time.process_time()
    with pytest.raises(ModelError, match="entries"):
        read_onnx(b"\x3a" + to_varint(4_000_000) + b"\x08\x01" * 2_000_000)
    assert time.process_time() - started < CPU_SECONDS
