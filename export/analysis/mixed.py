"""int8 with exceptions: the worst layers stay in float until the accuracy is right."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from edge_runtime.graph.ir import Graph, Operator
from edge_runtime.graph.tflite import read_tflite
from export.analysis.debugger import LayerError, centre, logits_of_model, snr_db
from export.analysis.rounding_layers import only_moves
from export.convert.editable_model import EditableModel
from export.convert.quantize_tflite import quantize
from train.quantization.ranges import MeasuredRanges

MOST_FLOAT_LAYERS = 8
LEAST_GAIN_DB = 1.0
COMPARED_IMAGES = 32


@dataclass(frozen=True)
class Attempt:
    """An int8 model with some layers in float.

    Attributes:
        layers: Labels of the layers whose output is not rounded.
        operators: Number of operators that run in float for them.
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
    ranges: MeasuredRanges,
    ranking: Sequence[LayerError],
    images: npt.NDArray[np.uint8],
    *,
    measure_accuracy: Callable[[bytes], float],
    float_accuracy: float,
    max_drop: float,
    most: int = MOST_FLOAT_LAYERS,
) -> list[Attempt]:
    """Returns the attempts, from no layer in float up to the first within the limit.

    A layer in float is its operator and, where that does not help, also the operators
    that read its output: between two int8 operators a tensor is int8.

    Args:
        model: The float32 TFLite model.
        ranges: Activation ranges.
        ranking: Layers, the worst first.
        images: Calibration images that decide which operators must follow a layer.
        measure_accuracy: Returns a model's accuracy on the validation images, 0..1.
        float_accuracy: That of the float model.
        max_drop: Largest drop of the accuracy, in points.
        most: Most layers to keep in float.
    """
    search = _Search(model, ranges, images[:COMPARED_IMAGES])
    operators: list[Operator] = []
    labels: list[str] = []
    attempts: list[Attempt] = []
    for error in (None, *ranking[:most]):
        if error is not None:
            labels.append(error.layer.label)
            operators = search.extend(operators, error.layer.position)
        mixed = search.quantize(operators)
        accuracy = measure_accuracy(mixed)
        drop = round(100 * (float_accuracy - accuracy), 3)
        attempts.append(Attempt(tuple(labels), len(operators), mixed, accuracy, drop))
        if drop <= max_drop:
            break
    return attempts


class _Search:
    """Chooses the operators that must run in float for a layer."""

    def __init__(
        self, model: bytes, ranges: MeasuredRanges, images: npt.NDArray[np.uint8]
    ) -> None:
        self._model, self._ranges, self._images = model, ranges, images
        self._graph = read_tflite(model)
        self._names = EditableModel(model).names()

    def quantize(self, in_float: Sequence[Operator]) -> bytes:
        """Returns the int8 model with some operators in float."""
        scopes = [
            ";".join(self._names[index] for index in operator.outputs)
            for operator in in_float
        ]
        return quantize(
            self._model,
            self._ranges.clipped,
            in_float=scopes,
            means=self._ranges.means,
        )

    def extend(self, in_float: Sequence[Operator], position: int) -> list[Operator]:
        """Returns the operators in float with one more layer, as few as help as much.

        Args:
            in_float: The operators that are in float already.
            position: Index of the layer's operator.
        """
        operator = self._graph.operators[position]
        narrow = _union(in_float, [operator])
        wide = _union(narrow, _find_readers(self._graph, operator))
        reference = centre(logits_of_model(self._model, self._images))
        narrow_db, wide_db = (
            snr_db(
                reference,
                centre(logits_of_model(self.quantize(operators), self._images)),
            )
            for operators in (narrow, wide)
        )
        return wide if wide_db - narrow_db > LEAST_GAIN_DB else narrow


def _find_readers(graph: Graph, operator: Operator) -> list[Operator]:
    """Returns what reads an operator's output, also through what only moves values."""
    readers: list[Operator] = []
    for reader in graph.consumers.get(operator.outputs[0], []):
        readers.append(reader)
        if only_moves(graph, reader):
            readers += _find_readers(graph, reader)
    return readers


def _union(first: Sequence[Operator], second: Sequence[Operator]) -> list[Operator]:
    return [*first, *(operator for operator in second if operator not in first)]
