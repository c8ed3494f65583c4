"""What every operator of a TFLite model gives for an image."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from edge_runtime.inference.quantization import Quantization, dequantize, quantize
from export.analysis.graph_edit import Flatbuffer
from export.suppress_output import suppress_output

Values = npt.NDArray[np.float32]


class Probe:
    """A model whose inner tensors can be read; one image at a time."""

    def __init__(self, model: bytes, tensors: Sequence[int]) -> None:
        """Loads a model.

        Args:
            model: A TFLite flatbuffer with batch size 1.
            tensors: Indices of the tensors to read, each made by an operator.
        """
        from ai_edge_litert.interpreter import Interpreter

        edited = Flatbuffer(model)
        edited.set_outputs(tensors)
        self._model = edited.to_bytes()
        with suppress_output():
            self._interpreter = Interpreter(model_content=self._model, num_threads=1)
            self._interpreter.allocate_tensors()
        self._input = self._interpreter.get_input_details()[0]
        self._outputs = self._interpreter.get_output_details()

    def read(self, image: npt.NDArray[np.uint8]) -> list[Values]:
        """Returns the tensors in the order asked for, float32, dequantized.

        Args:
            image: uint8 (S, S, C), raw pixels.
        """
        self._interpreter.set_tensor(
            self._input["index"], _pixels(image, self._input)[np.newaxis]
        )
        self._interpreter.invoke()
        return [_real(self._interpreter, one) for one in self._outputs]


def _pixels(image: npt.NDArray[np.uint8], details: dict[str, Any]) -> npt.NDArray[Any]:
    quantization = Quantization(*details["quantization"])
    if quantization:
        return quantize(image, quantization, np.dtype(details["dtype"]))
    return image.astype(details["dtype"])


def _real(interpreter: Any, details: dict[str, Any]) -> Values:
    values = interpreter.get_tensor(details["index"])
    quantization = Quantization(*details["quantization"])
    if quantization:
        return dequantize(values, quantization)
    return np.asarray(values, dtype=np.float32)
