"""Keras to TFLite: the float32 flatbuffer."""

from __future__ import annotations

import tempfile

import keras

from edge_runtime.errors import ModelError, missing_in_checkout
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
        raise missing_in_checkout("tensorflow", "export", error) from error
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
