"""What a graph does to its pixels first: values for channels are told from others."""

from __future__ import annotations

import numpy as np
import pytest

from edge_runtime.graph.ends import input_scaling
from edge_runtime.graph.ir import Graph, Operator, Tensor


def graph_of(picture: tuple[int, ...], *constants: np.ndarray) -> Graph:
    """A graph that multiplies a picture by each constant in turn."""
    tensors = [Tensor("in", picture, "float32")]
    operators = []
    for value in constants:
        tensors.append(
            Tensor("c", value.shape, "float32", constant=True, values=value.reshape(-1))
        )
        tensors.append(Tensor("out", picture, "float32"))
        last = len(tensors) - 1
        operators.append(Operator("MUL", (last - 2, last - 1), (last,)))
    return Graph(tuple(tensors), tuple(operators), (0,), (len(tensors) - 1,))


def values(*shape: int) -> np.ndarray:
    size = int(np.prod(shape))
    return np.arange(2, size + 2, dtype=np.float32).reshape(shape)


@pytest.mark.parametrize(
    ("picture", "shape"),
    [
        ((1, 4, 4, 3), (4, 1)),
        ((1, 4, 4, 3), (1, 1, 4, 1)),
        ((1, 4, 4, 3), (4, 1, 1)),
        ((1, 4, 4, 1), (4, 4, 1)),
        ((1, 8, 8, 3), (3, 1, 3)),
        ((1, 3, 4, 4), (4,)),
        ((1, 3, 4, 4), (1, 1, 4, 1)),
        ((1, 16), (16,)),
    ],
    ids=str,
)
def test_constant_of_rows_or_columns_is_none_of_channels(picture, shape):
    assert input_scaling(graph_of(picture, values(*shape))).operators == ()


@pytest.mark.parametrize(
    ("picture", "shape"),
    [
        ((1, 4, 4, 3), (3,)),
        ((1, 4, 4, 3), (1, 1, 1, 3)),
        ((1, 3, 4, 4), (3, 1, 1)),
        ((1, 3, 4, 4), (1, 3, 1, 1)),
    ],
    ids=str,
)
def test_constant_of_channels_is_one(picture, shape):
    found = input_scaling(graph_of(picture, values(*shape)))
    assert found.scale.tolist() == [2, 3, 4]
    assert found.operators == ("MUL",)


@pytest.mark.parametrize("shape", [(), (1,), (1, 1, 1, 1)], ids=str)
def test_one_value_for_all_combines_with_those_of_channels(shape):
    constants = values(*shape), values(3), values(*shape)
    found = input_scaling(graph_of((1, 4, 4, 3), *constants))
    assert found.scale.tolist() == [8, 12, 16]


def test_what_comes_behind_a_constant_of_rows_is_not_reached():
    found = input_scaling(graph_of((1, 4, 4, 3), values(1), values(4, 1), values(1)))
    assert found.scale.tolist() == [2]
    assert found.operators == ("MUL",)
