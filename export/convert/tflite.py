"""Keras to TFLite: the float32 flatbuffer, and the ranges of its activations."""

from __future__ import annotations

import tempfile
from typing import Any

import keras
import numpy as np
import numpy.typing as npt

from edge_runtime.errors import ModelError, missing_in_checkout
from export.calibration.measure import ActivationRange, measure
from export.calibration.ranges import Measured
from export.convert.recipes import (
    quantize as quantize,
)  # both steps of int8 in one place
from export.suppress_output import suppress_output


def to_tflite(model: keras.Model) -> bytes:
    """Returns the float32 TFLite flatbuffer of a model, batch size 1.

    Args:
        model: Takes (N, S, S, C) pixels, gives logits.

    Raises:
        MissingDependencyError: TensorFlow is not installed.
        ModelError: The converter does not support one of its layers.
    """
    try:
        import tensorflow as tf
    except ImportError as error:
        raise missing_in_checkout("tensorflow", "export") from error
    # A free batch size keeps XNNPACK from taking the graph in older runtimes.
    shape = (1, *model.inputs[0].shape[1:])
    signature = [keras.InputSpec(shape=shape, dtype="float32", name="pixels")]
    with tempfile.TemporaryDirectory() as folder, suppress_output():
        archive = keras.export.ExportArchive()
        archive.track(model)
        archive.add_endpoint(
            "serve",
            lambda pixels: model(pixels, training=False),
            input_signature=signature,
        )
        archive.write_out(folder, verbose=False)
        converter = tf.lite.TFLiteConverter.from_saved_model(folder)
        # No optimizations: DEFAULT alone would already make the weights int8.
        # No SELECT_TF_OPS either: the device could not run them.
        try:
            return bytes(converter.convert())
        except Exception as error:  # the converter raises many kinds
            reason = str(error).strip().splitlines()[:1]
            raise ModelError(f"TFLite cannot express this model: {reason}") from error


def measure_ranges(model: bytes, images: npt.NDArray[np.uint8]) -> Measured:
    """Returns the ranges of every activation over the images.

    The quantizer's own calibration averages the ranges of single images instead, which
    cuts off the strongest logits (docs/records/experiments.md has the comparison).

    Args:
        model: A float32 TFLite flatbuffer with batch size 1.
        images: uint8 (N, S, S, C), raw pixels.
    """
    interpreter = _interpreter(model, keep_all=True)
    pixels = interpreter.get_input_details()[0]
    logits = interpreter.get_output_details()[0]
    activations = _activations(interpreter)

    def read(image: npt.NDArray[np.uint8]) -> dict[str, npt.NDArray[np.float32]]:
        interpreter.set_tensor(pixels["index"], image[np.newaxis].astype(np.float32))
        interpreter.invoke()
        return {
            name: interpreter.get_tensor(index) for name, index in activations.items()
        }

    return measure(read, images, ActivationRange(pixels["name"], logits["name"]))


def _activations(interpreter: Any) -> dict[str, int]:
    """Returns the indices of all operators' float outputs and the input, by name."""
    tensors = {one["index"]: one for one in interpreter.get_tensor_details()}
    indices = [interpreter.get_input_details()[0]["index"]]
    for operator in interpreter._get_ops_details():
        if operator["op_name"] != "DELEGATE":
            indices += [int(index) for index in operator["outputs"]]
    return {
        str(tensors[index]["name"]): index
        for index in indices
        if tensors[index]["dtype"] == np.float32
    }


def _interpreter(model: bytes, *, keep_all: bool = False) -> Any:
    from ai_edge_litert.interpreter import Interpreter

    with suppress_output():
        interpreter = Interpreter(
            model_content=model, experimental_preserve_all_tensors=keep_all
        )
        interpreter.allocate_tensors()
    return interpreter
