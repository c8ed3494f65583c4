"""Damaged model files are read or refused, in little time and memory."""

from __future__ import annotations

import functools
import random
import time
import tracemalloc
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge_runtime.errors import ModelError
from edge_runtime.graph.protobuf import write_varint
from edge_runtime.graph.tflite import read_tflite
from edge_runtime.inspection.analyzer import analyze
from edge_runtime.inspection.format_rules import FORMATS, check_format, collect_notes
from edge_runtime.model_file.container import read_model_file

DATA = Path(__file__).resolve().parents[2] / "data"
FILES = ["tiny.int8.tflite", "tiny.float32.tflite", "tiny.int8.onnx"]
FILES += ["tiny.float32.onnx"]
CPU_SECONDS = 5.0  # on a slow machine; a real file takes milliseconds


@functools.cache
def model_of(name: str) -> bytes:
    if name.endswith("onnx"):
        pytest.importorskip("onnx", reason="reads the graphs of .onnx files")
    return read_model_file(DATA / name).model


def examine(name: str, data: bytes) -> None:
    """Reads and checks bytes; anything but a ModelError is a failure."""
    from edge_runtime.graph.onnx import read_onnx

    read = read_tflite if name.endswith("tflite") else read_onnx
    try:
        summary = analyze(read(data))
    except ModelError:
        return
    for format in FORMATS:
        check_format(summary, format)
        collect_notes(summary, format)


@pytest.mark.parametrize("name", FILES)
@settings(max_examples=150)
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
def test_any_bytes_are_read_or_refused_as_tflite(content):
    examine("any.tflite", content)


@given(st.binary(max_size=300))
def test_any_bytes_are_read_or_refused_as_onnx(content):
    pytest.importorskip("onnx", reason="reads the graphs of .onnx files")
    examine("any.onnx", content)
    examine("any.onnx", b"\x3a" + write_varint(len(content)) + content)  # as the graph


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
