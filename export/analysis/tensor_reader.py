"""Reads chosen tensors of a TFLite model, as its default kernels compute them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from edge_runtime.inference.tensors import Quantization, dequantize, quantize
from export.convert.editable_model import EditableModel
from export.suppress_output import suppress_output

Values = npt.NDArray[np.float32]


class TensorReader:
    """A loaded TFLite model, float or int8, whose inner tensors can be read."""

    def __init__(self, model: bytes, tensors: Sequence[int]) -> None:
        """Loads a model.

        Args:
            model: A TFLite flatbuffer with batch size 1.
            tensors: Indices of the tensors to read, each made by an operator.
        """
        from ai_edge_litert.interpreter import Interpreter

        edited = EditableModel(model)
        edited.set_outputs(tensors)
        content = edited.to_bytes()
        with suppress_output():
            self._interpreter = Interpreter(model_content=content, num_threads=1)
            self._interpreter.allocate_tensors()
        self._input = self._interpreter.get_input_details()[0]
        self._outputs = self._interpreter.get_output_details()

    def read(self, image: npt.NDArray[np.uint8]) -> list[Values]:
        """Returns the tensors in the given order, float32, dequantized.

        Args:
            image: uint8 (S, S, C), raw pixels.
        """
        self._interpreter.set_tensor(
            self._input["index"], _pixels(image, self._input)[np.newaxis]
        )
        self._interpreter.invoke()
        return [_floats(self._interpreter, output) for output in self._outputs]


def _pixels(image: npt.NDArray[np.uint8], details: dict[str, Any]) -> npt.NDArray[Any]:
    quantization = Quantization(*details["quantization"])
    if quantization:
        return quantize(image, quantization, np.dtype(details["dtype"]))
    return image.astype(details["dtype"])


def _floats(interpreter: Any, details: dict[str, Any]) -> Values:
    values = interpreter.get_tensor(details["index"])
    quantization = Quantization(*details["quantization"])
    if quantization:
        return dequantize(values, quantization)
    return np.asarray(values, dtype=np.float32)
