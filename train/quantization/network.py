"""The network with simulated int8, and the one that shows what is rounded in it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import keras
from keras import layers

from train.quantization.grid import PIXELS, Grid, grid_of
from train.quantization.layers import Simulated
from train.quantization.operators import MOVING, POOLING, Int8Operator, Tensor
from train.quantization.ranges import Ranges

PRODUCT = "product"  # in a Rescaling that also adds something


class _Made(NamedTuple):
    """A tensor of the new network: whole numbers of steps; without a grid values."""

    tensor: Tensor
    grid: Grid


def simulate(
    model: keras.Model, operators: Sequence[Int8Operator], ranges: Ranges
) -> keras.Model:
    """Returns a network that computes as the int8 file of a model does.

    Args:
        model: Takes raw pixels, gives logits; its BatchNorms are folded. Its weights
            are those of the result, too.
        operators: The model's.
        ranges: By name, of all ``points``.
    """
    grids = {name: grid_of(values) for name, values in ranges.items()}
    pixels, made = _rebuild(model, operators, grids)
    logits = made[id(operators[-1].output)]
    return keras.Model(pixels, logits.tensor * logits.grid.step, name=model.name)


def points(model: keras.Model, operators: Sequence[Int8Operator]) -> keras.Model:
    """Returns a network that gives all values that int8 rounds, by name, in float.

    Args:
        model: Takes raw pixels, gives logits; its BatchNorms are folded.
        operators: The model's.
    """
    pixels, made = _rebuild(model, operators, None)
    found = {}
    for operator in operators:
        if isinstance(operator.layer, (*MOVING, *POOLING)):
            continue
        found[operator.name] = made[id(operator.output)].tensor
        if type(operator.layer) is layers.Rescaling and operator.layer.offset:
            scaled = made[id(operator.inputs[0])].tensor * operator.layer.scale
            found[f"{operator.name}/{PRODUCT}"] = scaled
    return keras.Model(pixels, found, name=model.name)


def _rebuild(
    model: keras.Model, operators: Sequence[Int8Operator], grids: dict[str, Grid] | None
) -> tuple[Tensor, dict[int, _Made]]:
    """Returns new pixels, and what the operators make of them by the old tensor's id.

    Args:
        model: The model.
        operators: The model's.
        grids: By name; None to compute in float.
    """
    pixels = keras.Input(model.input_shape[1:], name="pixels")
    made: dict[int, _Made] = {id(model.inputs[0]): _Made(pixels, PIXELS)}
    for operator in operators:
        sources = [made[id(tensor)] for tensor in operator.inputs]
        tensors = [source.tensor for source in sources]
        first = sources[0].grid
        if isinstance(operator.layer, MOVING):
            # A layer of its own: the model's keeps its place in one graph.
            kind: Any = type(operator.layer)
            moving = kind.from_config(operator.layer.get_config())
            made[id(operator.output)] = _Made(moving(tensors[0]), first)
            continue
        grid = first
        if grids is not None and not isinstance(operator.layer, POOLING):
            grid = grids[operator.name]
        layer = Simulated(
            operator,
            [source.grid for source in sources],
            None if grids is None else grid,
        )
        made[id(operator.output)] = _Made(layer(tensors), grid)
    return pixels, made
