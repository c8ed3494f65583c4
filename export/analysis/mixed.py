"""int8 with exceptions: the worst layers stay in float until the accuracy is right."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from edge_runtime.graph.ir import Graph, Operator
from edge_runtime.graph.tflite import read_tflite
from export.analysis.debugger import (
    LayerError,
    centred,
    logits_of_model,
    snr_db,
)
from export.analysis.graph_edit import Flatbuffer
from export.analysis.layers import is_moving
from export.calibration.ranges import Ranges
from export.convert.recipes import quantize

MOST_FLOAT_LAYERS = 8
SAME_DB = 1.0
COMPARED_IMAGES = 32

Score = Callable[[bytes], float]


@dataclass(frozen=True)
class Step:
    """One attempt.

    Attributes:
        layers: Labels of the layers whose output is not rounded.
        operators: How many operators run in float for them.
        model: The TFLite model's bytes.
        accuracy: On the validation images, 0..1.
        drop_points: By how much that is below the float model's, in points.
    """

    layers: tuple[str, ...]
    operators: int
    model: bytes
    accuracy: float
    drop_points: float


def find_exceptions(
    model: bytes,
    ranges: Ranges,
    ranking: Sequence[LayerError],
    images: npt.NDArray[np.uint8],
    *,
    score: Score,
    float_accuracy: float,
    max_drop: float,
    most: int = MOST_FLOAT_LAYERS,
) -> list[Step]:
    """Returns the attempts, from no exception on; the last one holds, if any does.

    A layer in float is the operator and, where that does not help, also those which
    read its output: between two int8 operators a tensor is int8, whatever made it.

    Args:
        model: The float32 TFLite model.
        ranges: Activation ranges.
        ranking: Layers, the worst first.
        images: Calibration images that decide which operators must follow a layer.
        score: Returns a model's accuracy on the validation images, 0..1.
        float_accuracy: That of the float model.
        max_drop: Largest drop of the accuracy, in points.
        most: Most layers to keep in float.
    """
    images = images[:COMPARED_IMAGES]
    graph = read_tflite(model)
    names = Flatbuffer(model).names()
    chosen: list[Operator] = []
    labels: list[str] = []
    steps: list[Step] = []
    for error in (None, *ranking[:most]):
        if error is not None:
            labels.append(error.layer.label)
            operator = graph.operators[error.layer.position]
            chosen = _extended(model, ranges, graph, chosen, operator, images, names)
        mixed = quantize(model, ranges, in_float=_scopes(chosen, names))
        accuracy = score(mixed)
        drop = round(100 * (float_accuracy - accuracy), 3)
        steps.append(Step(tuple(labels), len(chosen), mixed, accuracy, drop))
        if drop <= max_drop:
            break
    return steps


def _extended(
    model: bytes,
    ranges: Ranges,
    graph: Graph,
    chosen: Sequence[Operator],
    operator: Operator,
    images: npt.NDArray[np.uint8],
    names: Sequence[str],
) -> list[Operator]:
    """Returns the operators in float with one more layer, as few as help as much."""
    narrow = _union(chosen, [operator])
    wide = _union(narrow, _readers(graph, operator))
    true = centred(logits_of_model(model, images))
    found = [
        centred(
            logits_of_model(
                quantize(model, ranges, in_float=_scopes(one, names)), images
            )
        )
        for one in (narrow, wide)
    ]
    gain = snr_db(true, found[1]) - snr_db(true, found[0])
    return wide if gain > SAME_DB else narrow


def _readers(graph: Graph, operator: Operator) -> list[Operator]:
    """Returns what reads an operator's output, also through what only moves values."""
    readers: list[Operator] = []
    for reader in graph.consumers.get(operator.outputs[0], []):
        readers.append(reader)
        if is_moving(graph, reader):
            readers += _readers(graph, reader)
    return readers


def _union(first: Sequence[Operator], more: Sequence[Operator]) -> list[Operator]:
    return [*first, *(one for one in more if one not in first)]


def _scopes(operators: Sequence[Operator], names: Sequence[str]) -> list[str]:
    return [";".join(names[i] for i in one.outputs) for one in operators]
