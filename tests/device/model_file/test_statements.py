"""What files of others say of themselves, of damaged and strange ones, too."""

import functools

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge_runtime.errors import ModelError
from edge_runtime.graph.tflite import read_tflite
from edge_runtime.inspection.foreign_rules import check_foreign, foreign_document
from edge_runtime.model_file.container import ModelFile
from edge_runtime.model_file.input_range import describe
from edge_runtime.model_file.metadata import Given
from edge_runtime.model_file.pixels import SCALINGS
from edge_runtime.model_file.statements import read_statements
from edge_runtime.model_file.tflite_metadata import read_tflite_metadata
from tests.foreign_models import (
    Quantization,
    float_model,
    official_metadata,
    quantized_model,
    with_files,
)


def file_of(model):
    return ModelFile("m.tflite", "tflite", model, None, len(model), "")


@functools.cache
def models():
    metadata = official_metadata(mean=[1, 2, 3], std=[50], label_file="labels.txt")
    first = [("MUL", 1 / 127.5), ("SUB", 1.0)]
    told = float_model(first=first, end="softmax", metadata=metadata)
    return (
        with_files(told, {"labels.txt": "a\nb\nc\n"}),
        quantized_model(Quantization("uint8", 1 / 128, 128)),
    )


@settings(max_examples=300)
@given(data=st.data())
def test_flipped_bytes_never_do_more_than_raise_a_model_error(data):
    model = bytearray(models()[data.draw(st.integers(0, 1))])
    places = st.integers(0, len(model) - 1)
    for place in data.draw(st.lists(places, min_size=1, max_size=6)):
        model[place] = data.draw(st.integers(0, 255))
    file = file_of(bytes(model))
    try:
        stated = read_statements(file)
        graph = read_tflite(file.model)
        check_foreign(graph, stated, Given(pixels=SCALINGS["imagenet"]))
        foreign_document(file, stated)
    except ModelError:
        return


def test_metadata_are_read_as_they_were_written():
    metadata = read_tflite_metadata(models()[0])
    assert metadata.name == "a model"
    assert metadata.labels == ("a", "b", "c")
    assert metadata.pixels.scale == pytest.approx([0.02] * 3)
    assert metadata.pixels.offset == pytest.approx([-0.02, -0.04, -0.06])
    assert read_tflite_metadata(models()[1]) is None


@pytest.mark.parametrize(
    ("mean", "std"),
    [([0, 0], [1, 1]), ([float("nan")], [1]), ([0], [0]), ([0], [-1]), ([0], [1e-30])],
    ids=["two", "nan", "zero", "negative", "infinite"],
)
def test_normalization_that_cannot_be_is_not_taken(mean, std):
    model = float_model(metadata=official_metadata(mean=mean, std=std))
    assert read_tflite_metadata(model).pixels is None


@pytest.mark.parametrize("content", [b"", b"abc", b"\0" * 40, b"\xff" * 64])
def test_metadata_of_another_kind_are_none(content):
    assert read_tflite_metadata(float_model(metadata=content)) is None


def test_archive_of_many_files_is_refused():
    metadata = official_metadata(label_file="labels.txt")
    files = {f"{n}.txt": "x" for n in range(5_000)} | {"labels.txt": "a\nb\nc"}
    model = with_files(float_model(metadata=metadata), files)
    metadata = read_tflite_metadata(model)
    assert metadata.labels == ()
    assert "'labels.txt' cannot be read" in metadata.labels_error


@pytest.mark.parametrize("name", SCALINGS)
def test_scaling_is_described_by_its_name(name):
    assert describe(SCALINGS[name]).endswith(f"({name})")
